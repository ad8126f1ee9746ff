"""Time at the door: every stamp becomes CLOCK_BOOTTIME once, and nothing behind it reads a clock.

Drivers stamp frames with the wall clock, which steps. A stamp is used for what it is good for, the frame's age when it
was read; where that makes no sense (a driver with a clock of its own) the reading counts.
"""

from __future__ import annotations

import ctypes
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from codec.schema import NS
from codec.stream import Clock

AGE_MAX_NS = NS  # no frame waits longer in a driver that is read all the time
STEP_NS = 1_000_000  # readings of both clocks are closer together than this, and steps are larger
OFFSETS_MAX = 8  # a clock that is set more often within AGE_MAX is worth no more memory
READINGS_MAX = 5  # of two clocks, until nothing came between
YEAR_2020_NS = 1_577_836_800 * NS  # a clock that shows less was never set
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
FRAMES_BOOT_ID = bytes(16)  # ticks that count from Unix time belong to no boot
FRAMES_CLOCK = Clock(0, synchronised=True)
_TIMEX_BYTES = 208  # struct timex; modes = 0 only asks
_TIME_ERROR = 5  # the kernel's word for a clock that nobody disciplines


@dataclass(frozen=True, slots=True)
class Instant:
    """Both clocks at one instant."""

    boot_ns: int
    wall_ns: int


def now() -> Instant:
    """Both at once: tried again where something came between the readings."""
    for _ in range(READINGS_MAX):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if after - before < STEP_NS:
            break
    return Instant(after, wall)


class Door:
    """Stamps of one driver on their way in. Pure: both clocks are arguments.

    A frame may have been stamped before the wall clock was set and be read after it. So the offsets between the clocks
    that held within the last AGE_MAX are kept, and a stamp means the time that makes the frame youngest without being from
    the future. That is never before it was stamped and never after it was read, and exact where no step came between.
    """

    def __init__(self) -> None:
        self._offsets: deque[tuple[int, int]] = deque(
            maxlen=OFFSETS_MAX
        )  # (wall - boot, last seen at), newest last

    def to_boottime(self, stamp_ns: int, read: Instant) -> int:
        """Boot time in ns of a frame that was stamped `stamp_ns` on the wall clock and read at `read`."""
        self._see(read)
        ages = (read.boot_ns - (stamp_ns - offset) for offset, _ in self._offsets)
        return read.boot_ns - min((age for age in ages if 0 <= age <= AGE_MAX_NS), default=0)

    def _see(self, read: Instant) -> None:
        offset = read.wall_ns - read.boot_ns
        if self._offsets and abs(offset - self._offsets[-1][0]) < STEP_NS:
            self._offsets.pop()  # the same, as far as two readings can tell
        self._offsets.append((offset, read.boot_ns))
        while read.boot_ns - self._offsets[0][1] > AGE_MAX_NS:
            self._offsets.popleft()


def wall_clock() -> Clock:
    """What a keyframe says of the time now."""
    # Asked first: whoever sets the clock right and says so at once may do it in between, and the old time is not right then.
    disciplined = _disciplined()
    instant = now()
    offset_ns = instant.wall_ns - instant.boot_ns
    return Clock(offset_ns, synchronised=instant.wall_ns > YEAR_2020_NS and disciplined)


def synchronised_ns() -> int | None:
    """Unix time, if the clock is right as far as anybody knows."""
    disciplined = _disciplined()  # as above
    instant = now()
    return instant.wall_ns if instant.wall_ns > YEAR_2020_NS and disciplined else None


def boot_id() -> bytes:
    """16 bytes that name this boot of the machine."""
    try:
        return uuid.UUID(BOOT_ID_FILE.read_text().strip()).bytes
    except (OSError, ValueError):
        # A stream must not be taken for one of another boot, so a boot that has no name gets one for this run.
        return uuid.uuid4().bytes


def _disciplined() -> bool:
    """Whether the kernel says that somebody keeps its clock right."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        return ctypes.CDLL(None).adjtimex(timex) not in (_TIME_ERROR, -1)
    except (OSError, AttributeError):
        return False
