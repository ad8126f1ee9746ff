"""The sampler: frames in, records on a grid of ticks out.

Rules
- A record at tick k holds the newest value of each signal in the frames stamped at k * period or before.
- A tick closes when a frame stamped after it is fed, or when `advance` is told that time has passed it. So the records
  are a function of the frames in their order of arrival, however these are cut into feeds.
- Only frames of the plan's messages move time; the others are counted.
- No frame for `park_after_s`: no more ticks, until frames come again and begin a new run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability, Records
from codec.schema import NS
from decoder import kernels, sampling
from decoder.frames import FD_BYTES

if TYPE_CHECKING:
    from decoder.frames import Frames
    from decoder.plan import Plan

PARK_AFTER_S = 60.0
TIME_NS_MAX = (1 << 62) - 1  # 146 years; beyond are stamps that no clock gave, and the end of int64
_ROOM_TICKS = 256  # closed in one call of a kernel; more than one feed of a live bus closes
_Part = tuple[np.ndarray, np.ndarray, np.ndarray]


class Sampler:
    """Pure: same frames, same records, to the bit, at any speed.

    With the frames' own clock (a log) call `advance(None)` after each feed: it only collects. With a running clock call
    `advance(now_ns)`, which also closes the ticks that silence left open. A log that ends: `advance` to its last stamp.
    """

    def __init__(self, plan: Plan, *, park_after_s: float = PARK_AFTER_S) -> None:
        columns, messages = len(plan.schema.signals), len(plan.tables.messages)
        self._tables = plan.tables
        signals = np.zeros((columns, sampling.SIGNAL_COLUMNS), np.int64)
        signals[:, sampling.STATE] = Availability.NEVER_SEEN
        signals[:, sampling.TIMEOUT] = plan.timeouts_ns
        signals[:, sampling.LEARNED_MAX] = np.where(plan.learns_timeout, sampling.LEARNED_MAX_NS, 0)
        clock = np.zeros(sampling.CLOCK_CELLS, np.int64)
        clock[sampling.PERIOD_NS] = plan.schema.period_ns
        clock[sampling.PARK_NS] = round(park_after_s * NS)
        clock[sampling.NOW] = sampling.BEFORE_ALL
        clock[sampling.NEXT_TICK] = sampling.BEFORE_ALL // plan.schema.period_ns
        latches = np.full((messages, sampling.LATCH_COLUMNS), -1, np.int64)
        payloads = np.zeros((messages, FD_BYTES // 8), np.uint64)
        paths = np.zeros((messages, plan.tables.path_nodes), np.int32)
        self._state = sampling.State(
            clock, signals, latches, payloads, np.zeros(messages + 1, np.int64), paths
        )
        self._room = sampling.Ticks(
            np.zeros(_ROOM_TICKS, np.int64),
            np.zeros((_ROOM_TICKS, columns), np.int64),
            np.zeros((_ROOM_TICKS, columns), np.uint8),
        )
        self._closed: list[_Part] = []

    @property
    def late_frames(self) -> int:
        """Frames stamped no later than a tick that was closed already; they count at the next one."""
        return int(self._state.clock[sampling.LATE])

    @property
    def unknown_frames(self) -> int:
        """Frames of no message of the plan, or with a multiplexor value that the DBC lacks."""
        return int(self._state.clock[sampling.UNKNOWN])

    @property
    def clock_steps(self) -> int:
        """How often the clock of the frames was set back; time went on from where it was."""
        return int(self._state.clock[sampling.STEPS])

    @property
    def parked(self) -> bool:
        """Whether no tick is due until a frame comes."""
        return not self._state.clock[sampling.RUNNING]

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame of the plan's messages (with clock steps added up); None before the first."""
        now_ns = int(self._state.clock[sampling.NOW])
        return None if now_ns == sampling.BEFORE_ALL else now_ns

    def feed(self, frames: Frames) -> None:
        """Take frames, in their order of arrival."""
        matched, paths, _ = kernels.match(frames, self._tables)
        times_ns, words = np.clip(frames.timestamps_ns, -TIME_NS_MAX, TIME_NS_MAX), frames.words()
        at_frame = 0
        while at_frame < len(frames):
            count = sampling.take_frames(
                at_frame,
                times_ns,
                frames.lengths,
                words,
                matched,
                paths,
                self._tables,
                self._state,
                self._room,
            )
            self._collect(count)
            at_frame = int(self._state.clock[sampling.AT_FRAME])

    def advance(self, until_ns: int | None = None) -> list[Records]:
        """Records of the ticks closed since the last call, as runs of consecutive ticks.

        `until_ns` closes all ticks <= until_ns first: it says that no frame stamped so early is still to come.
        """
        while until_ns is not None:
            count = sampling.close_ticks(until_ns + 1, self._tables, self._state, self._room, 0)
            self._collect(count)
            if count < _ROOM_TICKS:
                break
        closed, self._closed = self._closed, []
        return _runs(closed)

    def _collect(self, count: int) -> None:
        if count:
            room = self._room
            self._closed.append(
                (room.ticks[:count].copy(), room.counts[:count].copy(), room.states[:count].copy())
            )


def _runs(parts: list[_Part]) -> list[Records]:
    """Records of the closed ticks, cut where a tick is missing."""
    if not parts:
        return []
    ticks, counts, states = (
        np.concatenate([part[i] for part in parts]) if len(parts) > 1 else parts[0][i] for i in range(3)
    )
    starts = [0, *(np.flatnonzero(np.diff(ticks) != 1) + 1).tolist()]
    ends = [*starts[1:], len(ticks)]
    return [
        Records(int(ticks[start]), counts[start:end], states[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
