"""A signal over a long range in a few points that keep its peaks. Pure.

What is promised
- The range is cut into buckets of one length, at most points / 2 of them: each gives two points, its least and its greatest value. A
  bucket's `low`, `high`, `mean` and `count` are of exactly the available values that belong to it, and every available value of the
  range belongs to one bucket. So no peak is lost, and none is invented.
- Buckets shorter than a quarter of a minute are cut by the clock: a record belongs to the bucket in which it stands.
- All others are whole minutes long (so there may be fewer than asked for, at least a quarter of that), and what belongs to them are whole minutes of a stream (what the store keeps a
  rollup of): a minute belongs to the bucket in which it begins. Where the range cuts a minute, its records count one by one. The
  buckets begin where the minutes of the longest stream do, so for that stream they are cut by the clock, too.
- A bucket without any available value has NaN and count 0: there the line breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collector.reading.pieces import Piece
    from collector.reading.signals import SignalInfo
    from collector.store.stored import StoredMinutes, StreamSpan

MINUTE_NS = 60_000_000_000
COARSER_MAX = (
    4  # so many times longer than asked a bucket may be where minutes save decoding hours of records
)
POINTS_MAX = 1_000_000  # more is an export


@dataclass(frozen=True, slots=True)
class Reduced:
    """Buckets [start_ns + k step_ns, start_ns + (k + 1) step_ns): arrays [k], float64, `count` int64."""

    signal: SignalInfo
    start_ns: int
    step_ns: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.count)

    @property
    def times_ns(self) -> NDArray[np.int64]:
        """Where the buckets begin."""
        return self.start_ns + np.arange(len(self), dtype=np.int64) * self.step_ns

    def line(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(times_ns int64[2 k], values float64[2 k]) to draw: each bucket's low, then its high half a bucket later."""
        times = np.stack([self.times_ns, self.times_ns + self.step_ns // 2], axis=1).ravel()
        return times, np.stack([self.low, self.high], axis=1).ravel()


@dataclass(frozen=True, slots=True)
class Grid:
    """Where buckets lie. `minutes`: whole minutes belong to them, not records."""

    start_ns: int
    step_ns: int
    buckets: int
    minutes: bool


def grid_of(start_ns: int, end_ns: int, points: int, spans: Sequence[StreamSpan]) -> Grid:
    """Of start_ns <= time < end_ns, for records of these streams."""
    wanted = max(1, points // 2)
    coarsest_ns = max((span.schema.period_ns for span in spans), default=1)
    step_ns = max(
        -(-(end_ns - start_ns) // wanted), coarsest_ns
    )  # finer than the records, most would be empty
    if step_ns * COARSER_MAX < MINUTE_NS:
        return Grid(start_ns, step_ns, -(-(end_ns - start_ns) // step_ns), minutes=False)
    longest = max(
        spans, key=lambda span: min(span.end_ns, end_ns) - max(span.start_ns, start_ns), default=None
    )
    phase_ns = longest.offset_ns % MINUTE_NS if longest is not None else 0
    first_ns = start_ns - (start_ns - phase_ns) % MINUTE_NS
    step_ns = -(-(end_ns - first_ns) // (wanted * MINUTE_NS)) * MINUTE_NS
    return Grid(first_ns, step_ns, -(-(end_ns - first_ns) // step_ns), minutes=True)


class Buckets:
    """Fills up a grid, in any order."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._low = np.full(grid.buckets, np.inf)
        self._high = np.full(grid.buckets, -np.inf)
        self._total = np.zeros(grid.buckets)
        self._count = np.zeros(grid.buckets, np.int64)

    def add_records(self, span: StreamSpan, within: range, piece: Piece) -> None:
        """The first signal of records of a stream. `within`: the ticks of the range that is asked for."""
        times_ns, values = piece.times_ns, piece.column(0)
        if self.grid.minutes:
            minute = 60 * span.schema.rate_hz
            ticks = (times_ns - span.offset_ns) // span.schema.period_ns // minute * minute
            whole = (ticks >= within.start) & (ticks + minute <= within.stop)
            times_ns = np.where(whole, ticks * span.schema.period_ns + span.offset_ns, times_ns)
        self.add(times_ns, values)

    def add(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Values at rising times; NaN is none."""
        known = ~np.isnan(values)
        if not known.all():
            times_ns, values = times_ns[known], values[known]
        if not len(values):
            return
        places = (times_ns - self.grid.start_ns) // self.grid.step_ns
        starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
        at = places[starts]
        self._low[at] = np.minimum(self._low[at], np.minimum.reduceat(values, starts))
        self._high[at] = np.maximum(self._high[at], np.maximum.reduceat(values, starts))
        self._total[at] += np.add.reduceat(values, starts)
        self._count[at] += np.diff(starts, append=len(values))

    def add_minutes(self, span: StreamSpan, minutes: StoredMinutes) -> None:
        """Whole minutes of a stream, by where they begin."""
        times_ns = minutes.ticks * span.schema.period_ns + span.offset_ns
        places = (times_ns - self.grid.start_ns) // self.grid.step_ns
        np.minimum.at(self._low, places, minutes.low)
        np.maximum.at(self._high, places, minutes.high)
        np.add.at(self._total, places, minutes.mean * minutes.count)
        np.add.at(self._count, places, minutes.count)

    def reduced(self, signal: SignalInfo) -> Reduced:
        empty = self._count == 0
        low, high = np.where(empty, np.nan, self._low), np.where(empty, np.nan, self._high)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(empty, np.nan, self._total / self._count)
        return Reduced(signal, self.grid.start_ns, self.grid.step_ns, low, high, mean, self._count)


def missing_stretches(first: int, end: int, step: int, present: NDArray[np.int64]) -> list[tuple[int, int]]:
    """[start, stop) of the multiples of `step` in first..end, both multiples, that are not `present`; neighbours as one."""
    wanted = np.arange(first, end, step, dtype=np.int64)
    absent = wanted[~np.isin(wanted, present)]
    if not len(absent):
        return []
    breaks = np.flatnonzero(np.diff(absent) > step) + 1
    return [(int(part[0]), int(part[-1]) + step) for part in np.split(absent, breaks)]
