"""Records at full rate become whole seconds: all that the estimates need, in whole numbers.

Rules
- A second is `rate_hz` ticks that begin at a multiple of it. Only one whose every tick came, one after the other, is passed
  on: a gap, a missed tick and a new stream each end the second that they fall into.
- Nothing is interpolated: a second in which voltage or current was not available once is `known = False`.
- Sums are of integers, so the same seconds come out however the stream was cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.battery.roles import SAMPLED, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codec.records import Records
    from collector.battery.roles import Battery

DIFFERENCE_MAX = 1 << 25  # counts; products of two, added up over 1000 ticks, fit int64


@dataclass(frozen=True, slots=True)
class Second:
    """One whole second. Voltage, current and the other roles (counts; None: not available) are those of its first tick."""

    tick: int
    known: bool  # voltage and current at every tick
    voltage: int
    current: int
    charge: int  # sum of the current's counts over its ticks
    ripple: tuple[
        int, int, int, int
    ]  # ticks counted; sums of uu, uw, ww: second differences of voltage u and current w
    others: tuple[int | None, ...]  # of SAMPLED


@dataclass(frozen=True, slots=True)
class Filling:
    """The second that is being filled. `sums`: charge, ticks unknown, ripple; `last`: the two records before `next_tick`."""

    next_tick: int
    begun: tuple[int, int, int, tuple[int | None, ...]] | None = (
        None  # its first tick; None: its start is missing
    )
    sums: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
    last: tuple[tuple[int, int, bool], ...] = ()

    def to_json(self) -> list[Any]:
        return [self.next_tick, self.begun, self.sums, self.last]

    @classmethod
    def from_json(cls, document: list[Any]) -> Filling:
        next_tick, begun, sums, last = document
        first = None if begun is None else (begun[0], begun[1], begun[2], tuple(begun[3]))
        return cls(next_tick, first, tuple(sums), tuple((v, i, bool(known)) for v, i, known in last))


def cut(battery: Battery, filling: Filling | None, records: Records) -> tuple[list[Second], Filling]:
    """The seconds that end in these records, and what is begun. `filling`: None in a new stream."""
    if filling is None or filling.next_tick != records.first_tick:
        filling = Filling(records.first_tick)
    voltage = battery.measures["voltage"].counts(records)
    current = battery.current_counts(records, voltage)
    bad = unknown(records, battery.columns)
    rate, count, first_tick = battery.rate_hz, len(records), records.first_tick
    starts = list(range(-first_tick % rate, count, rate))
    bounds = starts if starts and starts[0] == 0 else [0, *starts]
    table = _table(voltage, current, bad, filling.last)
    sums = np.add.reduceat(table, bounds, axis=0).tolist()
    seconds: list[Second] = []
    begun, added = filling.begun, filling.sums
    ended = (*bounds[1:], count)
    for start, end, some in zip(bounds, ended, sums, strict=True):
        if (first_tick + start) % rate == 0:
            place = (first_tick + start, int(voltage[start]), int(current[start]))
            begun, added = (*place, _others(battery, records, start)), (0, 0, 0, 0, 0, 0)
        added = tuple(one + more for one, more in zip(added, some, strict=True))
        if begun is not None and (first_tick + end) % rate == 0:
            tick, volts, amperes, others = begun
            seconds.append(Second(tick, added[1] == 0, volts, amperes, added[0], added[2:], others))  # type: ignore[arg-type]
            begun = None
    tail = [
        (int(voltage[index]), int(current[index]), not bad[index])
        for index in range(max(0, count - 2), count)
    ]
    last = (*filling.last, *tail)[-2:]
    return seconds, Filling(records.end_tick, begun, added, last)


def _table(
    voltage: NDArray[np.int64],
    current: NDArray[np.int64],
    bad: NDArray[np.bool_],
    last: tuple[tuple[int, int, bool], ...],
) -> NDArray[np.int64]:
    """int64[n, 6]: current, unknown, whether a second difference is known, and its uu, uw, ww."""
    count, before = len(voltage), len(last)
    pair = np.empty((before + count, 2), np.int64)
    missing = np.empty(before + count, np.bool_)
    for index, (volts, amperes, known) in enumerate(last):
        pair[index], missing[index] = (volts, amperes), not known
    pair[before:, 0], pair[before:, 1], missing[before:] = voltage, current, bad
    table = np.zeros((count, 6), np.int64)
    table[:, 0], table[:, 1] = np.where(bad, 0, current), bad
    if before + count > 2:
        curved = np.maximum(np.minimum(np.diff(pair, 2, axis=0), DIFFERENCE_MAX), -DIFFERENCE_MAX)
        table[2 - before :, 2] = 1
        if missing.any():
            broken = missing[2:] | missing[1:-1] | missing[:-2]
            curved[broken], table[2 - before :, 2] = 0, ~broken
        u, w = curved[:, 0], curved[:, 1]
        table[2 - before :, 3], table[2 - before :, 4], table[2 - before :, 5] = u * u, u * w, w * w
    return table


def _others(battery: Battery, records: Records, index: int) -> tuple[int | None, ...]:
    """Of SAMPLED, at one record."""
    counts = records.counts[index, battery.sampled_columns].tolist()
    states = records.states[index, battery.sampled_columns].tolist()
    found = iter(
        None if state else count if measure.scaled else int(measure.whole(np.array([count]))[0])
        for measure, count, state in zip(battery.sampled, counts, states, strict=True)
    )
    return tuple(next(found) if role in battery.measures else None for role in SAMPLED)
