"""Where conditions hold in a block of records, and where they do not. Pure.

Rules
- Logic has three values. A signal that is not available (or that the schema lacks, or NaN) makes what is said of it
  unknown; `a or b` still holds if a holds and b is unknown.
- Every comparison is an interval of `codec.guards.limit_interval`, which the encoder uses too. Each leaf and each term is
  reckoned once, however many rules state it.
- What a window sees before the block comes from the tail: the records before it, of the same stream, without a hole.
  So a window begins anew after a missed tick, a gap and a new stream.
- `may_hold` is told by extremes, and false only where the condition holds nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import numpy as np

from codec.guards import COUNTS_HIGH, COUNTS_LOW
from codec.records import Availability
from codec.schema import Kind, physical
from collector.rules import windows
from collector.rules.expression import (
    And,
    Arithmetic,
    Comparison,
    Missing,
    Not,
    Number,
    Or,
    Pick,
    Relation,
    Stale,
    Value,
    Window,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codec.records import Records
    from collector.rules.bind import BoundRules, Screened
    from collector.rules.expression import Expression, Leaf, Term

    Truth = tuple[NDArray[np.bool_], NDArray[np.bool_]]  # bool[n] where it holds, bool[n] where it does not
    Extremes = tuple[NDArray[np.int64], NDArray[np.int64]]  # lowest and highest counts, int64[k]
    Column = NDArray[np.float64]
    Range = tuple[float, float]

ANYTHING = (-math.inf, math.inf)
PARTS_MAX = 64  # of a tail, before they become one
ROUNDING = 1e-9  # more than rounding adds to a mean, as a share of the values


@dataclass(frozen=True, slots=True)
class Tail:
    """The records before a block, in parts, of the columns that rules name: counts int64[n, k], states uint8[n, k].

    Lowest and highest counts are kept of the last `since_count` records and of as many before as rules look at: of more
    records than the parts hold, never of fewer.
    """

    columns: bytes  # see `BoundRules.columns_key`
    first_tick: int
    count: int
    parts: tuple[tuple[NDArray[np.int64], NDArray[np.uint8]], ...]
    whole: bool  # nothing is missing of what rules may look at, or there was nothing
    before: Extremes | None = None
    since: Extremes | None = None
    since_count: int = 0

    def widened(self, extremes: Extremes) -> Extremes:
        """These and those of its records."""
        for one in (self.before, self.since):
            if one is not None:
                extremes = np.minimum(one[0], extremes[0]), np.maximum(one[1], extremes[1])
        return extremes

    def grown(
        self, counts: NDArray[np.int64], states: NDArray[np.uint8], extremes: Extremes, wanted: int
    ) -> Tail:
        """With so many more records at its end, and without parts that nobody looks at."""
        first_tick, count, parts = self.first_tick, self.count + len(counts), (*self.parts, (counts, states))
        before, since, since_count = self.before, extremes, self.since_count + len(counts)
        if self.since is not None:
            since = np.minimum(self.since[0], since[0]), np.maximum(self.since[1], since[1])
        dropped = 0
        while count - len(parts[dropped][0]) >= wanted:
            first_tick, count = first_tick + len(parts[dropped][0]), count - len(parts[dropped][0])
            dropped += 1
        if len(parts) - dropped > PARTS_MAX:
            both = zip(*parts[dropped:], strict=True)
            parts, dropped = (tuple(np.concatenate(one) for one in both),), 0  # type: ignore[assignment]
        whole = self.whole or count >= wanted
        if since_count >= wanted:
            return Tail(self.columns, first_tick, count, parts[dropped:], whole, since)
        return Tail(self.columns, first_tick, count, parts[dropped:], whole, before, since, since_count)


class Block:
    """One run of records. `tail` ends where it begins, or is None; `begins`: there is no record right before it."""

    def __init__(
        self,
        bound: BoundRules,
        stream_no: int,
        records: Records,
        tail: Tail | None,
        screened: Screened | None = None,
        *,
        begins: bool,
    ) -> None:
        self.bound = bound
        self.stream_no = stream_no
        self.first_tick = records.first_tick
        self.end_tick = records.end_tick
        self.count = len(records)
        self.counts = records.counts[:, bound.columns]
        self.states = records.states[:, bound.columns]
        self.lows, self.highs = (
            (screened.lows[bound.columns], screened.highs[bound.columns]) if screened else self._extremes()
        )
        self.follows = tail is not None
        self._before = tail or Tail(bound.columns_key, self.first_tick, 0, (), begins)
        self._wide: tuple[NDArray[np.int64], NDArray[np.uint8]] | None = None
        self._wide_extremes: Extremes | None = None
        self._leaves: dict[Leaf, Truth] = {}
        self._terms: dict[tuple[Term, bool], Column] = {}

    def _extremes(self) -> Extremes:
        lowest = highest = self.counts
        if self.states.any():
            missing = self.states != Availability.AVAILABLE
            lowest, highest = np.where(missing, COUNTS_HIGH, lowest), np.where(missing, COUNTS_LOW, highest)
        return np.minimum.reduce(lowest, axis=0), np.maximum.reduce(highest, axis=0)

    @property
    def wide_first_tick(self) -> int:
        return self._before.first_tick

    @property
    def wide(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Counts and states of the tail and the block."""
        if self._wide is None:
            parts = (*self._before.parts, (self.counts, self.states))
            self._wide = np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])
        return self._wide

    def tail(self) -> Tail:
        """The records before the next block, as many as rules look at."""
        extremes = self.lows, self.highs
        return self._before.grown(self.counts, self.states, extremes, self.bound.tail_ticks)

    def candidates(self) -> set[int]:
        """Numbers of the rules that extremes do not rule out."""
        watch = self.bound.watch
        found = set(watch.always)
        if len(watch.columns):
            possible = (self.highs[watch.columns] >= watch.lows) & (self.lows[watch.columns] <= watch.highs)
            for number in possible.nonzero()[0].tolist():
                found.update(watch.rules[number])
        return found

    def peak_of(self, name: str, sign: int) -> float:
        """The largest value of a scaled signal that is always available here, or with sign -1 the smallest."""
        low, high = self._value_range(name, wide=False)
        return high if sign > 0 else low

    def all_available(self, places: NDArray[np.intp]) -> bool:
        return not self.states[:, places].any()

    # Truth

    def truth(self, expression: Expression) -> Truth:
        match expression:
            case Comparison() | Relation() | Missing() | Stale():
                if expression not in self._leaves:
                    self._leaves[expression] = self._leaf(expression)
                return self._leaves[expression]
            case Not(operand):
                holds, fails = self.truth(operand)
                return fails, holds
            case And(operands):
                parts = [self.truth(operand) for operand in operands]
                holds = np.logical_and.reduce([part[0] for part in parts])
                return holds, np.logical_or.reduce([part[1] for part in parts])
            case Or(operands):
                parts = [self.truth(operand) for operand in operands]
                holds = np.logical_or.reduce([part[0] for part in parts])
                return holds, np.logical_and.reduce([part[1] for part in parts])
            case _:
                assert_never(expression)

    def _leaf(self, leaf: Leaf) -> Truth:
        match leaf:
            case Comparison(signal):
                return self._comparison(leaf) if signal in self.bound.places else self._unknown()
            case Relation(left, operator, right):
                return _related(self.term(left), operator, self.term(right))
            case Missing(signal):
                if signal not in self.bound.places:
                    return self._unknown()
                present = self._present(signal, wide=False)
                return ~present, present
            case Stale(signal, window_s):
                return self._stale(signal, self.bound.ticks(window_s))
            case _:
                assert_never(leaf)

    def _unknown(self) -> Truth:
        nowhere = np.zeros(self.count, np.bool_)
        return nowhere, nowhere

    def _comparison(self, comparison: Comparison) -> Truth:
        place = self.bound.places[comparison.signal]
        signal = self.bound.signal(comparison.signal)
        counts = self.counts[:, place]
        known = self.states[:, place] == Availability.AVAILABLE
        if signal.kind in (Kind.FLOAT32, Kind.FLOAT64):
            known = known & ~np.isnan(physical(signal, counts))
        holds = self.bound.intervals[comparison].holds(signal, counts)
        return holds & known, ~holds & known

    def _present(self, name: str, *, wide: bool) -> NDArray[np.bool_]:
        place, signal = self.bound.places[name], self.bound.signal(name)
        counts, states = self.wide if wide else (self.counts, self.states)
        present: NDArray[np.bool_] = states[:, place] == Availability.AVAILABLE
        if signal.kind in (Kind.FLOAT32, Kind.FLOAT64):
            present = present & ~np.isnan(physical(signal, counts[:, place]))
        return present

    def _stale(self, name: str, width: int) -> Truth:
        """Fails where it was available in the window, though it be not full; holds where a full one has nothing."""
        if name not in self.bound.places:
            return self._unknown()
        present = self._present(name, wide=True)
        seen = windows.counted(np.where(present, 0.0, np.nan), width)
        full = np.arange(1, len(seen) + 1) >= width
        return ((seen == 0) & full)[-self.count :], (seen > 0)[-self.count :]

    # Terms

    def term(self, term: Term, *, wide: bool = False) -> Column:
        """float64[n], NaN where it is not known; of the tail and the block if `wide`."""
        key = (term, wide)
        if key not in self._terms:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                found = self._term(term, wide=wide)
            self._terms[key] = np.where(np.isfinite(found), found, np.nan)
        return self._terms[key]

    def _term(self, term: Term, *, wide: bool) -> Column:
        match term:
            case Number(value):
                return np.full(len(self.wide[0]) if wide else self.count, value)
            case Value(name):
                return self._values(name, wide=wide)
            case Arithmetic(operator, left, right):
                one, other = self.term(left, wide=wide), self.term(right, wide=wide)
                result: Column = _ARITHMETIC[operator](one, other)
                return result
            case Pick(function, terms):
                parts = [self.term(part, wide=wide) for part in terms]
                if function == "abs":
                    return np.abs(parts[0])
                least: Column = (np.minimum if function == "min" else np.maximum).reduce(parts)
                return least
            case Window():
                return self._window(term)[-self.count :]
            case _:
                assert_never(term)

    def _values(self, name: str, *, wide: bool) -> Column:
        counts, states = self.wide if wide else (self.counts, self.states)
        if name not in self.bound.places:
            return np.full(len(counts), np.nan)
        place = self.bound.places[name]
        values = physical(self.bound.signal(name), counts[:, place])
        return np.where(states[:, place] == Availability.AVAILABLE, values, np.nan)

    def _window(self, window: Window) -> Column:
        width = self.bound.ticks(window.window_s)
        column = self.term(window.term, wide=True)
        first_tick = self.wide_first_tick
        match window.function:
            case "mean":
                return windows.mean(column, first_tick, width)
            case "std":
                return windows.deviation(column, first_tick, width)
            case "min" | "max":
                return windows.extreme(column, first_tick, width, largest=window.function == "max")
            case "rate":
                turn = 0.0
                if isinstance(window.term, Value) and window.term.signal in self.bound.places:
                    turn = self.bound.signal(window.term.signal).circular
                return windows.change(column, width, turn) * (self.bound.schema.rate_hz / width)
            case _:
                assert_never(window.function)

    # Extremes

    def may_hold(self, expression: Expression) -> bool:
        match expression:
            case Comparison(name):
                if name not in self.bound.places:
                    return False
                interval = self.bound.intervals[expression]
                if interval.negated or self.bound.signal(name).kind is not Kind.SCALED:
                    return True
                place = self.bound.places[name]
                return bool(self.highs[place] >= interval.low and self.lows[place] <= interval.high)
            case Relation(left, operator, right):
                return _may_relate(self._range(left), operator, self._range(right))
            case Missing(name) | Stale(name):
                if name not in self.bound.places:
                    return False
                is_float = self.bound.signal(name).kind in (Kind.FLOAT32, Kind.FLOAT64)
                return is_float or bool(self.states[:, self.bound.places[name]].any())
            case Not():
                return True
            case And(operands):
                return all(self.may_hold(operand) for operand in operands)
            case Or(operands):
                return any(self.may_hold(operand) for operand in operands)
            case _:
                assert_never(expression)

    def _range(self, term: Term, *, wide: bool = False) -> Range:
        """Between which values the term lies wherever it is known; of what is known nowhere, anything."""
        match term:
            case Number(value):
                return value, value
            case Value(name):
                return self._value_range(name, wide=wide)
            case Arithmetic(operator, left, right):
                return _corners(operator, self._range(left, wide=wide), self._range(right, wide=wide))
            case Pick(function, terms):
                ranges = [self._range(part, wide=wide) for part in terms]
                if function == "abs":
                    ((low, high),) = ranges
                    return max(low, -high, 0.0), max(-low, high)
                best = min if function == "min" else max
                return best(low for low, _ in ranges), best(high for _, high in ranges)
            case Window():
                return self._window_range(term)
            case _:
                assert_never(term)

    def _window_range(self, window: Window) -> Range:
        low, high = self._range(window.term, wide=True)
        spread = high - low
        slack = ROUNDING * max(abs(low), abs(high))
        if not math.isfinite(spread + slack):
            return ANYTHING
        match window.function:
            case "std":
                return 0.0, spread / 2 + slack
            case "rate":
                ticks = self.bound.ticks(window.window_s)
                most = spread * self.bound.schema.rate_hz / ticks
                return -most - slack, most + slack
            case _:
                return low - slack, high + slack

    def _value_range(self, name: str, *, wide: bool) -> Range:
        if name not in self.bound.places:
            return math.inf, -math.inf
        place, signal = self.bound.places[name], self.bound.signal(name)
        if signal.kind is not Kind.SCALED:
            return ANYTHING
        lows, highs = self.lows, self.highs
        if wide:
            if self._wide_extremes is None:
                self._wide_extremes = self._before.widened((lows, highs))
            lows, highs = self._wide_extremes
        # As `physical` reckons, and without arrays of one.
        ends = [float(one[place]) * signal.factor + signal.offset for one in (lows, highs)]
        return min(ends), max(ends)


_ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
_RELATIONS = {
    ">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal
}  # fmt: skip


def _related(left: Column, operator: str, right: Column) -> Truth:
    known = ~(np.isnan(left) | np.isnan(right))
    holds = _RELATIONS[operator](left, right)
    return holds & known, ~holds & known


def _may_relate(left: Range, operator: str, right: Range) -> bool:
    match operator:
        case ">" | ">=":
            return left[1] >= right[0]
        case "<" | "<=":
            return left[0] <= right[1]
        case "==":
            return left[0] <= right[1] and right[0] <= left[1]
        case _:
            return True


def _corners(operator: str, one: Range, other: Range) -> Range:
    """Rounding keeps order, so the ends of the ranges give the ends of what comes of them."""
    if not all(map(math.isfinite, (*one, *other))):
        return ANYTHING
    (low, high), (least, most) = one, other
    match operator:
        case "+":
            return low + least, high + most
        case "-":
            return low - most, high - least
        case "*":
            ends = [low * least, low * most, high * least, high * most]
        case _:
            if least <= 0 <= most:
                return ANYTHING
            ends = [low / least, low / most, high / least, high / most]
    return min(ends), max(ends)
