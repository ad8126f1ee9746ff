"""Several buses become one sequence of frames.

Rules
- The frames of one bus keep their order of arrival. Between buses time decides, and a frame whose stamp runs backward
  counts at the newest stamp its bus had shown; equal times go by bus.
- With the frames' own clock a frame is given out once every bus that still runs has shown a later one: so the
  sequence is a function of what the buses carry. One bus alone waits for nobody.
- With the system's clock nobody waits: what has arrived is given out, and the caller leaves time for it to arrive.
- WAITING_MAX bounds what is held for a bus that shows nothing.
"""

from __future__ import annotations

import numpy as np

from decoder.frames import Frames

WAITING_MAX = 200_000  # frames, 5 MB; a bus that shows nothing for so long is not waited for any longer


class Merge:
    """Frames of `bus_count` buses in, one sequence out."""

    def __init__(self, bus_count: int, *, own_clock: bool) -> None:
        self._waits = own_clock and bus_count > 1
        self._parts: list[Frames] = []
        self._times: list[np.ndarray] = []  # of the parts: stamps that never run backward on their bus
        self._newest: list[int | None] = [None] * bus_count
        self._ended = [False] * bus_count

    def add(self, bus: int, frames: Frames) -> None:
        """Frames of one bus in their order of arrival."""
        if len(frames) == 0:
            return
        newest = self._newest[bus]
        times = np.maximum.accumulate(frames.timestamps_ns)
        if newest is not None:
            times = np.maximum(times, newest)
        self._newest[bus] = int(times[-1])
        self._parts.append(frames)
        self._times.append(times)

    def end(self, bus: int) -> None:
        """A bus from which nothing comes any more."""
        self._ended[bus] = True

    def take(self) -> Frames:
        """What can be given out now."""
        if not self._parts:
            return Frames.empty()
        frames = Frames.concatenate(self._parts)
        times = np.concatenate(self._times)
        order = np.lexsort((frames.buses, times))  # stable: arrival decides last
        frames, times = frames.take(order), times[order]
        count = len(frames) if len(frames) > WAITING_MAX else self._complete(times)
        rest = slice(count, None)
        self._parts = [frames.take(rest)] if count < len(frames) else []
        self._times = [times[rest]] if count < len(frames) else []
        return frames.take(slice(0, count))

    def _complete(self, times: np.ndarray) -> int:
        """How many of the sorted frames no other can come before."""
        running = [newest for newest, ended in zip(self._newest, self._ended, strict=True) if not ended]
        if not self._waits or not running:
            return len(times)
        known = [newest for newest in running if newest is not None]
        if len(known) < len(running):
            return 0
        return int(np.searchsorted(times, min(known), side="left"))
