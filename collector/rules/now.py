"""What rules say of now, by the states of guards alone: three-valued, and never more certain than these are.

Rules
- A guard that has lasted is known to hold, or not to; any other is unknown.
- `when` is guarded with its rule's `for_s`, `clear` with none. What follows from guards that have all lasted has lasted too, so
  a rule that is found to hold here has held for its `for_s`. The reverse is not so: `a or b` may last though neither does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from codec.guards import Guard
from collector.rules.expression import And, Comparison, Expression, Missing, Not, Or, Relation, Stale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codec.guards import GuardSet
    from collector.rules.rulefile import Rule, Rules

Known = bool | None  # None: not known


def guard_verdicts(guards: GuardSet, states: bytes, lasted: bytes) -> dict[Guard, Known]:
    """By guard, of the bits in a heartbeat (lowest first). Bits that are missing are not known."""
    return {
        guard: _bit(states, index) if _bit(lasted, index) else None
        for index, guard in enumerate(guards.guards)
    }


def lasting(rules: Rules, verdicts: Mapping[Guard, Known]) -> list[tuple[Rule, Known]]:
    """Of each rule, whether it holds and has for its `for_s` (False: it is over, or not begun)."""
    return [(rule, _lasts(rule, verdicts)) for rule in rules.rules]


def _lasts(rule: Rule, verdicts: Mapping[Guard, Known]) -> Known:
    holds = _value(rule.condition, rule.for_s, verdicts)
    if holds is not False or rule.clearance is None:
        return holds
    return False if _value(rule.clearance, 0.0, verdicts) else None


def _value(expression: Expression, for_s: float, verdicts: Mapping[Guard, Known]) -> Known:
    match expression:
        case Comparison():
            return verdicts.get(Guard(expression.signal, expression.operator, expression.limit, for_s))
        case Relation() | Missing() | Stale():
            return None  # no guard tells
        case Not(operand):
            value = _value(operand, for_s, verdicts)
            return None if value is None else not value
        case And(operands):
            values = [_value(operand, for_s, verdicts) for operand in operands]
            return False if False in values else None if None in values else True
        case Or(operands):
            values = [_value(operand, for_s, verdicts) for operand in operands]
            return True if True in values else None if None in values else False
        case _:
            assert_never(expression)


def _bit(bits: bytes, index: int) -> bool:
    return index // 8 < len(bits) and bool(bits[index // 8] >> index % 8 & 1)
