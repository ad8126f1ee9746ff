"""What rules would have raised on stored records, beside what those in force then did. Pure.

Rules
- The code is that of the stream, over records that are stored; nothing is written. It begins WARM_UP_S_MAX before the
  range at most, so that waits and windows are as they would have been; what ended before the range is left out.
- A fault is approximate as it would have been: where a block was encoded without a guard of its rule.
- A fault pages, unless a backlog brought both its opening and its end: then it is in the digest. What heartbeats show provisionally is
  not in the records.
- Two faults of one code are the same occurrence if they were open at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.rules.bind import bind
from collector.rules.evaluate import RuleState, evaluate
from collector.rules.expression import longest_window_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from codec.guards import GuardSet
    from collector.rules.bind import BoundRules
    from collector.rules.evaluate import FaultSpan
    from collector.rules.rulefile import Rules
    from collector.store.stored import StoredRun

NS = 1_000_000_000
WARM_UP_S, WARM_UP_S_MAX = 60.0, 86400.0


@dataclass(frozen=True, slots=True)
class Raised:
    """One fault in wall time. `ended_ns` None: open at the end of the range."""

    code: str
    severity: str
    started_ns: int
    detected_ns: int
    ended_ns: int | None
    peak: float | None
    approximate: bool
    paged: bool

    def meets(self, other: Raised) -> bool:
        """Whether both are of one code and were open at the same time."""
        return self.code == other.code and all(
            one.ended_ns is None or one.ended_ns >= two.started_ns
            for one, two in ((self, other), (other, self))
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """One code over a range: what the rules would have raised, and what was raised."""

    code: str
    severity: str
    opens: int
    paged: int  # of these; the others are in digests
    approximate: int  # of these
    open_s: float
    longest_s: float
    opened_then: int  # by the rules in force
    both: int  # of `opens`, those that were raised then as well
    only_then: int  # of `opened_then`, those that would not have been


def warm_up_s(rules: Rules) -> float:
    """How long before a range to begin."""
    waits = [rule.for_s + max(longest_window_s(part) for part in rule.conditions) for rule in rules.rules]
    return min(WARM_UP_S + max(waits, default=0.0), WARM_UP_S_MAX)


@dataclass(slots=True)
class _Outbox:
    state: RuleState = field(default_factory=RuleState)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # by stream_no: period and offset
    spans: dict[tuple[str, int, int], FaultSpan] = field(default_factory=dict)
    backlog: set[tuple[str, int, int]] = field(
        default_factory=set
    )  # open, and brought by the one that drains
    paged: set[tuple[str, int, int]] = field(default_factory=set)

    def note(self, changed: Sequence[FaultSpan], *, late: bool) -> None:
        for one in changed:
            key = (one.code, one.stream_no, one.first_tick)
            if key not in self.spans:
                (self.backlog if late else self.paged).add(key)
            if one.last_tick is not None:
                self.backlog.discard(key)
            self.spans[key] = one
        if not late:
            self.paged |= self.backlog
            self.backlog.clear()

    def wall_ns(self, stream_no: int, tick: int) -> int:
        period_ns, offset_ns = self.places[stream_no]
        return tick * period_ns + offset_ns


def backtest(
    rules: Rules,
    runs: Iterable[StoredRun],
    guards: Callable[[bytes], GuardSet | None],
    start_ns: int | None = None,
) -> list[Raised]:
    """Faults of one vehicle that were not over at `start_ns`, as they were detected. `guards`: a set by its hash.

    `rules` are as they read for the vehicle, `runs` by outbox, stream and seq, from before the range on.
    """
    outboxes: dict[bytes, _Outbox] = {}
    bound: dict[bytes, BoundRules] = {}
    exact: dict[tuple[bytes, bytes], frozenset[str]] = {}
    for run in runs:
        schema, outbox = run.schema, outboxes.setdefault(run.outbox_id, _Outbox())
        if schema.hash not in bound:
            bound[schema.hash] = bind(rules, schema)
        ready, under = bound[schema.hash], (schema.hash, run.guards_hash)
        if under not in exact:
            exact[under] = ready.exact_under(guards(run.guards_hash))
        stream_no = run.facts.stream_no
        outbox.places[stream_no] = schema.period_ns, run.offset_ns
        changed, outbox.state = evaluate(ready, outbox.state, stream_no, run.records, exact[under])
        outbox.note(changed, late=run.late)
    found = [
        _raised(one, outbox, paged=key in outbox.paged)
        for outbox in outboxes.values()
        for key, one in outbox.spans.items()
    ]
    within = [one for one in found if start_ns is None or one.ended_ns is None or one.ended_ns >= start_ns]
    return sorted(within, key=lambda one: (one.detected_ns, one.code))


def _raised(span: FaultSpan, outbox: _Outbox, *, paged: bool) -> Raised:
    ended = span.last_stream_no is not None and span.last_tick is not None
    return Raised(
        span.code,
        span.severity,
        outbox.wall_ns(span.stream_no, span.first_tick),
        outbox.wall_ns(span.stream_no, span.detected_tick),
        outbox.wall_ns(span.last_stream_no or 0, span.last_tick or 0) if ended else None,
        span.peak,
        span.approximate,
        paged,
    )


def compare(raised: Sequence[Raised], then: Sequence[Raised], end_ns: int) -> list[Compared]:
    """By code, those that would have been raised first. What is still open is counted up to `end_ns`."""
    codes = dict.fromkeys([one.code for one in raised] + [one.code for one in then])
    return [_compared(code, raised, then, end_ns) for code in codes]


def _compared(code: str, raised: Sequence[Raised], then: Sequence[Raised], end_ns: int) -> Compared:
    mine, theirs = ([one for one in all_of if one.code == code] for all_of in (raised, then))
    lengths = [((end_ns if one.ended_ns is None else one.ended_ns) - one.started_ns) / NS for one in mine]
    return Compared(
        code,
        (mine or theirs)[0].severity,
        len(mine),
        sum(one.paged for one in mine),
        sum(one.approximate for one in mine),
        sum(lengths),
        max(lengths, default=0.0),
        len(theirs),
        sum(any(one.meets(other) for other in theirs) for one in mine),
        sum(not any(one.meets(other) for other in mine) for one in theirs),
    )
