"""Records: the values of all signals of a schema at consecutive ticks, in raw counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Availability(IntEnum):
    """What a signal has at a tick. Only `AVAILABLE` has counts; every other state's counts are 0."""

    AVAILABLE = 0
    NEVER_SEEN = 1  # no frame has carried it in this run
    STALE = 2  # it came once, and stopped coming
    NOT_AVAILABLE = 3  # the sender says so (SNA), or the frame was too short for it


@dataclass(frozen=True, slots=True)
class Records:
    """n records at the ticks first_tick, first_tick + 1, ... without a hole.

    `counts` is int64[n, m], `states` uint8[n, m] (see `Availability`), for m signals. For scaled signals
    counts are the raw integers of the bus (physical = counts * factor + offset); for float signals the bits
    of the raw float32 or float64.
    """

    first_tick: int
    counts: NDArray[np.int64]
    states: NDArray[np.uint8]

    def __post_init__(self) -> None:
        assert self.counts.ndim == 2, self.counts.shape
        assert self.counts.shape == self.states.shape, (self.counts.shape, self.states.shape)

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    @property
    def end_tick(self) -> int:
        """The first tick after the last record."""
        return self.first_tick + len(self)

    def slice(self, start: int, stop: int) -> Records:
        """Records start..stop by index, as views."""
        return Records(self.first_tick + start, self.counts[start:stop], self.states[start:stop])

    def until(self, tick: int) -> Records:
        """Records before that tick, as views."""
        return self.slice(0, max(0, min(tick - self.first_tick, len(self))))

    def equals(self, other: Records) -> bool:
        return (
            self.first_tick == other.first_tick
            and np.array_equal(self.states, other.states)
            and np.array_equal(self.counts, other.counts)
        )


def concatenate(parts: Iterable[Records]) -> list[Records]:
    """The same records in as few runs as possible: neighbours without a hole between them become one."""
    runs: list[list[Records]] = []
    for part in parts:
        if len(part) == 0:
            continue
        if runs and runs[-1][-1].end_tick == part.first_tick:
            runs[-1].append(part)
        else:
            runs.append([part])
    return [
        run[0]
        if len(run) == 1
        else Records(
            run[0].first_tick,
            np.concatenate([part.counts for part in run]),
            np.concatenate([part.states for part in run]),
        )
        for run in runs
    ]
