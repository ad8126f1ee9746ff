"""The sampler: frames in, records on a grid of ticks out.

Rules
- A record at tick k holds the newest value of each signal in the frames stamped at k * period or before.
- A tick closes when a frame stamped after it is fed, or when `advance` is told that time has passed it. So the records
  are a function of the frames in their order of arrival, however these are cut into feeds.
- Only frames of the plan's messages move time; the others are counted.
- A frame stamped more than a day ahead of all before it is not believed until STEP_FRAMES in a row say so. Till then it
  waits, with what came after it; disproved, it counts as stamped with the newest frame before it, and is counted.
- No frame for `park_after_s`: no more ticks, until frames come again and begin a new run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability, Records
from codec.schema import NS
from decoder import kernels, sampling
from decoder.frames import FD_BYTES, Frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoder.plan import Plan

PARK_AFTER_S = 60.0
TIME_NS_MAX = sampling.TIME_NS_MAX
BUSES_MAX = 256  # a frame's bus is one byte
_ROOM_TICKS = 256  # closed in one call of a kernel; more than one feed of a live bus closes
_LOG_FRAMES, _LOG_TICKS = (
    8192,
    1024,
)  # of a log are taken at a time: so many records of any width fit into memory
_Part = tuple[np.ndarray, np.ndarray, np.ndarray]


class Sampler:
    """Pure: same frames, same records, to the bit, at any speed.

    With the frames' own clock (a log) call `advance(None)` after each feed: it only collects. With a running clock call
    `advance(now_ns)`, which also closes the ticks that silence left open. A whole log: `sample_log`.
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
        clock[sampling.NOW] = clock[sampling.TOLD] = sampling.BEFORE_ALL
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
        self._held = Frames.empty()  # begins with a frame that leaps; neither believed nor disproved yet
        self._disbelieved = 0
        self._unknown = np.zeros(BUSES_MAX, np.int64)

    @property
    def late_frames(self) -> int:
        """Frames stamped no later than a tick that was closed already; they count at the next one."""
        return int(self._state.clock[sampling.LATE])

    @property
    def unknown_frames(self) -> int:
        """Frames of no message of the plan, or with a multiplexor value that the DBC lacks."""
        return int(self._unknown.sum())

    def unknown_frames_of(self, bus: int) -> int:
        """Those of one bus."""
        return int(self._unknown[bus])

    @property
    def clock_steps(self) -> int:
        """How often the clock of the frames was set back; time went on from where it was."""
        return int(self._state.clock[sampling.STEPS])

    @property
    def disbelieved_frames(self) -> int:
        """Frames stamped more than a day ahead that the frames after them disproved, or that nothing came after."""
        return self._disbelieved + len(self._held)

    @property
    def parked(self) -> bool:
        """Whether no tick is due until a frame comes."""
        return not self._state.clock[sampling.RUNNING]

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame of the plan's messages (with clock steps added up); None before the first."""
        now_ns = int(self._state.clock[sampling.NOW])
        return None if now_ns == sampling.BEFORE_ALL else now_ns

    def feed(self, frames: Frames, ticks_max: int | None = None) -> int:
        """Take frames, in their order of arrival. Returns how many: with `ticks_max`, which bounds how many ticks they
        may close, it may be fewer than there are.
        """
        held = len(self._held)
        if held:
            frames, self._held = Frames.concatenate([self._held, frames]), Frames.empty()
        matched, paths, _ = kernels.match(frames, self._tables)
        times_ns, words = np.clip(frames.timestamps_ns, -TIME_NS_MAX, TIME_NS_MAX), frames.words()
        clock = self._state.clock
        at_frame = believed = closed = 0
        while at_frame < len(frames) and (ticks_max is None or closed < ticks_max):
            room = _ROOM_TICKS if ticks_max is None else min(_ROOM_TICKS, ticks_max - closed)
            end = sampling.take_frames(
                at_frame,
                believed,
                times_ns,
                frames.lengths,
                words,
                matched,
                paths,
                self._tables,
                self._state,
                self._room,
                _ROOM_TICKS - room,
            )
            closed += self._collect(_ROOM_TICKS - room, end)
            taken = slice(at_frame, int(clock[sampling.AT_FRAME]))
            self._unknown += np.bincount(frames.buses[taken][paths[taken, 0] < 0], minlength=BUSES_MAX)
            at_frame = taken.stop
            if clock[sampling.LEAPS] and (ticks_max is None or closed < ticks_max):
                known = at_frame + np.flatnonzero(matched[at_frame:] >= 0)[: sampling.STEP_FRAMES]
                leaps = times_ns[known] > self._leaps_from_ns
                if leaps.all() and len(known) < sampling.STEP_FRAMES:
                    self._held = frames.take(slice(at_frame, None))
                    return len(frames) - held
                believed = at_frame + 1
                if not leaps.all():
                    doubtful = known[: np.argmin(leaps)]
                    times_ns[doubtful] = clock[sampling.NOW] - clock[sampling.SET_BACK_NS]
                    self._disbelieved += len(doubtful)
        if at_frame < held:  # what was held is in no array of the caller's
            self._held, at_frame = frames.take(slice(at_frame, held)), held
        return at_frame - held

    def advance(self, until_ns: int | None = None, ticks_max: int | None = None) -> list[Records]:
        """Records of the ticks closed since the last call, as runs of consecutive ticks.

        `until_ns` closes all ticks <= until_ns first, at most `ticks_max`: it says that no frame stamped so early is
        still to come.
        """
        closed = 0
        while until_ns is not None and (ticks_max is None or closed < ticks_max):
            self._state.clock[sampling.TOLD] = max(self._state.clock[sampling.TOLD], until_ns)
            room = _ROOM_TICKS if ticks_max is None else min(_ROOM_TICKS, ticks_max - closed)
            begin = _ROOM_TICKS - room
            end = sampling.close_ticks(until_ns + 1, self._tables, self._state, self._room, begin)
            closed += self._collect(begin, end)
            if end < _ROOM_TICKS:
                break
        parts, self._closed = self._closed, []
        return _runs(parts)

    @property
    def _leaps_from_ns(self) -> int:
        """Stamps beyond this lie more than a day ahead of the newest frame, and of what the caller says of the time."""
        clock = self._state.clock
        latest_ns = int(max(clock[sampling.NOW], clock[sampling.TOLD]))
        return latest_ns + sampling.LEAP_NS - int(clock[sampling.SET_BACK_NS])

    def _collect(self, begin: int, end: int) -> int:
        """Keep the closed ticks begin..end of the room; returns how many."""
        if end > begin:
            room = self._room
            self._closed.append(
                (
                    room.ticks[begin:end].copy(),
                    room.counts[begin:end].copy(),
                    room.states[begin:end].copy(),
                )
            )
        return end - begin


def sample_log(sampler: Sampler, frames: Frames) -> Iterator[Records]:
    """The records of a whole log, a few at a time, to the last tick that a frame has reached."""
    at = 0
    while at < len(frames):
        at += sampler.feed(frames.take(slice(at, at + _LOG_FRAMES)), _LOG_TICKS)
        yield from sampler.advance()
    if sampler.newest_ns is not None:
        yield from sampler.advance(sampler.newest_ns)


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
