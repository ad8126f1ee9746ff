"""How much may be sent now: a pace in bytes a second, and a budget for each calendar month. No clock of its own.

Rules
- Everything that is said, heard or repeated is charged, with what its envelope costs. Heartbeats and what is sent again are
  charged and never wait; batches wait.
- The pace lets BURST_S of itself through at once. A batch that is larger goes whole, and what follows waits for it.
- A budget that is used up faster than the month goes by makes blocks longer, up to STRETCH_MAX times: the fewer messages, the
  fewer envelopes, which at 10 s a block are most of what is sent. Only when it is used up do batches wait, for the next
  month, in the outbox. Nothing is dropped for it.
- A month is one in UTC, and only a clock that is synchronised ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

NS = 1_000_000_000
ENVELOPE_BYTES = (
    120  # of one message: frames of gRPC and HTTP/2 (14), and IP and TCP of its segment and that one's ack
)
BURST_S = 1.0
STRETCH_MAX = 8
UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none."""

    pace_bytes_per_s: int = 0
    month_bytes: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Spent:
    """What one month has cost. `month` counts from year 0; 0: no clock was ever synchronised."""

    month: int = 0
    bytes: int = 0

    @property
    def name(self) -> str:
        """As 2026-11; empty: not known which."""
        return f"{self.month // 12:04}-{self.month % 12 + 1:02}" if self.month else ""


class Allowance:
    """What may be sent, over all conversations."""

    def __init__(self, limits: Limits = NO_LIMITS, spent: Spent = Spent()) -> None:
        self.limits = limits
        self.spent = spent
        self._month_left = 1.0  # share of the month
        self._debt_bytes = 0.0  # to the pace
        self._now_ns: int | None = None

    def ticked(self, now_ns: int, wall_ns: int | None) -> None:
        """Time passes. `wall_ns`: Unix time where the clock is synchronised."""
        elapsed_ns = 0 if self._now_ns is None else max(0, now_ns - self._now_ns)
        self._now_ns = now_ns
        self._debt_bytes = max(0.0, self._debt_bytes - self.limits.pace_bytes_per_s * elapsed_ns / NS)
        if wall_ns is None:
            return
        month, self._month_left = _place(wall_ns)
        if self.spent.month not in (0, month):
            self.spent = Spent(month)
        elif self.spent.month == 0:
            self.spent = replace(self.spent, month=month)

    def charge(self, size_bytes: int) -> None:
        """One message of so many bytes went either way."""
        self._debt_bytes += size_bytes + ENVELOPE_BYTES
        self.spent = replace(self.spent, bytes=self.spent.bytes + size_bytes + ENVELOPE_BYTES)

    @property
    def used_up(self) -> bool:
        """Whether batches wait for the next month."""
        return 0 < self.limits.month_bytes <= self.spent.bytes

    @property
    def room_bytes(self) -> int:
        """How much may be sent now; 0: nothing before time has passed."""
        if self.used_up:
            return 0
        room = UNLIMITED if not self.limits.month_bytes else self.limits.month_bytes - self.spent.bytes
        if self.limits.pace_bytes_per_s:
            room = min(room, int(self.limits.pace_bytes_per_s * BURST_S - self._debt_bytes))
        return max(0, room)

    @property
    def stretch(self) -> int:
        """How many times as long blocks should be, and the time between heartbeats."""
        budget = self.limits.month_bytes
        if not budget:
            return 1
        left = 1 - self.spent.bytes / budget
        if left * STRETCH_MAX <= self._month_left:
            return STRETCH_MAX
        return max(1, min(STRETCH_MAX, round(self._month_left / left)))


def _place(wall_ns: int) -> tuple[int, float]:
    """(month, share of it that is left) of a Unix time."""
    now = datetime.fromtimestamp(wall_ns // NS, UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return now.year * 12 + now.month - 1, (after - now) / (after - first)
