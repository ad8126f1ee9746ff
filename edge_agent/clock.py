"""Time at the door: every stamp becomes CLOCK_BOOTTIME once, and nothing behind it reads a clock.

Drivers stamp frames with the wall clock, which steps. A stamp is used for what it is good for, the frame's age when it
was read; where that makes no sense (a step came in between, a driver with a clock of its own) the reading counts.
"""

from __future__ import annotations

import ctypes
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from codec.schema import NS
from codec.stream import Clock

AGE_MAX_NS = NS  # no frame waits longer in a driver that is read all the time
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
    return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


def to_boottime(stamp_s: float, read: Instant) -> int:
    """Boot time in ns of a frame that python-can stamped `stamp_s` and that was read at `read`."""
    age_ns = read.wall_ns - round(stamp_s * NS)
    return read.boot_ns - age_ns if 0 <= age_ns <= AGE_MAX_NS else read.boot_ns


def wall_clock() -> Clock:
    """What a keyframe says of the time now."""
    instant = now()
    offset_ns = instant.wall_ns - instant.boot_ns
    return Clock(offset_ns, synchronised=instant.wall_ns > YEAR_2020_NS and _disciplined())


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
