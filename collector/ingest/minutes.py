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

from codec.guards import COUNTS_HIGH, COUNTS_LOW
from codec.schema import physical
from collector.survey import survey_of
from collector.survey.survey import others

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codec.records import Records
    from codec.schema import Schema
    from collector.survey import Survey

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
        self.in_store = not from_start  # as far as it was some time ago
        self._others = others(schema)
        self._begin(None)

    def take(self, records: Records, survey: Survey | None = None) -> Iterator[list[Summary]]:
        """Each minute that has ended. `survey`: of the records, where there is one."""
        at, size = 0, MINUTE_S * self.schema.rate_hz
        while at < len(records):
            minute = minute_of(records.first_tick + at, self.schema)
            if minute != self.tick:
                if self.tick is not None:
                    yield self.so_far()
                    self.in_store = False
                self._begin(minute)
            stop = min(len(records), minute + size - records.first_tick)
            if survey is None or stop - at < len(records):
                survey = survey_of(self.schema, records.slice(at, stop))
            self._add(survey)
            at = stop

    def so_far(self) -> list[Summary]:
        """Of the minute being filled."""
        if self.tick is None:
            return []
        found = []
        for column in np.flatnonzero(self._count).tolist():
            signal, count = self.schema.signals[column], int(self._count[column])
            mean = float(self._sum[column]) / count
            if column in self._others:
                at = self._others.index(column)
                ends = [float(self._least[at]), float(self._most[at])]
            else:
                ends = physical(signal, np.array([self._low[column], self._high[column]])).tolist()
                mean = mean * signal.factor + signal.offset
            low, high = sorted(ends)
            if np.isfinite((low, high, mean)).all():
                found.append(Summary(self.tick, signal.name, low, high, mean, count))
        return found

    def _begin(self, minute: int | None) -> None:
        signals, others_ = len(self.schema.signals), len(self._others)
        self.tick = minute
        self._low, self._high = np.full(signals, COUNTS_HIGH), np.full(signals, COUNTS_LOW)
        self._least, self._most = np.full(others_, np.inf), np.full(others_, -np.inf)
        self._sum, self._count = np.zeros(signals), np.zeros(signals, np.int64)

    def _add(self, survey: Survey) -> None:
        np.minimum(self._low, survey.lows, out=self._low)
        np.maximum(self._high, survey.highs, out=self._high)
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum += survey.sums
        self._count += survey.numbers
        if self._others:
            np.minimum(self._least, survey.least, out=self._least)
            np.maximum(self._most, survey.most, out=self._most)
