"""Guards: limits that some rule watches. A value is never dropped across one.

Rules
- `limit_interval` is the one place where a limit becomes counts, for the encoder and for the rules alike. It reckons
  with the shortest decimals of limit, factor and offset: a limit of 0.15 is three counts of 0.05, though
  3 * 0.05 > 0.15 in float64.
- Every operator is an interval: it holds for counts inside [low, high], or outside of it if `negated`. Two values are
  on the same side of a guard if both are inside or both outside.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from codec.errors import SchemaError
from codec.schema import HASH_BYTES, Kind, Schema, Signal, physical

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPERATORS = (">", ">=", "<", "<=", "==", "!=")
GUARDS_MAX = 4096
COUNTS_LOW, COUNTS_HIGH = -(1 << 62), 1 << 62


@dataclass(frozen=True, slots=True, order=True)
class Guard:
    """`signal operator limit`, held for `for_s` before its rule fires."""

    signal: str
    operator: str
    limit: float
    for_s: float = 0.0

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise SchemaError(
                f"guard on {self.signal}: operator {self.operator!r} is none of {' '.join(OPERATORS)}"
            )
        if not math.isfinite(self.limit) or not math.isfinite(self.for_s) or self.for_s < 0:
            raise SchemaError(f"guard on {self.signal}: limit and for_s must be finite, for_s not negative")


@dataclass(frozen=True, slots=True)
class GuardSet:
    """Guards in canonical order, named by their hash. The empty set's hash is empty."""

    guards: tuple[Guard, ...] = ()
    hash: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.guards) > GUARDS_MAX:
            raise SchemaError(f"a guard set has at most {GUARDS_MAX} guards, not {len(self.guards)}")
        object.__setattr__(self, "guards", tuple(sorted(set(self.guards))))
        digest = hashlib.sha256(self.to_bytes()).digest()[:HASH_BYTES] if self.guards else b""
        object.__setattr__(self, "hash", digest)

    def to_bytes(self) -> bytes:
        rows = [[g.signal, g.operator, g.limit, g.for_s] for g in self.guards]
        return json.dumps(rows, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> GuardSet:
        """Inverse of `to_bytes`. Raises SchemaError for anything else."""
        try:
            rows = json.loads(content)
            return cls(
                tuple(Guard(str(s), str(op), float(limit), float(for_s)) for s, op, limit, for_s in rows)
            )
        except SchemaError:
            raise
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise SchemaError(f"not a guard set: {error}") from None


@dataclass(frozen=True, slots=True)
class Interval:
    """Where an operator holds: inside [low, high], or outside if negated.

    In counts for scaled signals, in physical values (float64) for all others.
    """

    low: float
    high: float
    negated: bool = False

    def holds(self, signal: Signal, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n] for the counts int64[n] of available values."""
        values = counts if signal.kind is Kind.SCALED else physical(signal, counts)
        inside = (values >= self.low) & (values <= self.high)
        if signal.kind is not Kind.SCALED and self.negated:
            return ~inside & ~np.isnan(values)  # no operator holds for NaN
        return ~inside if self.negated else inside


@functools.lru_cache(
    GUARDS_MAX
)  # exact arithmetic takes its time, and rules are bound again for every stream
def limit_interval(signal: Signal, operator: str, limit: float) -> Interval:
    """Where `value operator limit` holds. Source: exact decimal arithmetic, see the rules above."""
    if signal.kind is not Kind.SCALED:
        return _physical_interval(operator, limit)
    at = (_decimal(limit) - _decimal(signal.offset)) / _decimal(signal.factor)
    if signal.factor < 0:
        operator = {">": "<", ">=": "<=", "<": ">", "<=": ">="}.get(operator, operator)
    at = max(Fraction(COUNTS_LOW), min(Fraction(COUNTS_HIGH), at))
    match operator:
        case ">":
            return Interval(math.floor(at) + 1, COUNTS_HIGH)
        case ">=":
            return Interval(math.ceil(at), COUNTS_HIGH)
        case "<":
            return Interval(COUNTS_LOW, math.ceil(at) - 1)
        case "<=":
            return Interval(COUNTS_LOW, math.floor(at))
        case _:  # == and !=; an empty interval where the limit lies between two counts
            return Interval(math.ceil(at), math.floor(at), negated=operator == "!=")


def schema_intervals(schema: Schema, guards: GuardSet) -> list[list[Interval]]:
    """Per signal of the schema, the intervals of the guards on it. Guards on signals it lacks are left out."""
    intervals: list[list[Interval]] = [[] for _ in schema.signals]
    columns = {name: column for column, name in enumerate(schema.names)}
    for guard in guards.guards:
        column = columns.get(guard.signal)
        if column is not None:
            intervals[column].append(limit_interval(schema.signals[column], guard.operator, guard.limit))
    return intervals


def _decimal(number: float) -> Fraction:
    return Fraction(repr(float(number)))


def _physical_interval(operator: str, limit: float) -> Interval:
    match operator:
        case ">":
            return Interval(float(np.nextafter(limit, np.inf)), np.inf)
        case ">=":
            return Interval(limit, np.inf)
        case "<":
            return Interval(-np.inf, float(np.nextafter(limit, -np.inf)))
        case "<=":
            return Interval(-np.inf, limit)
        case _:
            return Interval(limit, limit, negated=operator == "!=")
