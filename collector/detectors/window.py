"""The last seconds of a stream's measurements, and how unusual the next one is beside them.

Rules
- Scored is the first record of each second of the stream's own ticks. So it makes no difference how records are cut into
  blocks, nor when the wall clock was set.
- A window is the `window_s` seconds before the one that is scored, as far as they have values. It is a function of them
  alone: made again of the stored records of these seconds, it is the same to the bit. A new stream starts with none.
- Measurements are scored: signals with a threshold, floats, and numbers with a unit or a factor. States, counters and
  identifiers are not, nor is what is not available.
- Everything is in counts, which have the same scores as physical values; floats are physical.
- A deviation within the signal's threshold (one count where there is none) scores 0: compression may have added it.
- z is the deviation from the window's mean over its standard deviation; the robust score is the deviation from its median
  over 1.4826 times the median absolute deviation. Neither divides by less than threshold / sqrt(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec.records import Availability
from codec.schema import Kind, Signal, physical
from collector.detectors import kernels
from collector.detectors.kernels import Held, Measures, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from codec.records import Records
    from codec.schema import Schema

NEVER = -(1 << 62)  # the newest second of a window that has none
FLOATS = (Kind.FLOAT32, Kind.FLOAT64)


class Seconds(NamedTuple):
    """The first records of k seconds: which seconds, their ticks, and the values of m measurements."""

    seconds: NDArray[np.int64]  # [k]
    ticks: list[int]
    values: NDArray[np.float64]  # [k, m], counts or physical; NaN where there is none


class Firsts(NamedTuple):
    """What may be scored of some records: the first one, and the first of each second that begins after it."""

    second: int  # of the first record
    tick: int
    ticks: list[int]  # of the others
    values: NDArray[np.float64]  # [1 + k, m]; what is beyond the ticks means nothing

    def after(self, last_second: int) -> Seconds:
        """The first records of seconds after this one."""
        skip = 0 if self.second > last_second else 1
        ticks = self.ticks if skip else [self.tick, *self.ticks]
        seconds = np.arange(self.second + skip, self.second + 1 + len(self.ticks))
        return Seconds(seconds, ticks, self.values[skip : skip + len(ticks)])


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of a schema: m of its columns."""

    schema: Schema
    columns: NDArray[np.int64]
    names: tuple[str, ...]
    measures: Measures
    factors: NDArray[np.float64]  # physical = value * factor + offset
    offsets: NDArray[np.float64]
    floats: tuple[int, ...]  # of these columns, those that hold floats
    circles: tuple[tuple[int, float], ...]  # those on a circle, and its length

    def firsts(
        self, first_ticks: Sequence[int], counts: NDArray[np.int64], states: NDArray[np.uint8]
    ) -> list[Firsts]:
        """Of b blocks of n records, n > 0: counts int64[b, m, n], states uint8[b, m, n]."""
        blocks, _, records = counts.shape
        rate = self.schema.rate_hz
        seconds = [first_tick // rate for first_tick in first_ticks]
        begins = [(second + 1) * rate - tick for second, tick in zip(seconds, first_ticks, strict=True)]
        at = np.zeros((blocks, 1 + -(-records // rate)), np.int64)
        at[:, 1:] = np.array(begins)[:, np.newaxis] + np.arange(0, records, rate)
        inside = (
            np.arange(blocks)[:, np.newaxis, np.newaxis],
            self.columns,
            np.minimum(at, records - 1)[..., np.newaxis],
        )
        raw = counts[inside]
        values = raw.astype(np.float64)
        for column in self.floats:
            signal = self.schema.signals[self.columns[column]]
            values[..., column] = physical(signal, raw[..., column])
        values[states[inside] != Availability.AVAILABLE] = np.nan
        for column, turn in self.circles:
            values[..., column] %= turn
        if self.floats:
            values[~np.isfinite(values)] = np.nan
        return [
            Firsts(second, first_tick, list(range(first_tick + begin, first_tick + records, rate)), found)
            for second, first_tick, begin, found in zip(seconds, first_ticks, begins, values, strict=True)
        ]

    def firsts_of(self, records: Records) -> Firsts:
        (found,) = self.firsts(
            [records.first_tick], records.counts.T[np.newaxis], records.states.T[np.newaxis]
        )
        return found

    def seconds(self, records: Records, last_second: int) -> Seconds:
        """The first records of seconds after `last_second`."""
        if not len(records):
            return Seconds(np.empty(0, np.int64), [], np.empty((0, len(self.columns))))
        return self.firsts_of(records).after(last_second)

    def physical(self, column: int, value: float) -> float:
        """As people write it: -139.2, not -139.20000000000002."""
        return float(f"{value * float(self.factors[column]) + float(self.offsets[column]):.12g}")


def is_measurement(signal: Signal) -> bool:
    """Whether deviations of it mean anything."""
    if signal.kind in FLOATS:
        return True
    if signal.kind is not Kind.SCALED:
        return False
    if signal.max_error_counts or signal.circular:
        return True
    # What is exact is a state or a counter, unless it has a unit, or a factor that makes a quantity of it.
    return bool(signal.unit or (not signal.labels and (signal.factor != 1 or signal.offset)))


@lru_cache(64)  # the same for all vehicles of a schema
def measured(schema: Schema, ignore: tuple[str, ...] = (), *, robust: bool = False) -> Measured:
    """The measurements of a schema but those to ignore."""
    chosen = [
        (column, signal)
        for column, signal in enumerate(schema.signals)
        if is_measurement(signal) and signal.name not in ignore
    ]
    signals = [signal for _, signal in chosen]
    turns = np.array([signal.turn_counts for signal in signals], np.float64)
    ranked = np.ones(len(signals), np.uint8) if robust else (turns > 0).astype(np.uint8)
    scaled = [signal.kind is Kind.SCALED for signal in signals]
    return Measured(
        schema=schema,
        columns=np.array([column for column, _ in chosen], np.int64),
        names=tuple(signal.name for signal in signals),
        measures=Measures(np.array([_noise(signal) for signal in signals], np.float64), turns, ranked),
        factors=np.array([s.factor if counts else 1.0 for s, counts in zip(signals, scaled, strict=True)]),
        offsets=np.array([s.offset if counts else 0.0 for s, counts in zip(signals, scaled, strict=True)]),
        floats=tuple(index for index, counts in enumerate(scaled) if not counts),
        circles=tuple((column, float(turns[column])) for column in np.flatnonzero(turns).tolist()),
    )


def _noise(signal: Signal) -> float:
    """What a value is not known better than, in counts; of floats, physical."""
    return float(max(signal.max_error_counts, 1)) if signal.kind is Kind.SCALED else signal.threshold


class Window:
    """Of one stream. It changes with every second that it takes in."""

    def __init__(self, measured_: Measured, window_s: int) -> None:
        width = len(measured_.columns)
        self.measured = measured_
        self.held = Held(
            np.full((window_s, width), np.nan),
            np.empty((width, window_s)),
            np.zeros(width, np.int64),
            np.array([NEVER], np.int64),
        )
        self._room = np.empty((2, width))

    @property
    def last_second(self) -> int:
        return int(self.held.last[0])

    def fill(self, records: Records, first_second: int) -> None:
        """Take in, from that second on, and score nothing."""
        rate = self.measured.schema.rate_hz
        skip = min(max(0, first_second * rate - records.first_tick), len(records))
        self.take(self.measured.seconds(records.slice(skip, len(records)), self.last_second))

    def take(self, taken: Seconds) -> None:
        """Take in, and score nothing."""
        if taken.ticks:
            kernels.fill(taken.values, taken.seconds, self.measured.measures, self.held)

    def means(self, taken: Seconds, columns: NDArray[np.int64], over: int) -> NDArray[np.float64]:
        """[k, f] of some columns of seconds that were not taken in yet: means over so many seconds up to each."""
        if over == 1:
            return taken.values.take(columns, axis=1)
        found = np.empty((len(taken.ticks), len(columns)))
        kernels.means(taken.values, taken.seconds, self.held, columns, over, found)
        return found

    def score(self, taken: Seconds, samples_min: int, *, robust: bool) -> Scores:
        """Score seconds against those before each of them, and take them in."""
        scores = Scores(
            np.empty_like(taken.values), np.empty_like(taken.values), self._room[0], self._room[1]
        )
        kernels.score(
            taken.values, taken.seconds, self.measured.measures, self.held, samples_min, robust, scores
        )
        return scores
