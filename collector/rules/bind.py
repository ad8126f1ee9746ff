"""Rules made ready for the records of one schema: columns for names, counts for limits, ticks for seconds. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, assert_never

import numpy as np

from codec.guards import GuardSet, Interval, limit_interval
from codec.schema import Kind, Schema
from collector.rules.expression import (
    And,
    Comparison,
    Missing,
    Not,
    Number,
    Or,
    Relation,
    Stale,
    Value,
    leaves,
    longest_window_s,
    signals,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from codec.schema import Signal
    from collector.rules.expression import Expression, Leaf, Term
    from collector.rules.rulefile import Rule, Rules

Limit = tuple[str, str, float]  # signal, operator, limit

EVIDENCE_BEFORE_S, EVIDENCE_AFTER_S = 5.0, 2.0  # around the opening of a fault
EVIDENCE_HZ = 10  # values kept of each second
EVIDENCE_SIGNALS_MAX = 8  # with the above, 568 values at most


@dataclass(frozen=True, slots=True)
class BoundRule:
    """One rule on one schema: where its signals stand, and its wait in ticks."""

    rule: Rule
    wait_ticks: int
    peak: Term | None  # what the first relation that has an order compares
    peak_sign: int  # 1: the largest value is the peak, -1: the smallest
    droppable: frozenset[Limit]  # of guards that a block needs for this rule's verdict to be exact
    reckons: bool  # with values that may be others than the sampled ones: no guard makes it exact
    evidence: tuple[str, ...]  # signals whose values are kept
    stays: NDArray[np.intp] | None  # columns, of `BoundRules.columns`: see `_stays`


@dataclass(frozen=True, slots=True)
class Watch:
    """Comparisons of which one must be possible in a block for a rule to hold anywhere in it, as arrays."""

    columns: NDArray[np.intp]  # of `BoundRules.columns`
    lows: NDArray[np.int64]
    highs: NDArray[np.int64]
    rules: tuple[tuple[int, ...], ...]  # per comparison, which rules need it
    always: tuple[int, ...]  # rules of which extremes do not tell


class Screened(NamedTuple):
    """What is known of a block's counts before any rule is asked."""

    lows: NDArray[
        np.int64
    ]  # [m], of all signals: the least of the available ones; greater than any where there is none
    highs: NDArray[np.int64]
    quiet: bool  # these rule out that any rule holds anywhere


@dataclass(frozen=True, slots=True)
class BoundRules:
    """All rules on one schema. Rules none of whose signals it has are left out."""

    schema: Schema
    rules: tuple[BoundRule, ...]
    columns: NDArray[np.intp]  # of the schema: those that rules name, ascending
    places: Mapping[str, int]  # signal: its index among these
    intervals: Mapping[Comparison, Interval]  # of those whose signal the schema has
    watch: Watch
    tail_ticks: int  # how many records before a block a rule may look at
    window_ticks: int  # how many of these a verdict may depend on
    numbers: Mapping[str, int]  # code: place in `rules`
    columns_key: bytes  # tells whether a tail has these columns

    def exact_under(self, guards: GuardSet | None) -> frozenset[str]:
        """Codes of the rules whose verdicts are exact on blocks encoded under these guards (None: not known)."""
        known = (
            frozenset((one.signal, one.operator, one.limit) for one in guards.guards)
            if guards
            else frozenset()
        )
        return frozenset(
            bound.rule.code for bound in self.rules if not bound.reckons and bound.droppable <= known
        )

    def screen(self, lows: NDArray[np.int64], highs: NDArray[np.int64]) -> list[Screened]:
        """Blocks by their extremes, int64[b, m] each."""
        watch = self.watch
        columns = self.columns[watch.columns]
        possible = (highs[:, columns] >= watch.lows) & (lows[:, columns] <= watch.highs)
        quiet = np.logical_not(possible.any(axis=1)) & (not watch.always)
        return list(map(Screened, lows, highs, quiet.tolist()))

    def rule(self, code: str) -> Rule:
        return self.rules[self.numbers[code]].rule

    def ticks(self, seconds: float) -> int:
        """Of a window: at least one."""
        return max(1, round(seconds * self.schema.rate_hz))

    def signal(self, name: str) -> Signal:
        return self.schema.signals[int(self.columns[self.places[name]])]


def bind(rules: Rules, schema: Schema) -> BoundRules:
    """The rules made ready for records of this schema."""
    columns = {name: column for column, name in enumerate(schema.names)}
    used = [rule for rule in rules.rules if rule.enabled and any(name in columns for name in rule.signals)]
    named = sorted({columns[name] for rule in used for name in rule.signals if name in columns})
    places = {schema.names[column]: place for place, column in enumerate(named)}
    stated = [leaf for rule in used for condition in rule.conditions for leaf in leaves(condition)]
    intervals = {
        leaf: limit_interval(schema.signals[columns[leaf.signal]], leaf.operator, leaf.limit)
        for leaf in stated
        if isinstance(leaf, Comparison) and leaf.signal in columns
    }
    bound = tuple(_bound(rule, schema, columns, places) for rule in used)
    windows_s = [longest_window_s(condition) for rule in used for condition in rule.conditions]
    window_ticks = math.ceil(max(windows_s, default=0.0) * schema.rate_hz)
    evidence_ticks = math.ceil((EVIDENCE_BEFORE_S + EVIDENCE_AFTER_S) * schema.rate_hz)
    return BoundRules(
        schema=schema,
        rules=bound,
        columns=np.array(named, np.intp),
        places=places,
        intervals=intervals,
        watch=_watch(bound, schema, columns, places, intervals),
        tail_ticks=max(window_ticks, evidence_ticks),
        window_ticks=window_ticks,
        numbers={rule.code: number for number, rule in enumerate(used)},
        columns_key=np.array(named, np.intp).tobytes(),
    )


def may_differ(signal: Signal) -> bool:
    """Whether a reconstructed value may be another than the sampled one. Only scaled signals have a bound in counts."""
    return signal.max_error_counts > 0 if signal.kind is Kind.SCALED else signal.threshold > 0


def _bound(rule: Rule, schema: Schema, columns: Mapping[str, int], places: Mapping[str, int]) -> BoundRule:
    stated = [leaf for condition in rule.conditions for leaf in leaves(condition)]
    lossy = {name for name in rule.signals if name in columns and may_differ(schema.signals[columns[name]])}
    peak, sign = next(filter(None, (_peak(leaf, columns) for leaf in stated)), (None, 1))
    return BoundRule(
        rule=rule,
        wait_ticks=math.ceil(round(rule.for_s * schema.rate_hz, 6)),
        peak=peak,
        peak_sign=sign,
        droppable=frozenset(
            (one.signal, one.operator, one.limit) for one in rule.guards if one.signal in lossy
        ),
        reckons=any(isinstance(leaf, Relation) and lossy & set(signals(leaf)) for leaf in stated),
        evidence=tuple(name for name in rule.signals if name in columns)[:EVIDENCE_SIGNALS_MAX],
        stays=_stays(rule, peak, schema, places),
    )


def _stays(
    rule: Rule, peak: Term | None, schema: Schema, places: Mapping[str, int]
) -> NDArray[np.intp] | None:
    """Signals of which it is enough that they are available and `clear` cannot hold, for a fault to go on unchanged.

    None where that does not tell: without `clear`, and where more is asked than how scaled signals compare with constants.
    """
    parts = list(leaves(rule.clearance)) if rule.clearance is not None else []
    named = {name for part in parts for name in signals(part)}
    plain = all(isinstance(part, Comparison) for part in parts) and isinstance(peak, Value)
    if not parts or not plain or not named <= places.keys():
        return None
    assert isinstance(peak, Value)
    used = sorted(named | {peak.signal})
    if any(schema.signals[schema.index(name)].kind is not Kind.SCALED for name in used):
        return None
    return np.array([places[name] for name in used], np.intp)


def _peak(leaf: Leaf, columns: Mapping[str, int]) -> tuple[Term, int] | None:
    """What a relation with an order compares, and whether its largest (1) or smallest (-1) value is the peak."""
    if not isinstance(leaf, Comparison | Relation) or leaf.operator in {"==", "!="}:
        return None
    if any(name not in columns for name in signals(leaf)):
        return None
    sign = 1 if leaf.operator in {">", ">="} else -1
    if isinstance(leaf, Comparison):
        return Value(leaf.signal), sign
    return (leaf.right, -sign) if isinstance(leaf.left, Number) else (leaf.left, sign)


def _watch(
    rules: Iterable[BoundRule],
    schema: Schema,
    columns: Mapping[str, int],
    places: Mapping[str, int],
    intervals: Mapping[Comparison, Interval],
) -> Watch:
    numbers: dict[Comparison, list[int]] = {}
    always: list[int] = []
    for number, one in zip(count(), rules):
        needed = _needed(one.rule.condition, schema, columns, intervals)
        if needed is None:
            always.append(number)
        for comparison in needed or ():
            numbers.setdefault(comparison, []).append(number)
    return Watch(
        np.array([places[comparison.signal] for comparison in numbers], np.intp),
        np.array([intervals[comparison].low for comparison in numbers], np.int64),
        np.array([intervals[comparison].high for comparison in numbers], np.int64),
        tuple(map(tuple, numbers.values())),
        tuple(always),
    )


def _needed(
    expression: Expression,
    schema: Schema,
    columns: Mapping[str, int],
    intervals: Mapping[Comparison, Interval],
) -> set[Comparison] | None:
    """Comparisons of which one must be possible for it to hold; None where extremes of counts do not tell."""
    match expression:
        case Comparison(signal):
            if signal not in columns:
                return set()
            interval = intervals[expression]
            told = schema.signals[columns[signal]].kind is Kind.SCALED and not interval.negated
            return {expression} if told else None
        case Missing(signal) | Stale(signal):
            return None if signal in columns else set()
        case Relation() | Not():
            return None
        case And(operands):
            found = [_needed(operand, schema, columns, intervals) for operand in operands]
            return min((one for one in found if one is not None), key=len, default=None)
        case Or(operands):
            found = [_needed(operand, schema, columns, intervals) for operand in operands]
            return None if None in found else set().union(*(one for one in found if one is not None))
        case _:
            assert_never(expression)
