"""What a vehicle's agents told against what the store has. Pure, but for reading both.

Rules
- A tick names a record: time goes on from one start of the agent to the next, so no tick is sampled twice.
- What is stored was sampled, stands there once, and is within its threshold, to the availability.
- What was committed is stored, or lies in a gap. A gap of a known length counts no fewer records than were committed and
  are missing in it, and no more than were sampled; one with an open end covers what its outbox still held:
  of a fork, what it took along, too.
- What was acknowledged is stored. Only where the store itself lost it (it was damaged, and a backup restored after the
  ack) and the vehicle does not have it any more may it lie in a gap.
- Acknowledged is what the vehicle was told so of while it had it. What a cut write-ahead log took back before that was
  not: its outbox goes on in the same places, with other records, and what is acknowledged there later is those. Nor was
  what it had dropped for a gap by then.
- What a cut write-ahead log took back counts as never committed: SQLite goes back to a commit, and cannot tell it from a
  crash. That is what was committed after all that the outbox holds then, and nothing where SQLite finds damage. What was
  acknowledged before is no less stored for it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.records import concatenate
from collector.store import StoreError, open_store
from demo.comparison import Comparison, compare
from tests.torture.history import Batch, Undone, batches_of, runs_of, ticks_of, traced
from tests.torture.tap import sampled_by

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from codec.schema import Schema
    from tests.torture.tap import Told

STARTS_READ = 8  # of an agent, and what it sampled, where a damaged store is read
_FAR = 1 << 62


@dataclass(frozen=True, slots=True)
class Gap:
    """Ticks from `first` on and before `end`; records is None where nobody knows."""

    first: int
    end: int
    records: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Endured:
    """By one vehicle and the store."""

    undone: list[Undone]
    waiting: np.ndarray  # ticks that its outbox holds, where it was not drained: a complaint of its own
    restored_at: (
        float | None
    )  # when the store was last made a backup, and no ack of the one before was on its way
    begun: float


@dataclass(slots=True)
class Account:
    """One vehicle's records, by tick: sorted int64 arrays without repetition."""

    sampled: np.ndarray
    committed: np.ndarray
    acked: np.ndarray
    uncertain: np.ndarray  # committed, and taken back by a damaged write-ahead log
    stored: np.ndarray
    gaps: list[Gap]
    endured: Endured
    gapped: int = 0  # committed records that lie in gaps
    undone: int = 0  # that a damaged write-ahead log took back
    batches: list[Batch] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def judge(self) -> list[str]:
        """What is wrong, in words."""
        missing = np.setdiff1d(self.committed, self.stored, assume_unique=True)
        covered = np.zeros(len(missing), bool)
        unstored = np.setdiff1d(self.sampled, self.stored, assume_unique=True)
        for gap in self.gaps:
            inside = (missing >= gap.first) & (missing < gap.end)
            covered |= inside
            if gap.records is None:
                continue
            least = np.setdiff1d(missing[inside], self.uncertain, assume_unique=True).size
            most = int(np.count_nonzero((unstored >= gap.first) & (unstored < gap.end)))
            if not least <= gap.records <= most:
                self.complaints.append(
                    f"a gap ({gap.reason}) from tick {gap.first} to {gap.end} counts {gap.records:,} records; "
                    f"{least:,} that were committed are missing in it, {most:,} that were sampled"
                )
        self.gapped = int(covered.sum())
        bare = missing[~covered]
        lost = np.setdiff1d(bare, self.uncertain, assume_unique=True)
        self.undone = len(bare) - len(lost)
        lost = np.setdiff1d(lost, self.endured.waiting, assume_unique=True)
        if lost.size:
            self.complaints.append(
                f"{lost.size:,} committed records are neither stored nor in a gap: {runs_of(lost)}"
                + traced(lost, self.batches, self.endured.begun)
            )
        acked_lost = np.setdiff1d(self.acked, self.stored, assume_unique=True)
        if (until := self.endured.restored_at) is not None:
            before = [
                (one.first, one.count)
                for one in self.batches
                if one.acked_at is not None and one.acked_at < until
            ]
            excused = np.intersect1d(missing[covered], ticks_of(before), assume_unique=True)
            acked_lost = np.setdiff1d(acked_lost, excused, assume_unique=True)
        if acked_lost.size:
            self.complaints.append(
                f"{acked_lost.size:,} acknowledged records are not stored: {runs_of(acked_lost)}"
                + traced(acked_lost, self.batches, self.endured.begun)
            )
        return self.complaints


@dataclass(frozen=True, slots=True)
class Found:
    """The judgement of one vehicle."""

    comparison: Comparison
    account: Account
    complaints: list[str]
    wrong_values: int


def judge_vehicle(store: Path, vehicle: str, told: Told, schema: Schema, endured: Endured) -> Found:
    told.signal_count = len(schema.signals)
    told.read(records=True)
    reader = open_store(store)
    runs = list(reader.runs(vehicle))
    comparison = compare(schema, [(0, run) for run in told.sampled], [(0, run.records) for run in runs])
    stored = ticks_of([(run.records.first_tick, len(run.records)) for run in runs])
    batches = batches_of(told.commits, told.acks, endured.undone, told.drops)
    committed = ticks_of([piece for commit in told.commits for piece in _pieces(commit)])
    account = Account(
        sampled=ticks_of([(run.first_tick, len(run)) for run in concatenate(told.sampled)]),
        committed=committed,
        acked=ticks_of((one.first, one.count) for one in batches if one.acked_at is not None),
        uncertain=committed[_inside(committed, endured.undone)],
        stored=stored,
        gaps=stored_gaps(store, vehicle, first_ticks_of(told), set(told.forks)),
        endured=endured,
        batches=batches,
    )
    complaints = account.judge()
    if comparison.duplicated:
        complaints.append(f"{comparison.duplicated:,} records are stored again")
    if comparison.invented:
        complaints.append(f"{comparison.invented:,} records are stored that were never sampled")
    if comparison.availability_differs:
        complaints.append(f"{comparison.availability_differs:,} values are available on one side only")
    if comparison.max_error_over_threshold > 1:
        complaints.append(
            f"{comparison.worst_signal} is {comparison.max_error_over_threshold:.3g} thresholds off"
        )
    if reader.unreadable:
        complaints.append(f"{reader.unreadable} stored blocks cannot be read")
    wrong = comparison.availability_differs + (comparison.max_error_over_threshold > 1)
    return Found(comparison, account, [f"{vehicle}: {one}" for one in complaints], wrong)


def read_damaged(store: Path, vehicle: str, told: Told, schema: Schema, rng: random.Random) -> list[str]:
    """What a reader was given of a damaged store and should not have been. That it refuses is as it should be.

    Of a stretch of time, so that it takes no longer when the store is large.
    """
    taps = sorted(told.folder.glob("tap.*"))
    first = rng.randrange(max(1, len(taps) - STARTS_READ + 1))
    sampled = [
        run for tap in taps[first : first + STARTS_READ] for run in sampled_by(tap, len(schema.signals))
    ]
    if not sampled:
        return []
    low, high = sampled[0].first_tick, sampled[-1].end_tick
    try:
        reader = open_store(store)
        runs = [
            (0, run.records)
            for span in reader.spans(vehicle)
            for run in reader.runs_of(span, span.wall_ns(low), span.wall_ns(high))
        ]
    except StoreError:
        return []
    found = compare(schema, [(0, run) for run in sampled], runs)
    wrong = found.availability_differs or found.max_error_over_threshold > 1
    return [f"{found.invented:,} records were never sampled"] * bool(found.invented) + [
        "values are wrong"
    ] * bool(wrong)


def _pieces(commit: dict[str, Any]) -> list[tuple[int, int]]:
    """(first tick, count) of all that it holds."""
    return [(first, count) for _, first, count in commit["batches"]] + [
        tuple(row) for row in commit["journal"]
    ]


def _inside(ticks: np.ndarray, undone: list[Undone]) -> np.ndarray:
    inside = np.zeros(len(ticks), bool)
    for cut in undone:
        inside |= (ticks >= cut.first) & (ticks < cut.end)
    return inside


def first_ticks_of(told: Told) -> dict[bytes, int]:
    """Where each outbox begins: a fork with what it took along."""
    first = dict(told.forks)
    for one in told.commits:
        outbox_id = bytes.fromhex(one["outbox"])
        ticks = [batch[1] for batch in one["batches"]] + [tick for tick, _ in one["journal"]]
        first[outbox_id] = min(first.get(outbox_id, _FAR), *ticks)
    return first


def stored_gaps(store: Path, vehicle: str, first_ticks: dict[bytes, int], forks: set[bytes]) -> list[Gap]:
    """As tick ranges: from the end of what is stored, or noted, before it in its outbox."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        items = db.execute(
            """SELECT o.outbox_id, b.stream_no, b.seq, b.first_tick + b.record_count, NULL, NULL
               FROM batches b JOIN outboxes o ON o.id = b.outbox WHERE o.vin = ?1
               UNION ALL
               SELECT o.outbox_id, g.stream_no, g.first_seq, g.end_tick, g.records, g.reason
               FROM gaps g JOIN outboxes o ON o.id = g.outbox WHERE o.vin = ?1 ORDER BY 1, 2, 3""",
            (vehicle,),
        ).fetchall()
        origins = {
            (outbox_id, stream_no): tick
            for outbox_id, stream_no, tick in db.execute(
                """SELECT o.outbox_id, s.stream_no, s.origin_tick FROM streams s JOIN outboxes o ON o.id = s.outbox
                   WHERE o.vin = ?""",
                (vehicle,),
            )
        }
    gaps: list[Gap] = []
    place: tuple[bytes, int] | None = None
    end = 0
    for outbox_id, stream_no, _, end_tick, records, reason in items:
        if place is None or place[0] != outbox_id:
            end = first_ticks.get(outbox_id, 0)
        if place != (outbox_id, stream_no):
            place = (outbox_id, stream_no)
            end = max(end, origins.get(place, 0)) if records is not None or reason is None else end
        if reason is not None:
            # With an open end: up to where the outbox begins that took its place. A fork did not, and where a cut
            # write-ahead log took it back, its former self went on.
            begun = first_ticks.get(outbox_id, 0)
            later = [tick for other, tick in first_ticks.items() if other not in forks and tick > begun]
            gaps.append(Gap(end, end_tick or min(later, default=_FAR), records, reason))
        end = max(end, end_tick or 0)
    return gaps


def positions(store: Path, vehicle: str) -> dict[bytes, int]:
    """outbox_id -> what the store wants next, as a position."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT outbox_id, stream_no, next_seq FROM outboxes WHERE vin = ?", (vehicle,)
        ).fetchall()
    return {outbox_id: stream_no << 32 | seq for outbox_id, stream_no, seq in rows}
