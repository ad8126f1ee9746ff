"""What a condition of a rule is: a small tree. parser.py makes it of text, truth.py finds where it holds.

Rules
- A `Comparison` of one signal with a constant becomes a guard, and is exact on what a vehicle sent. `Missing` and `Stale`
  are exact too, because availability is coded without loss. A `Relation` is anything else: it reckons with reconstructed
  values, and so within their thresholds only.
- A term is NaN where it is not known: a value is not available, a window is not full yet, a division has no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterator

Operator = Literal[">", ">=", "<", "<=", "==", "!="]
MIRRORED: dict[str, Operator] = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a signal."""

    signal: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Literal["+", "-", "*", "/"]
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Pick:
    """`abs` of one term, `min` or `max` of several, at one tick."""

    function: Literal["abs", "min", "max"]
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A function of the last `window_s` of a term, which has no window in it."""

    function: Literal["rate", "mean", "std", "min", "max"]
    term: Term
    window_s: float


Term = Number | Value | Arithmetic | Pick | Window


@dataclass(frozen=True, slots=True)
class Comparison:
    """`signal operator limit`."""

    signal: str
    operator: Operator
    limit: float


@dataclass(frozen=True, slots=True)
class Relation:
    """`left operator right` of terms that come to no `Comparison`."""

    left: Term
    operator: Operator
    right: Term


@dataclass(frozen=True, slots=True)
class Missing:
    """The signal is not available."""

    signal: str


@dataclass(frozen=True, slots=True)
class Stale:
    """The signal has not been available for `window_s`."""

    signal: str
    window_s: float


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Expression, ...]


Leaf = Comparison | Relation | Missing | Stale
Expression = Leaf | Not | And | Or


def leaves(expression: Expression) -> Iterator[Leaf]:
    """Everything in it that logic joins, from left to right."""
    match expression:
        case Comparison() | Relation() | Missing() | Stale():
            yield expression
        case Not(operand):
            yield from leaves(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from leaves(operand)
        case _:
            assert_never(expression)


def comparisons(expression: Expression) -> Iterator[Comparison]:
    """Every comparison that gives a guard, from left to right."""
    return (leaf for leaf in leaves(expression) if isinstance(leaf, Comparison))


def signals(node: Expression | Term) -> Iterator[str]:
    """Every signal that it names, from left to right, as often as it does."""
    match node:
        case Number():
            return
        case Value(signal) | Comparison(signal) | Missing(signal) | Stale(signal):
            yield signal
        case Window(_, inner) | Not(inner):
            yield from signals(inner)
        case Arithmetic(_, left, right) | Relation(left, _, right):
            yield from signals(left)
            yield from signals(right)
        case Pick(_, parts) | And(parts) | Or(parts):
            for part in parts:
                yield from signals(part)
        case _:
            assert_never(node)


def longest_window_s(node: Expression | Term) -> float:
    """How far back it looks; 0 where it needs the present record only."""
    match node:
        case Number() | Value() | Comparison() | Missing():
            return 0.0
        case Window(_, _, window_s) | Stale(_, window_s):
            return window_s
        case Not(inner):
            return longest_window_s(inner)
        case Arithmetic(_, left, right) | Relation(left, _, right):
            return max(longest_window_s(left), longest_window_s(right))
        case Pick(_, parts) | And(parts) | Or(parts):
            return max(longest_window_s(part) for part in parts)
        case _:
            assert_never(node)
