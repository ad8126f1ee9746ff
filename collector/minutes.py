"""Minutes of a stream: least, greatest, mean and number of each signal's values. Pure.

Rules
- A minute is sixty seconds of the stream's own ticks, beginning at a multiple of them. It depends on ticks alone: not on how blocks
  are cut, when they come, or what time it was; so it can be made again of the stored blocks, and comes out the same.
- Only available numbers count. A signal that had none has no row. Nothing is interpolated.
- The minute being filled is in memory. It is written when it ends, and as far as it is when its stream does, or the vehicle leaves.
  If it goes on nevertheless, its rows go: what is in the store is what all stored records of the minute come to, always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability
from codec.schema import Kind, physical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from codec.records import Records
    from codec.schema import Schema

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Summary:
    """One signal over one minute. Values are physical."""

    tick: int  # where the minute begins
    signal: str
    low: float
    high: float
    mean: float
    count: int


def minute_of(tick: int, schema: Schema) -> int:
    """Where the minute begins that has this tick."""
    size = MINUTE_S * schema.rate_hz
    return tick // size * size


class Minutes:
    """Of one stream, in the order of its records."""

    def __init__(self, schema: Schema, stream_no: int, *, from_start: bool = True) -> None:
        """`from_start`: no part of the first minute was taken before, so nothing of it is in the store."""
        self.schema = schema
        self.stream_no = stream_no
        self.tick: int | None = None  # of the minute being filled
        self.is_new = from_start  # nothing of it was written
        self._scaled = np.array([signal.kind is Kind.SCALED for signal in schema.signals], np.bool_)
        self._others = np.flatnonzero(~self._scaled).tolist()
        self._low = self._high = self._sum = np.empty(0)
        self._count = np.empty(0, np.int64)

    def take(self, records: Records) -> Iterator[tuple[list[Summary], bool]]:
        """(summaries, is_new) of each minute that has ended."""
        at, size = 0, MINUTE_S * self.schema.rate_hz
        while at < len(records):
            minute = minute_of(records.first_tick + at, self.schema)
            if minute != self.tick:
                if self.tick is not None:
                    yield self.so_far(), self.is_new
                    self.is_new = True
                self._begin(minute)
            stop = min(len(records), minute + size - records.first_tick)
            self._add(records.counts[at:stop], records.states[at:stop])
            at = stop

    def so_far(self) -> list[Summary]:
        """Of the minute being filled."""
        if self.tick is None:
            return []
        found = []
        for column in np.flatnonzero(self._count).tolist():
            signal, count = self.schema.signals[column], int(self._count[column])
            ends = self._low[column], self._high[column]
            mean = float(self._sum[column]) / count
            if self._scaled[column]:
                ends = physical(signal, np.array(ends).astype(np.int64)).tolist()
                mean = mean * signal.factor + signal.offset
            low, high = sorted(map(float, ends))
            if np.isfinite((low, high, mean)).all():
                found.append(Summary(self.tick, signal.name, low, high, mean, count))
        return found

    def _begin(self, minute: int) -> None:
        signals = len(self.schema.signals)
        self.tick = minute
        self._low, self._high = np.full(signals, np.inf), np.full(signals, -np.inf)
        self._sum, self._count = np.zeros(signals), np.zeros(signals, np.int64)

    def _add(self, counts: NDArray[np.int64], states: NDArray[np.uint8]) -> None:
        if not states.any():  # Availability.AVAILABLE is 0
            low, high = counts.min(axis=0), counts.max(axis=0)
            number = np.full(counts.shape[1], len(counts), np.int64)
        else:
            known = states == Availability.AVAILABLE
            ends = np.iinfo(np.int64)
            low = np.where(known, counts, ends.max).min(axis=0)
            high = np.where(known, counts, ends.min).max(axis=0)
            number = known.sum(axis=0)
        some = self._scaled & (number > 0)
        np.minimum(self._low, low, out=self._low, where=some)
        np.maximum(self._high, high, out=self._high, where=some)
        # What is not available has counts of 0.
        np.add(self._sum, counts.sum(axis=0, dtype=np.float64), out=self._sum, where=some)
        np.add(self._count, number, out=self._count, where=some)
        for column in self._others:
            values = physical(
                self.schema.signals[column], counts[states[:, column] == Availability.AVAILABLE, column]
            )
            values = values[np.isfinite(values)]
            if len(values):
                self._low[column] = min(self._low[column], values.min())
                self._high[column] = max(self._high[column], values.max())
                self._sum[column] += values.sum()
                self._count[column] += len(values)
