"""A CAN bus at full load, for python-can: frames come due one after the other, whether anybody reads them or not."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import can

BUSES = 4
FRAMES_PER_S = 4000  # of 8 bytes, at 500 kbit/s
MESSAGES = 40  # of each bus, each 100 times a second
QUEUE_S = 1.0  # what the agent asks the kernel to hold
WAKE_S = 0.005  # frames come in bursts of so long, as from a real adapter


class FloodBus(can.BusABC):
    """Frames come due at FRAMES_PER_S from the first recv on, whether anybody reads or not."""

    offered: ClassVar[list[int]] = [0] * BUSES
    lost: ClassVar[list[int]] = [0] * BUSES

    def __init__(self, channel: Any, **_: object) -> None:
        self.channel_info = f"a flood in the place of {channel}"
        self._number = int(channel)
        self._began_s: float | None = None
        self._next = 0
        super().__init__(channel)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        now_s = time.time_ns() / 1e9
        if self._began_s is None:
            self._began_s = now_s
        due_s = self._began_s + self._next / FRAMES_PER_S
        if due_s > now_s:
            # As a kernel does with a reader that sleeps: it wakes up to what has come meanwhile.
            time.sleep(min(due_s - now_s + WAKE_S, timeout if timeout is not None else 1.0))
            if time.time_ns() / 1e9 < due_s:
                return None, True
        elif now_s - due_s > QUEUE_S:
            late = int((now_s - due_s - QUEUE_S) * FRAMES_PER_S)
            self.lost[self._number] += late
            self.offered[self._number] += late
            self._next += late
            due_s = self._began_s + self._next / FRAMES_PER_S
        at = self._next
        self._next += 1
        self.offered[self._number] += 1
        data = at.to_bytes(8, "little")
        message = can.Message(
            timestamp=due_s, arbitration_id=0x100 + at % MESSAGES, is_extended_id=False, data=data, dlc=8
        )
        return message, True

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        """Nobody listens."""
