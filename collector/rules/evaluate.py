"""Rules over blocks of records: pure, and the same on sampled and on reconstructed records.

Rules
- Every comparison is an interval of `codec.guards.limit_interval`, which the encoder uses too. Where a block was encoded
  under the guards of a rule, its verdict is that of the sampled records, tick for tick.
- Logic has three values. A signal that is not available (or that the schema lacks, or NaN) makes its comparisons unknown;
  `a or b` still holds if a holds and b is unknown.
- `when` must hold at every tick for `for_s` before a fault opens; its first tick is where `when` began to hold. Unknown,
  a missed tick, a gap and a new stream start the wait anew.
- An open fault ends where `clear` holds (and `when` does not). While that is unknown it waits, across gaps and streams.
- Ticks are compared within one stream only: the next stream may count from another boot.
- A fault is approximate if any block between the start of its wait and its end was encoded without a guard of its rule
  on a signal that may be dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from codec.guards import GuardSet, Interval, limit_interval
from codec.records import Availability, Records
from codec.schema import Kind, Schema, physical
from collector.rules.expression import And, Comparison, Expression, Not, Or, comparisons

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from codec.schema import Signal
    from collector.rules.rulefile import Rule, Rules

    Truth = tuple[NDArray[np.bool_], NDArray[np.bool_]]  # bool[n] where it holds, bool[n] where it does not


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """One occurrence of a rule's condition, as far as it is known.

    Ticks count within their own stream. `last_tick` is the last one at which it was seen to hold, None while it is open.
    Values are physical; `peak` and `evidence` are reconstructed ones, and so exact up to the thresholds only.
    """

    code: str
    signal: str  # the first that `when` names
    severity: str
    stream_no: int
    first_tick: int
    detected_tick: int  # first_tick plus the wait
    last_stream_no: int | None = None
    last_tick: int | None = None
    peak: float | None = None
    approximate: bool = False
    evidence: Mapping[str, float | None] = field(default_factory=dict, compare=False)  # at detected_tick
    cleared_tick: int | None = (
        None  # where it ended: after last_tick, and later where nobody could tell for a while
    )

    @property
    def verdict(self) -> tuple[str, int, int, int, int | None, int | None]:
        """What compression must not change."""
        return (
            self.code,
            self.stream_no,
            self.first_tick,
            self.detected_tick,
            self.last_stream_no,
            self.last_tick,
        )


@dataclass(frozen=True, slots=True)
class Episode:
    """A condition that holds: waiting for its `for_s`, or an open fault once `detected_tick` is set."""

    rule_hash: str
    stream_no: int
    first_tick: int
    seen_stream_no: int  # where it was last seen to hold
    seen_tick: int
    detected_tick: int | None = None
    peak: float | None = None
    approximate: bool = False
    evidence: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleState:
    """What one outbox's rules carry from block to block. `end` is (stream_no, the tick after the last record)."""

    end: tuple[int, int] | None = None
    episodes: Mapping[str, Episode] = field(default_factory=dict)  # by rule code

    def to_json(self) -> dict[str, Any]:
        names = [one.name for one in fields(Episode)]
        episodes = {
            code: {name: getattr(episode, name) for name in names} for code, episode in self.episodes.items()
        }
        return {"end": self.end, "episodes": episodes}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RuleState:
        end = document["end"]
        episodes = {str(code): Episode(**entry) for code, entry in document["episodes"].items()}
        return cls(None if end is None else (int(end[0]), int(end[1])), episodes)


@dataclass(frozen=True, slots=True)
class BoundRule:
    """One rule on one schema: where its signals stand, and its wait in ticks."""

    rule: Rule
    wait_ticks: int
    peak_column: int | None  # of the first comparison that has an order
    peak_sign: int  # 1: the largest value is the peak, -1: the smallest
    droppable: frozenset[Any]  # guards that a block needs for this rule's verdict to be exact


@dataclass(frozen=True, slots=True)
class BoundRules:
    """All rules on one schema. Rules none of whose signals it has are left out."""

    schema: Schema
    rules: tuple[BoundRule, ...]
    atoms: Mapping[
        Comparison, tuple[int, Interval] | None
    ]  # column and interval; None: the schema lacks the signal

    def exact_under(self, guards: GuardSet | None) -> frozenset[str]:
        """Codes of the rules whose verdicts are exact on blocks encoded under these guards (None: not known)."""
        known = frozenset(guards.guards) if guards else frozenset()
        return frozenset(bound.rule.code for bound in self.rules if bound.droppable <= known)


def bind(rules: Rules, schema: Schema) -> BoundRules:
    """The rules made ready for records of this schema."""
    columns = {name: column for column, name in enumerate(schema.names)}
    bound = []
    atoms: dict[Comparison, tuple[int, Interval] | None] = {}
    for rule in rules.rules:
        if not any(name in columns for name in rule.signals):
            continue
        stated = [*comparisons(rule.condition), *(comparisons(rule.clearance) if rule.clearance else ())]
        for atom in stated:
            column = columns.get(atom.signal)
            atoms[atom] = (
                None
                if column is None
                else (column, limit_interval(schema.signals[column], atom.operator, atom.limit))
            )
        ordered = next((a for a in stated if a.signal in columns and a.operator not in {"==", "!="}), None)
        droppable = frozenset(
            guard
            for guard in rule.guards
            if guard.signal in columns and _may_differ(schema.signals[columns[guard.signal]])
        )
        bound.append(
            BoundRule(
                rule=rule,
                wait_ticks=math.ceil(round(rule.for_s * schema.rate_hz, 6)),
                peak_column=columns[ordered.signal] if ordered else None,
                peak_sign=1 if ordered and ordered.operator in {">", ">="} else -1,
                droppable=droppable,
            )
        )
    return BoundRules(schema, tuple(bound), atoms)


def _may_differ(signal: Signal) -> bool:
    """Whether a reconstructed value may be another than the sampled one. Only scaled signals have a bound in counts."""
    return signal.max_error_counts > 0 if signal.kind is Kind.SCALED else signal.threshold > 0


def evaluate(
    bound: BoundRules, state: RuleState, stream_no: int, records: Records, exact: frozenset[str]
) -> tuple[list[FaultSpan], RuleState]:
    """Advance the rules by one run of records.

    `exact` are the codes of the rules that this block was encoded under (see `BoundRules.exact_under`). Returns the faults
    that this run opened, changed or closed, as they stand after it, and the new state.
    """
    if not len(records):
        return [], state
    block = _Block(bound, stream_no, records)
    continues = state.end == (stream_no, records.first_tick)
    episodes = dict(state.episodes)
    spans: list[FaultSpan] = []
    for one in bound.rules:
        before = episodes.pop(one.rule.code, None)
        if before and before.detected_tick is None and not continues:
            before = None
        changed, after = _advance(one, block, before, approximate=one.rule.code not in exact)
        spans += changed
        if after:
            episodes[one.rule.code] = after
    return spans, RuleState((stream_no, records.end_tick), episodes)


def evaluate_all(rules: Rules, schema: Schema, runs: Iterable[tuple[int, Records]]) -> list[FaultSpan]:
    """All faults of one outbox's records, given as (stream_no, run) in order, in the order in which they opened."""
    bound = bind(rules, schema)
    every = frozenset(one.rule.code for one in bound.rules)
    state = RuleState()
    faults: dict[tuple[str, int, int], FaultSpan] = {}
    for stream_no, records in runs:
        changed, state = evaluate(bound, state, stream_no, records, every)
        for span in changed:
            faults[span.code, span.stream_no, span.first_tick] = span
    return list(faults.values())


def withdraw_changed(rules: Rules, state: RuleState) -> tuple[list[tuple[str, Episode]], RuleState]:
    """Episodes of rules that are gone or read differently now, and the state without them."""
    current = {rule.code: rule.hash for rule in rules.rules}
    kept = {
        code: episode for code, episode in state.episodes.items() if current.get(code) == episode.rule_hash
    }
    gone = [
        (code, episode)
        for code, episode in state.episodes.items()
        if code not in kept and episode.detected_tick is not None
    ]
    return gone, replace(state, episodes=kept)


class _Block:
    """One run of records, with what its comparisons came to: each is reckoned once, however many rules state it."""

    def __init__(self, bound: BoundRules, stream_no: int, records: Records) -> None:
        self.bound = bound
        self.stream_no = stream_no
        self.records = records
        self._low = records.counts.min(axis=0).tolist()
        self._high = records.counts.max(axis=0).tolist()
        self._atoms: dict[Comparison, Truth] = {}

    def truth(self, expression: Expression) -> Truth:
        match expression:
            case Comparison():
                if expression not in self._atoms:
                    self._atoms[expression] = self._compare(expression)
                return self._atoms[expression]
            case Not(operand):
                holds, fails = self.truth(operand)
                return fails, holds
            case And(operands):
                parts = [self.truth(operand) for operand in operands]
                return np.logical_and.reduce([p[0] for p in parts]), np.logical_or.reduce(
                    [p[1] for p in parts]
                )
            case Or(operands):
                parts = [self.truth(operand) for operand in operands]
                return np.logical_or.reduce([p[0] for p in parts]), np.logical_and.reduce(
                    [p[1] for p in parts]
                )
            case _:
                assert_never(expression)

    def may_hold(self, expression: Expression) -> bool:
        """False only if it holds nowhere; told by extremes, which is what most rules on most blocks come to."""
        match expression:
            case Comparison():
                place = self.bound.atoms[expression]
                if place is None:
                    return False
                column, interval = place
                if interval.negated or self.bound.schema.signals[column].kind is not Kind.SCALED:
                    return True
                return bool(self._high[column] >= interval.low and self._low[column] <= interval.high)
            case Not():
                return True
            case And(operands):
                return all(self.may_hold(operand) for operand in operands)
            case Or(operands):
                return any(self.may_hold(operand) for operand in operands)
            case _:
                assert_never(expression)

    def _compare(self, atom: Comparison) -> Truth:
        place = self.bound.atoms[atom]
        if place is None:
            nowhere = np.zeros(len(self.records), np.bool_)
            return nowhere, nowhere
        column, interval = place
        signal = self.bound.schema.signals[column]
        counts = self.records.counts[:, column]
        known = self.records.states[:, column] == Availability.AVAILABLE
        if signal.kind in (Kind.FLOAT32, Kind.FLOAT64):
            known = known & ~np.isnan(physical(signal, counts))
        holds = interval.holds(signal, counts)
        return holds & known, ~holds & known

    def peak(
        self, one: BoundRule, among: NDArray[np.bool_], start: int, stop: int, before: float | None
    ) -> float | None:
        """The most extreme value of the rule's leading signal where `among` holds in start..stop, or before."""
        if one.peak_column is None:
            return before
        known = self.records.states[start:stop, one.peak_column] == Availability.AVAILABLE
        counts = self.records.counts[start:stop, one.peak_column][among[start:stop] & known]
        if not len(counts):
            return before
        values = physical(self.bound.schema.signals[one.peak_column], counts) * one.peak_sign
        best = float(np.nanmax(values)) if not np.isnan(values).all() else math.nan
        if math.isnan(best):
            return before
        return one.peak_sign * (best if before is None else max(best, one.peak_sign * before))

    def evidence(self, rule: Rule, at: int) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for name in rule.signals:
            if name not in self.bound.schema.names:
                continue
            column = self.bound.schema.index(name)
            available = self.records.states[at, column] == Availability.AVAILABLE
            value = float(
                physical(self.bound.schema.signals[column], self.records.counts[at : at + 1, column])[0]
            )
            values[name] = value if available and math.isfinite(value) else None
        return values


def _advance(
    one: BoundRule, block: _Block, episode: Episode | None, *, approximate: bool
) -> tuple[list[FaultSpan], Episode | None]:
    """One rule over one block: the spans that changed, and the episode that goes on."""
    if episode is None and not block.may_hold(one.rule.condition):
        return [], None
    holds, fails = block.truth(one.rule.condition)
    clears, stays = (fails, holds)
    if one.rule.clearance is not None:
        # `clear` ends a fault only where `when` does not hold, or a careless pair would open and close it at every tick
        cleared, not_cleared = block.truth(one.rule.clearance)
        clears, stays = cleared & fails, not_cleared | holds
    first_tick, count = block.records.first_tick, len(block.records)
    spans: list[FaultSpan] = []
    before = episode
    at = 0
    while at < count:
        if episode is None:
            at = _next(holds, at)
            if at == count:
                break
            episode = Episode(
                one.rule.hash, block.stream_no, first_tick + at, block.stream_no, first_tick + at
            )
        if episode.detected_tick is None:
            stop = _next(~holds, at)
            due = max(at, episode.first_tick + one.wait_ticks - first_tick)
            end = min(stop, due + 1)
            episode = _seen(episode, one, block, holds, at, end, approximate=approximate)
            if due < stop:
                episode = replace(
                    episode, detected_tick=first_tick + due, evidence=block.evidence(one.rule, due)
                )
            elif stop < count:
                episode = None
            at = end
            continue
        stop = _next(clears, at)
        episode = _seen(episode, one, block, stays, at, stop, approximate=approximate)
        if stop < count:
            spans.append(_span(one.rule, episode, cleared_tick=first_tick + stop))
            episode = None
        at = stop
    if episode is not None and episode.detected_tick is not None and _differs(before, episode):
        spans.append(_span(one.rule, episode, cleared_tick=None))
    return spans, episode


def _next(where: NDArray[np.bool_], at: int) -> int:
    """First index from `at` on where it holds; the length if nowhere."""
    if at >= len(where):
        return len(where)
    step = int(np.argmax(where[at:]))
    return at + step if where[at + step] else len(where)


def _seen(
    episode: Episode,
    one: BoundRule,
    block: _Block,
    holding: NDArray[np.bool_],
    start: int,
    stop: int,
    *,
    approximate: bool,
) -> Episode:
    """The episode after start..stop, in which it went on; it was seen to hold where `holding`."""
    if stop <= start:
        return episode
    backwards = int(np.argmax(holding[start:stop][::-1]))
    last = stop - 1 - backwards
    stream_no, tick = episode.seen_stream_no, episode.seen_tick
    if holding[last]:
        stream_no, tick = block.stream_no, block.records.first_tick + last
    peak = block.peak(one, holding, start, stop, episode.peak)
    approximate = approximate or episode.approximate
    return replace(episode, seen_stream_no=stream_no, seen_tick=tick, peak=peak, approximate=approximate)


def _differs(before: Episode | None, after: Episode) -> bool:
    """Whether readers see a difference; where an open fault was last seen is of no interest to them."""
    if before is None or before.detected_tick is None or before.first_tick != after.first_tick:
        return True
    return (before.peak, before.approximate) != (after.peak, after.approximate)


def _span(rule: Rule, episode: Episode, *, cleared_tick: int | None) -> FaultSpan:
    assert episode.detected_tick is not None
    closed = cleared_tick is not None
    return FaultSpan(
        code=rule.code,
        signal=rule.signals[0],
        severity=rule.severity,
        stream_no=episode.stream_no,
        first_tick=episode.first_tick,
        detected_tick=episode.detected_tick,
        last_stream_no=episode.seen_stream_no if closed else None,
        last_tick=episode.seen_tick if closed else None,
        peak=episode.peak,
        approximate=episode.approximate,
        evidence=episode.evidence,
        cleared_tick=cleared_tick,
    )
