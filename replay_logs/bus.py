"""python-can's interface "replay": a recorded log that is read as if it were a bus.

    can.Bus(interface="replay", channel="drive.log", speed=20)

Rules
- Frames carry the log's own stamps; `speed` is only how fast they come (0: as fast as they are read).
- When a frame is due depends on the log alone, so a reader that joins late finds the drive where it now is: what was
  due before is skipped, as it would be on a bus. What comes due while a reader is slow waits for it.
- A stamp that runs backward is due at once; a silence of more than SILENCE_S_MAX is played as that long.
- The last frame is the end: `ended` is True, and recv gives None when its timeout is over.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import can

from replay_logs.read import LogError, open_log

if TYPE_CHECKING:
    from collections.abc import Generator

SILENCE_S_MAX = 60.0  # of the log; as python-can's own player does
_QUANTUM_S = 0.005  # frames come in bursts this far apart, as from a real adapter: waking up is what costs
_WAIT_S_MAX = 1.0  # recv(None) looks this often whether the bus was shut down
_MEANINGLESS = {"bitrate", "data_bitrate", "fd", "receive_own_messages", "timing", "state", "single_handle"}


class ReplayBus(can.BusABC):
    """A read-only bus made of a log.

    speed: times real time; 0 for no waiting at all.
    loop: begin again after the last frame, stamps going on forward.
    epoch: Unix seconds at which the first frame plays; None: the moment of the first recv.
    log_channel: take only this channel of a log that has several.
    """

    def __init__(
        self,
        channel: Any,
        can_filters: Any = None,
        *,
        speed: float | str = 1.0,
        loop: bool | str = False,
        epoch: float | str | None = None,
        log_channel: str | int | None = None,
        **others: object,
    ) -> None:
        self._wanted: dict[int, bool] = {}  # by identifier, and 1 << 29 for a long one: the filters' verdict
        self._next: tuple[float, can.Message] | None = None
        unknown = sorted(set(others) - _MEANINGLESS)
        if unknown:
            raise can.CanInitializationError(
                f"replay {channel}: unknown option {', '.join(unknown)}; known are speed, loop, epoch and log_channel"
            )
        self.speed = _number("speed", speed, channel)
        if self.speed < 0:
            raise can.CanInitializationError(
                f"replay {channel}: speed = {speed}; must be 0 (no waiting) or more"
            )
        self._loop = (
            loop.strip().lower() in ("1", "true", "yes", "on") if isinstance(loop, str) else bool(loop)
        )
        self._epoch = None if epoch in (None, "") else _number("epoch", epoch, channel)
        self._log_channel = None if log_channel in (None, "") else str(log_channel)
        try:
            self.log = open_log(str(channel))
        except LogError as error:
            raise can.CanInitializationError(str(error)) from None
        self.channel_info = f"replay of {channel}"
        self.ended = False
        self._closed = threading.Event()
        self._frames = self._timed_frames()
        self._started_s: float | None = None  # on time.monotonic(): when the log's first frame plays
        self._joining = False
        super().__init__(channel, can_filters=can_filters)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        if self._closed.is_set():
            raise can.CanOperationError(f"{self.channel_info}: the bus was shut down")
        if self._started_s is None:
            self._start()
        if self._next is None and not self.ended:
            self._next = next(self._frames, None)
            self.ended = self._next is None
        patience_s = _WAIT_S_MAX if timeout is None else max(timeout, 0.0)
        if self._next is None:
            self._closed.wait(patience_s)
            return None, True
        due_s, message = self._next
        wait_s = due_s - time.monotonic()
        if wait_s > 0:
            self._closed.wait(min(max(wait_s, _QUANTUM_S), patience_s))
            if due_s > time.monotonic():
                return None, True
        self._next = None
        return message, True

    def _start(self) -> None:
        """Fix the moment of the first frame, and skip what was due before now."""
        now_s = time.monotonic()
        elapsed_s = 0.0 if self._epoch is None else time.time_ns() / 1e9 - self._epoch
        self._started_s = now_s - elapsed_s
        if self.speed > 0 and elapsed_s > 0:
            self._joining = True
            self._next = next((frame for frame in self._frames if frame[0] >= now_s), None)
            self._joining = False
            self.ended = self._next is None

    def _timed_frames(self) -> Generator[tuple[float, can.Message], None, None]:
        """Every wanted frame with the moment it is due, on time.monotonic()."""
        assert self._started_s is not None
        pace = 1 / self.speed if self.speed > 0 else 0.0
        wanted, channel = self._wanted, self._log_channel
        played_s = 0.0  # of the log, with long silences cut
        shift_s = 0.0  # of the stamps, pass after pass
        while True:
            first_s = latest_s = None
            begun_s, count = played_s, 0
            for message in self.log:
                stamp_s = message.timestamp
                if channel is not None and str(message.channel) != channel:
                    continue
                count += 1
                if first_s is None or latest_s is None:
                    first_s = latest_s = stamp_s
                elif stamp_s > latest_s:
                    played_s += min(stamp_s - latest_s, SILENCE_S_MAX)
                    latest_s = stamp_s
                key = message.arbitration_id | message.is_extended_id << 29
                verdict = wanted.get(key)
                if verdict is None:
                    verdict = wanted[key] = self._matches_filters(message)
                if verdict:
                    message.timestamp = stamp_s + shift_s
                    yield self._started_s + played_s * pace, message
            if not self._loop or first_s is None or latest_s is None:
                return
            # The next pass begins one mean distance after the last frame.
            gap_s = (latest_s - first_s) / max(count - 1, 1) or 1e-3
            shift_s += latest_s - first_s + gap_s
            played_s += gap_s
            passes = self._passes_missed(played_s - begun_s, played_s)
            shift_s += passes * (latest_s - first_s + gap_s)
            played_s += passes * (played_s - begun_s)

    def _passes_missed(self, pass_s: float, played_s: float) -> int:
        """How many whole passes are over by now: a bus that joins a loop after days need not read it so often."""
        assert self._started_s is not None
        if not self._joining:
            return 0
        elapsed_s = (time.monotonic() - self._started_s) * self.speed
        return max(int((elapsed_s - played_s) // pass_s), 0)

    def _apply_filters(self, filters: Any) -> None:  # noqa: ARG002  python-can keeps them
        self._wanted.clear()
        if self._next is not None and not self._matches_filters(self._next[1]):
            self._next = None

    def send(self, msg: can.Message, timeout: float | None = None) -> None:  # noqa: ARG002
        raise can.CanOperationError(
            f"{self.channel_info}: a log cannot be sent to; use replay-logs play to put it on a bus"
        )

    def shutdown(self) -> None:
        super().shutdown()
        self._closed.set()
        with contextlib.suppress(ValueError):  # another thread is in recv; the file closes with it
            self._frames.close()


def _number(name: str, value: Any, channel: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise can.CanInitializationError(f"replay {channel}: {name} = {value!r} is not a number") from None
