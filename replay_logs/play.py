"""Put a log onto a bus, with python-can's timing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import can

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from replay_logs.read import Log

SILENCE_S_MAX = 60.0  # a longer one is played as this long
_FULL_RETRIES = 100  # times _FULL_WAIT_S: a bus that takes nothing for this long is down
_FULL_WAIT_S = 0.02


@dataclass(slots=True)
class Played:
    """What a playing did so far."""

    sent: int = 0
    error_frames: int = 0  # cannot be sent
    fd_frames: int = 0  # need a bus that was opened for CAN FD

    @property
    def left_out(self) -> tuple[str, ...]:
        lines = []
        if self.error_frames:
            lines.append(f"{self.error_frames} error frames left out: they cannot be sent")
        if self.fd_frames:
            lines.append(
                f"{self.fd_frames} CAN FD frames left out: the bus is a classic one (--fd opens it for both)"
            )
        return tuple(lines)


def play(
    log: Log,
    bus: can.BusABC,
    *,
    speed: float,
    fd: bool,
    played: Played,
    progress: Callable[[float, Played], None],
) -> None:
    """Send every frame of the log, `speed` times as fast as it was recorded (0: without waiting).

    `progress` is called with the seconds of the log that are over. Raises can.CanError if the bus takes nothing.
    """
    messages = can.MessageSync(
        _paced(log, speed), timestamps=speed > 0, gap=0.0, skip=SILENCE_S_MAX / (speed or 1.0)
    )
    for message in messages:
        progress(message.timestamp * (speed or 1.0), played)
        if message.is_error_frame:
            played.error_frames += 1
        elif message.is_fd and not fd:
            played.fd_frames += 1
        else:
            _send(bus, message)
            played.sent += 1


def _paced(log: Log, speed: float) -> Iterator[can.Message]:
    """The log's frames with stamps from 0, compressed by `speed`."""
    first_s: float | None = None
    for message in log:
        if first_s is None:
            first_s = message.timestamp
        message.timestamp = (message.timestamp - first_s) / (speed or 1.0)
        yield message


def _send(bus: can.BusABC, message: can.Message) -> None:
    """Send; a full transmit queue is waited for."""
    for attempt in range(_FULL_RETRIES):
        try:
            bus.send(message)
        except can.CanOperationError:
            if attempt == _FULL_RETRIES - 1:
                raise
            time.sleep(_FULL_WAIT_S)
        else:
            return
