"""What a vehicle's agents told against what the store has. Pure, but for reading both.

Rules
- A tick names a record: time goes on from one start of the agent to the next, so no tick is sampled twice.
- What is stored was sampled, stands there once, and is within its threshold, to the availability.
- What was committed is stored, or lies in a gap. A gap of a known length counts no fewer records than were committed and
  are missing in it, and no more than were sampled; one with an open end covers what its outbox still held.
- What was acknowledged is stored. Only where the store itself lost it (it was damaged, and a backup restored) and the
  vehicle does not have it any more may it lie in a gap.
- What a cut write-ahead log took back counts as never committed: SQLite cannot tell it from a crash.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from codec.records import concatenate
from collector.store import StoreError, open_store
from demo.comparison import Comparison, compare

if TYPE_CHECKING:
    from pathlib import Path

    from codec.schema import Schema
    from tests.torture.tap import Told

_FAR = 1 << 62


@dataclass(frozen=True, slots=True)
class Gap:
    """Ticks from `first` on and before `end`; records is None where nobody knows."""

    first: int
    end: int
    records: int | None
    reason: str


@dataclass(slots=True)
class Account:
    """One vehicle's records, by tick: sorted int64 arrays without repetition."""

    sampled: np.ndarray
    committed: np.ndarray
    acked: np.ndarray
    uncertain: np.ndarray  # committed to an outbox whose write-ahead log was damaged
    stored: np.ndarray
    gaps: list[Gap]
    restored: bool  # the store was a backup at some time
    gapped: int = 0  # committed records that lie in gaps
    undone: int = 0  # that a damaged write-ahead log took back
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
        if lost.size:
            self.complaints.append(
                f"{lost.size:,} committed records are neither stored nor in a gap: {_runs(lost)}"
            )
        acked_lost = np.setdiff1d(self.acked, self.stored, assume_unique=True)
        if self.restored:
            acked_lost = np.setdiff1d(acked_lost, missing[covered], assume_unique=True)
        if acked_lost.size:
            self.complaints.append(
                f"{acked_lost.size:,} acknowledged records are not stored: {_runs(acked_lost)}"
            )
        return self.complaints


def _runs(ticks: np.ndarray) -> str:
    """Some ticks, as ranges."""
    breaks = np.flatnonzero(np.diff(ticks) != 1)
    firsts, lasts = ticks[np.r_[0, breaks + 1]], ticks[np.r_[breaks, len(ticks) - 1]]
    shown = ", ".join(f"{first}-{last}" for first, last in list(zip(firsts, lasts, strict=True))[:5])
    return shown + (" ..." if len(firsts) > 5 else "")


def ticks_of(ranges: list[tuple[int, int]]) -> np.ndarray:
    """Sorted, without repetition, of (first tick, count)."""
    parts = [np.arange(first, first + count, dtype=np.int64) for first, count in ranges]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Found:
    """The judgement of one vehicle."""

    comparison: Comparison
    account: Account
    complaints: list[str]
    wrong_values: int


def judge_vehicle(
    store: Path, vehicle: str, told: Told, schema: Schema, undone: list[tuple[bytes, int]], *, restored: bool
) -> Found:
    told.sampled, told.commits = [], []
    told.signal_count = len(schema.signals)
    told.read(records=True)
    reader = open_store(store)
    runs = list(reader.runs(vehicle))
    comparison = compare(schema, [(0, run) for run in told.sampled], [(0, run.records) for run in runs])
    stored = ticks_of([(run.records.first_tick, len(run.records)) for run in runs])
    batches = [
        (bytes.fromhex(told_["outbox"]), *batch) for told_ in told.commits for batch in told_["batches"]
    ]
    ranges = [(first, count) for _, _, first, count in batches]
    journals = [
        (bytes.fromhex(t["outbox"]), first, count) for t in told.commits for first, count in t["journal"]
    ]
    account = Account(
        sampled=ticks_of([(run.first_tick, len(run)) for run in concatenate(told.sampled)]),
        committed=ticks_of(ranges + [(first, count) for _, first, count in journals]),
        acked=ticks_of([(first, n) for box, at, first, n in batches if at < told.acked_max.get(box, 0)]),
        uncertain=ticks_of(
            [
                (first, n)
                for box, first, n in [(box, first, n) for box, _, first, n in batches] + journals
                if any(box == damaged and first < end for damaged, end in undone)
            ]
        ),
        stored=stored,
        gaps=stored_gaps(store, vehicle, _first_ticks(told)),
        restored=restored,
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


def read_damaged(store: Path, vehicle: str, told: Told, schema: Schema) -> list[str]:
    """What a reader was given of a damaged store and should not have been. That it refuses is as it should be."""
    told.sampled, told.commits, told.signal_count = [], [], len(schema.signals)
    told.read(records=True)
    try:
        runs = [(0, run.records) for run in open_store(store).runs(vehicle)]
    except StoreError:
        return []
    found = compare(schema, [(0, run) for run in told.sampled], runs)
    told.sampled, told.commits = [], []
    wrong = found.availability_differs or found.max_error_over_threshold > 1
    return [f"{found.invented:,} records were never sampled"] * bool(found.invented) + [
        "values are wrong"
    ] * bool(wrong)


def _first_ticks(told: Told) -> dict[bytes, int]:
    """Where each outbox begins."""
    first: dict[bytes, int] = {}
    for one in told.commits:
        outbox_id = bytes.fromhex(one["outbox"])
        ticks = [batch[1] for batch in one["batches"]] + [tick for tick, _ in one["journal"]]
        first[outbox_id] = min(first.get(outbox_id, _FAR), *ticks)
    return first


def stored_gaps(store: Path, vehicle: str, first_ticks: dict[bytes, int]) -> list[Gap]:
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
            # With an open end: up to where the outbox that took its place begins.
            later = [tick for tick in first_ticks.values() if tick > first_ticks.get(outbox_id, 0)]
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
