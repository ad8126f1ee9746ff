"""What was done to whom, and when; what a damaged write-ahead log took back; and what an operator asks of what is missing."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHOWN = 5  # runs of ticks
LINES_MAX = 20


@dataclass(frozen=True, slots=True)
class Batch:
    """One that was committed. Times are `time.monotonic`'s."""

    outbox_id: bytes
    position: int
    first: int
    count: int
    at: float
    acked_at: float | None  # told to the agent while it had it


@dataclass(frozen=True, slots=True)
class Undone:
    """A write-ahead log was cut at `at`: what was committed before, from tick `first` on, its outbox has no more."""

    at: float
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Held:
    """Ticks that an outbox has as records, sorted; and the tick after all that it knows of, gaps too."""

    ticks: np.ndarray
    end: int


@dataclass(slots=True)
class History:
    """`note(...)` what happened, to whom; `lines(...)` in the end."""

    begun: float = field(default_factory=time.monotonic)
    _events: list[tuple[float, str, str]] = field(default_factory=list)

    def note(self, target: str, words: str) -> None:
        self._events.append((time.monotonic(), target, words))

    def lines(self) -> list[str]:
        return [f"{at - self.begun:7.2f} s  {to}: {words}" for at, to, words in self._events]


def held(outbox: Path, suffixes: Iterable[str]) -> Held | None:
    """As the next start will find it. None: SQLite finds damage. A copy is read, since reading brings the log in."""
    with tempfile.TemporaryDirectory(dir=outbox.parent.parent) as folder:
        copy = Path(folder) / outbox.name
        for suffix in suffixes:
            file = outbox.with_name(outbox.name + suffix)
            if file.exists():
                shutil.copy(file, copy.with_name(copy.name + suffix))
        try:
            with closing(sqlite3.connect(copy)) as db:
                if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                    return None
                ranges = db.execute(
                    "SELECT first_tick, record_count FROM batches UNION SELECT first_tick, record_count FROM journal"
                ).fetchall()
                (end,) = db.execute("SELECT coalesce(max(end_tick), 0) FROM gaps").fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # SQLite's words may quote what is damaged
            return None
    ticks = ticks_of(ranges)
    return Held(ticks, max(end, int(ticks[-1]) + 1 if ticks.size else 0))


def undone_from(before: Held | None, after: Held | None) -> int | None:
    """The first tick that is gone: SQLite goes back to a commit, and what came later never was. None: it finds damage,
    so the file will be set aside, and a gap has to say so.
    """
    if after is None:
        return None
    gone = np.empty(0) if before is None else np.setdiff1d(before.ticks, after.ticks, assume_unique=True)
    return min(after.end, int(gone[0])) if gone.size else after.end


def batches_of(
    commits: list[dict[str, Any]],
    acks: dict[bytes, list[tuple[float, int]]],
    undone: Iterable[Undone],
    drops: Mapping[bytes, list[tuple[float, int, int]]],
) -> list[Batch]:
    """Acknowledged is what was told so after it was committed and before it was undone, or dropped for a gap: a stream goes
    on in the same places after that, with other records, and of a gap it is the gap that is acknowledged.
    """
    cuts = sorted(undone, key=lambda cut: cut.at)
    dropped: dict[tuple[bytes, int], list[float]] = {}
    for outbox_id, told_drops in drops.items():
        for at, first, end in told_drops:
            for position in range(first, end):
                dropped.setdefault((outbox_id, position), []).append(at)
    batches = []
    for told in commits:
        outbox_id, at = bytes.fromhex(told["outbox"]), told["at"]
        for position, first, count in told["batches"]:
            until = min(
                next((cut.at for cut in cuts if cut.at > at and first + count > cut.first), float("inf")),
                next((when for when in dropped.get((outbox_id, position), ()) if when > at), float("inf")),
            )
            acked_at = (
                when for when, wanted in acks.get(outbox_id, ()) if at <= when < until and wanted > position
            )
            batches.append(Batch(outbox_id, position, first, count, at, next(acked_at, None)))
    return batches


def traced(ticks: np.ndarray, batches: list[Batch], begun: float) -> str:
    """Which batches they were of, a line each."""
    hit = [
        (batch, inside)
        for batch in batches
        if (inside := int(np.count_nonzero((ticks >= batch.first) & (ticks < batch.first + batch.count))))
    ]
    lines = [
        f"    {inside:,} of batch {shown(one.position)} of outbox {one.outbox_id.hex()[:8]}, ticks {one.first}-"
        f"{one.first + one.count - 1}, committed at {one.at - begun:.2f} s, "
        + ("not acknowledged" if one.acked_at is None else f"acknowledged at {one.acked_at - begun:.2f} s")
        for one, inside in hit
    ]
    return "".join(f"\n{line}" for line in lines[:LINES_MAX] + ["    ..."] * (len(lines) > LINES_MAX))


def shown(position: int) -> str:
    return f"{position >> 32}/{position & 0xFFFFFFFF}"


def runs_of(ticks: np.ndarray) -> str:
    """Some ticks, as ranges."""
    breaks = np.flatnonzero(np.diff(ticks) != 1)
    firsts, lasts = ticks[np.r_[0, breaks + 1]], ticks[np.r_[breaks, len(ticks) - 1]]
    words = ", ".join(f"{first}-{last}" for first, last in list(zip(firsts, lasts, strict=True))[:SHOWN])
    return words + (" ..." if len(firsts) > SHOWN else "")


def ticks_of(ranges: Iterable[tuple[int, int]]) -> np.ndarray:
    """Sorted, without repetition, of (first tick, count)."""
    parts = [np.arange(first, first + count, dtype=np.int64) for first, count in ranges]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)
