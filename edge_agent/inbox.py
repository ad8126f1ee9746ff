"""The inbox: frames on their way from the bus threads to capture.

Frames that nobody takes in time are dropped, oldest first, and counted; a replayed log waits instead.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decoder.frames import Frames

INBOX_FRAMES_MAX = 400_000  # half a minute of four full buses, about 40 MB
REPLAY_FRAMES_MAX = 20_000  # how far a log may be read ahead


@dataclass(slots=True)
class Inbox:
    """Put by many threads, taken by one."""

    frames_max: int = INBOX_FRAMES_MAX
    waits: bool = False  # a full inbox holds up whoever puts; otherwise the oldest frames go
    dropped: Counter[int] = field(default_factory=Counter)  # frames, by bus
    _items: deque[tuple[int, Frames | None]] = field(default_factory=deque)
    _count: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False

    def put(self, bus: int, frames: Frames | None) -> None:
        """Frames of a bus, or None: it has ended."""
        size = len(frames) if frames is not None else 0
        with self._changed:
            while (
                self.waits and not self._closed and self._count > 0 and self._count + size > self.frames_max
            ):
                self._changed.wait()
            while not self.waits and self._count > 0 and self._count + size > self.frames_max:
                of_bus, oldest = self._items.popleft()
                lost = len(oldest) if oldest is not None else 0
                self._count -= lost
                self.dropped[of_bus] += lost
            self._items.append((bus, frames))
            self._count += size
            self._changed.notify_all()

    def take(self, timeout_s: float) -> list[tuple[int, Frames | None]]:
        """All there is, at once or after at most `timeout_s`."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout_s)
            items = list(self._items)
            self._items.clear()
            self._count = 0
            self._changed.notify_all()
        return items

    def wake(self) -> None:
        """Let `take` return: there is something else to do."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more: nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
