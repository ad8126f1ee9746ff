"""Rules over blocks of records: pure, and the same on sampled and on reconstructed records.

Rules
- Where a block was encoded under the guards of a rule, its verdict is that of the sampled records, tick for tick.
- `when` must hold at every tick for `for_s` before a fault opens; its first tick is where `when` began to hold. Unknown,
  a missed tick, a gap and a new stream start the wait anew.
- An open fault ends where `clear` holds (and `when` does not). While that is unknown it waits, across gaps and streams.
- Ticks are compared within one stream only: the next stream may count from another boot.
- Blocks may be cut anywhere: faults, peaks and evidence come out the same.
- A fault is approximate if any block between the start of its wait and its end was encoded without a guard of its rule
  on a signal that may be dropped, or if its rule reckons with such a signal, whose values are reconstructed.
- What a state carries of earlier records (`tail`) is not written down: it is in the stored blocks. See `with_tail`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.records import Availability, Records, concatenate
from codec.schema import physical
from collector.rules.bind import (
    EVIDENCE_AFTER_S,
    EVIDENCE_BEFORE_S,
    EVIDENCE_HZ,
    BoundRule,
    BoundRules,
    Screened,
    bind,
)
from collector.rules.expression import Value
from collector.rules.truth import Block, Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from codec.schema import Schema
    from collector.rules.rulefile import Rules

OPENED_MAX = 2000  # codes that are counted, gone ones as well, before these are forgotten
EVIDENCE_DIGITS = 9  # significant


@dataclass(frozen=True, slots=True)
class Evidence:
    """Values of a rule's signals around the opening of a fault, physical; None where they are not available."""

    at_detection: Mapping[str, float | None]
    first_tick: int
    step_ticks: int
    values: Mapping[str, tuple[float | None, ...]]


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
    occurrence: int = 1  # the how manieth of this code
    cleared_tick: int | None = (
        None  # where it ended: after last_tick, and later where nobody could tell for a while
    )
    evidence: Evidence | None = field(default=None, compare=False)  # None: as it was said before

    def after(self, before: FaultSpan | None) -> FaultSpan:
        """The same with the evidence of what was said of the same fault before, where it says nothing of it."""
        return self if self.evidence or before is None else replace(self, evidence=before.evidence)

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
    occurrence: int = 0  # of the fault, once it is one


@dataclass(frozen=True, slots=True)
class RuleState:
    """What one outbox's rules carry from block to block. `end` is (stream_no, the tick after the last record)."""

    end: tuple[int, int] | None = None
    episodes: Mapping[str, Episode] = field(default_factory=dict)  # by rule code
    opened: Mapping[str, int] = field(default_factory=dict)  # how many faults of each code there were so far
    tail: Tail | None = field(default=None, compare=False, repr=False)  # the records before `end`

    def to_text(self) -> str:
        return json.dumps(self.to_json(), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RuleState:
        """Inverse of `to_text`; of an empty one, nothing yet."""
        return cls.from_json(json.loads(text)) if text else cls()

    def to_json(self) -> dict[str, Any]:
        names = [one.name for one in fields(Episode)]
        episodes = {
            code: {name: getattr(episode, name) for name in names} for code, episode in self.episodes.items()
        }
        return {"end": self.end, "episodes": episodes, "opened": dict(self.opened)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RuleState:
        end = document["end"]
        names = {one.name for one in fields(Episode)}
        episodes = {
            str(code): Episode(**{name: value for name, value in entry.items() if name in names})
            for code, entry in document["episodes"].items()
        }
        return cls(
            None if end is None else (int(end[0]), int(end[1])), episodes, dict(document.get("opened", {}))
        )

    def lacks_tail(self, bound: BoundRules) -> bool:
        """Whether records are missing from it that rules may look at: it was written down, or is of other rules."""
        fits = _fitting(self.tail, bound)
        return bool(bound.rules) and self.end is not None and not (fits and fits.whole)

    def needs_tail(self, bound: BoundRules) -> bool:
        """Whether the next block, if it follows, is judged by what was before, whatever it holds."""
        assert self.end is not None
        stream_no, tick = self.end
        since = tick - round(EVIDENCE_AFTER_S * bound.schema.rate_hz)
        pending = (
            one.detected_tick is not None and one.stream_no == stream_no and one.detected_tick >= since
            for one in self.episodes.values()
        )
        return bound.window_ticks > 0 or any(pending)

    def without_tail(self) -> RuleState:
        return replace(self, tail=None)

    def with_tail(self, bound: BoundRules, runs: Iterable[Records]) -> RuleState:
        """The same with what it would have carried, had it never been written down. `runs`: of its stream, in order."""
        assert self.end is not None
        found = [run for run in concatenate(runs) if run.end_tick == self.end[1]]
        tail = Block(bound, self.end[0], found[-1], None, begins=True).tail() if found else None
        return replace(self, tail=tail)


def evaluate(
    bound: BoundRules,
    state: RuleState,
    stream_no: int,
    records: Records,
    exact: frozenset[str],
    screened: Screened | None = None,
) -> tuple[list[FaultSpan], RuleState]:
    """Advance the rules by one run of records. `screened`: these records, where somebody did that.

    `exact` are the codes of the rules that this block was encoded under (see `BoundRules.exact_under`). Returns the faults
    that this run opened, changed or closed, as they stand after it, and the new state.
    """
    if not len(records):
        return [], state
    end = (stream_no, records.end_tick)
    if not bound.rules:
        return [], RuleState(end, state.episodes, state.opened)
    continues = state.end == (stream_no, records.first_tick)
    tail = _fitting(state.tail, bound) if continues else None
    block = Block(bound, stream_no, records, tail, screened, begins=not continues)
    running = set() if screened and screened.quiet else block.candidates()
    if not running and not state.episodes:
        return [], RuleState(end, state.episodes, state.opened, block.tail())
    running.update(bound.numbers[code] for code in state.episodes if code in bound.numbers)
    episodes, opened = dict(state.episodes), dict(state.opened)
    spans: list[FaultSpan] = []
    for number in sorted(running):
        one = bound.rules[number]
        before = episodes.pop(one.rule.code, None)
        if before and before.detected_tick is None and not continues:
            before = None
        if before is None and not block.may_hold(one.rule.condition):
            continue
        run = _Run(one, block, opened, approximate=one.rule.code not in exact)
        changed, after = run.advance(before)
        spans += changed
        if after:
            episodes[one.rule.code] = after
    return spans, RuleState(end, episodes, opened, block.tail())


def _fitting(tail: Tail | None, bound: BoundRules) -> Tail | None:
    return tail if tail is not None and tail.columns == bound.columns_key else None


def evaluate_all(rules: Rules, schema: Schema, runs: Iterable[tuple[int, Records]]) -> list[FaultSpan]:
    """All faults of one outbox's records, given as (stream_no, run) in order, in the order in which they opened."""
    bound = bind(rules, schema)
    every = frozenset(one.rule.code for one in bound.rules)
    state = RuleState()
    faults: dict[tuple[str, int, int], FaultSpan] = {}
    for stream_no, records in runs:
        changed, state = evaluate(bound, state, stream_no, records, every)
        for span in changed:
            key = span.code, span.stream_no, span.first_tick
            faults[key] = span.after(faults.get(key))
    return list(faults.values())


def withdraw_changed(rules: Rules, state: RuleState) -> tuple[list[tuple[str, Episode]], RuleState]:
    """Episodes of rules that are gone or read differently now, and the state without them."""
    current = {rule.code: rule.hash for rule in rules.rules if rule.enabled}
    gone, kept = _parted(state, lambda code, episode: current.get(code) == episode.rule_hash)
    opened = state.opened
    if len(opened) > OPENED_MAX:
        opened = {code: count for code, count in opened.items() if code in current}
    return gone, replace(state, episodes=kept, opened=opened)


def taken_back(stream_no: int, tick: int, state: RuleState) -> tuple[list[tuple[str, Episode]], RuleState]:
    """Episodes that opened at or after a tick of the stream, and the state without them and what waits there: a block claimed
    these records and had not got them.
    """

    def stays(_: str, episode: Episode) -> bool:
        opened_before = episode.detected_tick is not None and episode.detected_tick < tick
        return episode.stream_no != stream_no or opened_before

    gone, kept = _parted(state, stays)
    return gone, replace(state, episodes=kept, tail=None)


def _parted(
    state: RuleState, stays: Callable[[str, Episode], bool]
) -> tuple[list[tuple[str, Episode]], dict[str, Episode]]:
    """Open faults that do not stay, and all episodes that do."""
    kept = {code: episode for code, episode in state.episodes.items() if stays(code, episode)}
    gone = [
        (code, episode)
        for code, episode in state.episodes.items()
        if code not in kept and episode.detected_tick is not None
    ]
    return gone, kept


class _Run:
    """One rule on its way through one block. `opened`: of each code so far, counted on."""

    def __init__(self, one: BoundRule, block: Block, opened: dict[str, int], *, approximate: bool) -> None:
        self._one = one
        self._block = block
        self._opened = opened
        self._approximate = approximate
        self._peaks: NDArray[np.float64] | None = None

    def advance(self, episode: Episode | None) -> tuple[list[FaultSpan], Episode | None]:
        """The spans that changed, and the episode that goes on."""
        one, block = self._one, self._block
        if episode is not None and episode.detected_tick is not None and self._stays():
            return self._gone_on(episode)
        holds, fails = block.truth(one.rule.condition)
        clears, stays = (fails, holds)
        if one.rule.clearance is not None:
            # `clear` ends a fault only where `when` does not hold, or a careless pair would open and close it at every tick
            cleared, not_cleared = block.truth(one.rule.clearance)
            clears, stays = cleared & fails, not_cleared | holds
        spans: list[FaultSpan] = []
        before = episode
        at = 0
        while at < block.count:
            if episode is None:
                at = _next(holds, at)
                if at == block.count:
                    break
                tick = block.first_tick + at
                episode = Episode(one.rule.hash, block.stream_no, tick, block.stream_no, tick)
            if episode.detected_tick is None:
                episode, at = self._wait(episode, holds, at)
                continue
            stop = _next(clears, at)
            episode = self._seen(episode, stays, at, stop)
            if stop < block.count:
                spans.append(self._span(episode, ended=stop))
                episode = None
            at = stop
        if episode is not None and episode.detected_tick is not None:
            spans += self._changed(before, episode)
        return spans, episode

    def _stays(self) -> bool:
        """Whether extremes tell already that an open fault goes on at every record, which is what most open faults do."""
        one, block = self._one, self._block
        if one.stays is None or one.rule.clearance is None or block.may_hold(one.rule.clearance):
            return False
        assert isinstance(one.peak, Value)
        # No peak is told of what is beyond all numbers.
        finite = math.isfinite(block.peak_of(one.peak.signal, one.peak_sign))
        return finite and block.all_available(one.stays)

    def _gone_on(self, episode: Episode) -> tuple[list[FaultSpan], Episode]:
        """What `advance` comes to where it stays."""
        block, sign = self._block, self._one.peak_sign
        assert isinstance(self._one.peak, Value)
        peak = block.peak_of(self._one.peak.signal, sign)
        if episode.peak is not None:
            peak = sign * max(sign * peak, sign * episode.peak)
        after = replace(
            episode,
            seen_stream_no=block.stream_no,
            seen_tick=block.end_tick - 1,
            peak=peak,
            approximate=self._approximate or episode.approximate,
        )
        return self._changed(episode, after), after

    def _changed(self, before: Episode | None, after: Episode) -> list[FaultSpan]:
        """An open fault at the end of the block, if readers see a difference."""
        span = self._span(after, ended=None)
        return [span] if span.evidence is not None or _differs(before, after) else []

    def _wait(self, episode: Episode, holds: NDArray[np.bool_], at: int) -> tuple[Episode | None, int]:
        """On from index `at` to where the fault opens, or where it no longer holds."""
        block = self._block
        stop = _next(~holds, at)
        due = max(at, episode.first_tick + self._one.wait_ticks - block.first_tick)
        end = min(stop, due + 1)
        episode = self._seen(episode, holds, at, end)
        if due < stop:
            code = self._one.rule.code
            self._opened[code] = self._opened.get(code, 0) + 1
            return replace(episode, detected_tick=block.first_tick + due, occurrence=self._opened[code]), end
        return (None if stop < block.count else episode), end

    def _seen(self, episode: Episode, holding: NDArray[np.bool_], start: int, stop: int) -> Episode:
        """The episode after start..stop, in which it went on; it was seen to hold where `holding`."""
        if stop <= start:
            return episode
        last = stop - 1 - int(np.argmax(holding[start:stop][::-1]))
        stream_no, tick = episode.seen_stream_no, episode.seen_tick
        if holding[last]:
            stream_no, tick = self._block.stream_no, self._block.first_tick + last
        return replace(
            episode,
            seen_stream_no=stream_no,
            seen_tick=tick,
            peak=self._peak(holding[start:stop], start, stop, episode.peak),
            approximate=self._approximate or episode.approximate,
        )

    def _peak(self, among: NDArray[np.bool_], start: int, stop: int, before: float | None) -> float | None:
        """The most extreme value of what the rule compares first, where `among` holds in start..stop, or before."""
        if self._one.peak is None:
            return before
        if self._peaks is None:
            self._peaks = self._block.term(self._one.peak) * self._one.peak_sign
        values = self._peaks[start:stop][among]
        values = values[~np.isnan(values)]
        if not len(values):
            return before
        best = float(values.max())
        return self._one.peak_sign * (best if before is None else max(best, self._one.peak_sign * before))

    def _span(self, episode: Episode, *, ended: int | None) -> FaultSpan:
        """`ended`: the index at which it cleared."""
        assert episode.detected_tick is not None
        closed = ended is not None
        return FaultSpan(
            code=self._one.rule.code,
            signal=self._one.rule.signals[0],
            severity=self._one.rule.severity,
            stream_no=episode.stream_no,
            first_tick=episode.first_tick,
            detected_tick=episode.detected_tick,
            last_stream_no=episode.seen_stream_no if closed else None,
            last_tick=episode.seen_tick if closed else None,
            peak=episode.peak,
            approximate=episode.approximate,
            occurrence=episode.occurrence,
            cleared_tick=None if ended is None else self._block.first_tick + ended,
            evidence=self._evidence(episode, ended),
        )

    def _evidence(self, episode: Episode, ended: int | None) -> Evidence | None:
        """What is known now; None where this block adds nothing to it."""
        block, detected = self._block, episode.detected_tick
        assert detected is not None
        rate_hz = block.bound.schema.rate_hz
        last = detected + round(EVIDENCE_AFTER_S * rate_hz)
        here = episode.stream_no == block.stream_no and (block.follows or detected >= block.first_tick)
        if not here or last < block.first_tick:
            return None
        counts, states = block.wide
        if detected < block.wide_first_tick:
            return None
        last = min(last, block.first_tick + (block.count - 1 if ended is None else ended))
        if last < detected:  # in what a block claimed, and had not
            return None
        first = max(block.wide_first_tick, detected - round(EVIDENCE_BEFORE_S * rate_hz))
        step = max(1, rate_hz // EVIDENCE_HZ)
        first = detected - (detected - first) // step * step
        rows = np.arange(first, last + 1, step) - block.wide_first_tick
        values: dict[str, tuple[float | None, ...]] = {}
        for name in self._one.evidence:
            place = block.bound.places[name]
            found = physical(block.bound.signal(name), counts[rows, place])
            known = (states[rows, place] == Availability.AVAILABLE) & np.isfinite(found)
            values[name] = tuple(
                float(f"{value:.{EVIDENCE_DIGITS}g}") if is_known else None
                for value, is_known in zip(found.tolist(), known.tolist(), strict=True)
            )
        at = (detected - first) // step
        return Evidence({name: column[at] for name, column in values.items()}, first, step, values)


def _next(where: NDArray[np.bool_], at: int) -> int:
    """First index from `at` on where it holds; the length if nowhere."""
    if at >= len(where):
        return len(where)
    step = int(np.argmax(where[at:]))
    return at + step if where[at + step] else len(where)


def _differs(before: Episode | None, after: Episode) -> bool:
    """Whether readers see a difference; where an open fault was last seen is of no interest to them."""
    if before is None or before.detected_tick is None or before.first_tick != after.first_tick:
        return True
    return (before.peak, before.approximate) != (after.peak, after.approximate)
