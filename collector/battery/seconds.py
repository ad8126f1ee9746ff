"""Records at full rate become whole seconds: all that the estimates need, in whole numbers.

Rules
- A second is `rate_hz` ticks that begin at a multiple of it. Only one whose every tick came, one after the other, is passed
  on: a gap, a missed tick and a new stream each end the second that they fall into.
- Nothing is interpolated: a second in which voltage or current was not available once is `known = False`.
- Sums are of integers, so the same seconds come out however the stream was cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codec.records import Records
    from collector.battery.roles import Battery

DIFFERENCE_MAX = 1 << 25  # counts; products of two, added up over 1000 ticks, fit int64
_LEAST, _MOST = np.int64(-DIFFERENCE_MAX), np.int64(DIFFERENCE_MAX)
_NOTHING = (0, 0, 0, 0, 0, 0)


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
    others: tuple[int | None, ...]  # of roles.SAMPLED


@dataclass(frozen=True, slots=True)
class Filling:
    """The second that is being filled. `sums`: charge, ticks unknown, ripple; `last`: the two records before `next_tick`."""

    next_tick: int
    begun: tuple[int, int, int, tuple[int | None, ...]] | None = (
        None  # its first tick; None: its start is missing
    )
    sums: tuple[int, ...] = _NOTHING
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
    bad = battery.unknown(records)
    sums = _Sums(voltage, current, bad if bad.any() else None, filling.last)
    rate, count, first_tick = battery.rate_hz, len(records), records.first_tick
    seconds: list[Second] = []
    begun, added = filling.begun, filling.sums
    start = 0
    while start < count:
        if (first_tick + start) % rate == 0:
            place = (first_tick + start, int(voltage[start]), int(current[start]))
            begun, added = (*place, _others(battery, records, start)), _NOTHING
        end = min(start + rate - (first_tick + start) % rate, count)
        added = tuple(map(add, added, sums.of(start, end)))
        if begun is not None and (first_tick + end) % rate == 0:
            tick, volts, amperes, others = begun
            seconds.append(Second(tick, added[1] == 0, volts, amperes, added[0], added[2:], others))  # type: ignore[arg-type]
            begun = None
        start = end
    return seconds, Filling(records.end_tick, begun, added, sums.last)


class _Sums:
    """Voltage and current of one run, in counts. `bad`: where one is unknown; None: nowhere. `before`: see `Filling.last`."""

    def __init__(
        self,
        voltage: NDArray[np.int64],
        current: NDArray[np.int64],
        bad: NDArray[np.bool_] | None,
        before: tuple[tuple[int, int, bool], ...],
    ) -> None:
        self._current, self._bad = current, bad
        count = len(voltage)
        tail = range(max(0, count - 2), count)
        ended = [(int(voltage[at]), int(current[at]), bad is None or not bad[at]) for at in tail]
        self.last = (*before, *ended)[-2:]
        if before:
            voltage = np.concatenate(([one[0] for one in before], voltage))
            current = np.concatenate(([one[1] for one in before], current))
        self._skipped = 2 - len(before)  # records without two before them
        self._u, self._w = _curvature(voltage), _curvature(current)
        self._broken: NDArray[np.bool_] | None = None
        if bad is not None or not all(one[2] for one in before):
            earlier = np.array([not one[2] for one in before], np.bool_)
            missing = np.concatenate((earlier, np.zeros(count, np.bool_) if bad is None else bad))
            broken = missing[2:] | missing[1:-1] | missing[:-2]
            self._u[broken] = self._w[broken] = 0
            self._broken = broken

    def of(self, start: int, end: int) -> tuple[int, ...]:
        """Charge, ticks unknown, and ripple of the records start..end."""
        some = slice(max(start - self._skipped, 0), max(end - self._skipped, 0))
        u, w = self._u[some], self._w[some]
        counted = len(u) if self._broken is None else len(u) - int(np.count_nonzero(self._broken[some]))
        current, unknown = self._current[start:end], 0
        if self._bad is not None:
            current, unknown = current[~self._bad[start:end]], int(np.count_nonzero(self._bad[start:end]))
        return int(current.sum()), unknown, counted, int(u @ u), int(u @ w), int(w @ w)


def _curvature(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Second differences, as far as their products fit."""
    curved: NDArray[np.int64] = values[2:] - 2 * values[1:-1] + values[:-2]
    np.minimum(curved, _MOST, out=curved)
    np.maximum(curved, _LEAST, out=curved)
    return curved


def _others(battery: Battery, records: Records, index: int) -> tuple[int | None, ...]:
    """Of SAMPLED, at one record."""
    counts, states = records.counts[index].tolist(), records.states[index].tolist()
    return tuple(
        None
        if measure is None or states[measure.column]
        else counts[measure.column]
        if measure.scaled
        else int(measure.whole(np.array([counts[measure.column]]))[0])
        for measure in battery.sampled
    )
