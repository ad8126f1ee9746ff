"""Relations of terms that come to comparisons of single signals with constants, so that guards can watch them. Pure.

Rules
- Only what is the same for every value: sums and multiples of one signal (`2 * x + 1 > 7` is `x > 3`), `abs(x) > 5`,
  `max(a, b) > 5` and `min(a, b) < 5`. Reckoned in the decimals that were written, as `codec.guards` does.
- A limit that no float64 writes down exactly (`3 * x > 1`) is left as it stands.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from collector.rules.expression import (
    MIRRORED,
    And,
    Arithmetic,
    Comparison,
    Number,
    Or,
    Pick,
    Relation,
    Value,
    signals,
)

if TYPE_CHECKING:
    from collector.rules.expression import Expression, Operator, Term

Linear = tuple[dict[str, Fraction], Fraction]  # a coefficient for each signal, and a constant


class NoSignalError(ValueError):
    """A relation of numbers, which is always true or always false."""


def reduced(left: Term, operator: Operator, right: Term) -> Expression:
    """The comparison or comparisons that `left operator right` is, else the relation. Raises NoSignalError."""
    if not any(True for term in (left, right) for _ in signals(term)):
        raise NoSignalError
    both = linear(Arithmetic("-", left, right))
    if both is not None:
        coefficients, constant = both
        if len(coefficients) == 1:
            ((signal, factor),) = coefficients.items()
            limit = _exact(-constant / factor) if factor else None
            if limit is not None:
                return Comparison(signal, operator if factor > 0 else MIRRORED[operator], limit)
        return Relation(left, operator, right)
    if isinstance(right, Pick) and not isinstance(left, Pick):
        left, operator, right = right, MIRRORED[operator], left
    limit_of = linear(right)
    if isinstance(left, Pick) and limit_of is not None and not limit_of[0]:
        parts = _picked(left, operator, right, limit_of[1])
        if parts is not None:
            return parts
    return Relation(left, operator, right)


def _picked(pick: Pick, operator: Operator, limit: Term, number: Fraction) -> Expression | None:
    """`abs`, `min` or `max` against a number as comparisons; None where it stays a relation."""
    if pick.function == "abs":
        if number < 0:
            return None
        terms: tuple[Term, ...] = (pick.terms[0], Arithmetic("*", Number(-1.0), pick.terms[0]))
        any_of = operator in {">", ">=", "=="}
    else:
        if operator in {"==", "!="}:
            return None
        terms = pick.terms
        any_of = (pick.function == "max") == (operator in {">", ">="})
    try:
        parts = tuple(reduced(term, operator, limit) for term in terms)
    except NoSignalError:
        return None
    if any(isinstance(part, Relation) for part in parts):
        return None
    return Or(parts) if any_of else And(parts)


def linear(term: Term) -> Linear | None:
    """The term as a sum of multiples of signals and a constant; None where it is none."""
    match term:
        case Number(value):
            return {}, Fraction(repr(value))
        case Value(signal):
            return {signal: Fraction(1)}, Fraction(0)
        case Arithmetic(operator, left, right):
            one, other = linear(left), linear(right)
            return None if one is None or other is None else _joined(operator, one, other)
        case _:
            return None


def _joined(operator: str, one: Linear, other: Linear) -> Linear | None:
    match operator:
        case "+":
            return _sum(one, other)
        case "-":
            return _sum(one, _times(other, Fraction(-1)))
        case "*":
            if not one[0]:
                return _times(other, one[1])
            return None if other[0] else _times(one, other[1])
        case _:
            return None if other[0] or not other[1] else _times(one, 1 / other[1])


def _sum(one: Linear, other: Linear) -> Linear:
    names = {**one[0], **other[0]}
    return {name: one[0].get(name, Fraction(0)) + other[0].get(name, Fraction(0)) for name in names}, one[
        1
    ] + other[1]


def _times(one: Linear, factor: Fraction) -> Linear:
    return {name: coefficient * factor for name, coefficient in one[0].items()}, one[1] * factor


def _exact(number: Fraction) -> float | None:
    """The float64 whose shortest decimals are this number; None where there is none."""
    try:
        found = float(number)
    except OverflowError:
        return None
    return found if Fraction(repr(found)) == number else None
