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

from collector.battery.portion import DIFFERENCE_MAX

if TYPE_CHECKING:
    from collector.battery.portion import Begun, Point, Portion
    from collector.battery.roles import Battery

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
    begun: Begun | None = None  # None: its start is missing
    sums: tuple[int, ...] = _NOTHING
    last: tuple[Point, ...] = ()

    def to_json(self) -> list[Any]:
        return [self.next_tick, self.begun, self.sums, self.last]

    @classmethod
    def from_json(cls, document: list[Any]) -> Filling:
        next_tick, begun, sums, last = document
        first = None if begun is None else (begun[0], begun[1], begun[2], tuple(begun[3]))
        return cls(next_tick, first, tuple(sums), tuple((v, i, bool(known)) for v, i, known in last))


def cut(battery: Battery, filling: Filling | None, portion: Portion) -> tuple[list[Second], Filling]:
    """The seconds that end in a block, and what is begun. `filling`: None in a new stream."""
    if filling is None or filling.next_tick != portion.first_tick:
        filling = Filling(portion.first_tick)
    rate = battery.rate_hz
    _add_edge(portion, filling.last)
    parts = iter(portion.sums)
    begun, added = filling.begun, tuple(map(add, filling.sums, next(parts)))
    seconds: list[Second] = []
    for begins, sums in zip(portion.begun, parts, strict=False):
        if begun is not None:
            seconds.append(_ended(begun, added))
        begun, added = begins, tuple(sums)
    if begun is not None and portion.end_tick % rate == 0:
        seconds.append(_ended(begun, added))
        begun = None
    return seconds, Filling(portion.end_tick, begun, added, (*filling.last, *portion.tail)[-2:])


def _ended(begun: Begun, sums: tuple[int, ...]) -> Second:
    tick, voltage, current, others = begun
    charge, unknown, *ripple = sums
    return Second(tick, unknown == 0, voltage, current, charge, tuple(ripple), others)  # type: ignore[arg-type]


def _add_edge(portion: Portion, before: tuple[Point, ...]) -> None:
    """To the sums of a block, what its first records come to after those before them."""
    points = (*before, *portion.head)
    for at in range(max(2, len(before)), len(points)):
        (v0, i0, known0), (v1, i1, known1), (v2, i2, known2) = points[at - 2 : at + 1]
        index = at - len(before)
        if index >= 2 or not (known0 and known1 and known2):
            continue
        u = min(max(v2 - 2 * v1 + v0, -DIFFERENCE_MAX), DIFFERENCE_MAX)
        w = min(max(i2 - 2 * i1 + i0, -DIFFERENCE_MAX), DIFFERENCE_MAX)
        sums = portion.sums[sum(begun[0] <= portion.first_tick + index for begun in portion.begun)]
        sums[2:] = sums[2] + 1, sums[3] + u * u, sums[4] + u * w, sums[5] + w * w
