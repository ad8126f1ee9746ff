"""Buses: one thread each reads python-can and hands frames over. The only place that knows python-can's messages.

A bus that fails is closed, and opened again after a while; the others, and capture, go on. Frames nobody takes in time
are dropped, oldest first, and counted; a replayed log waits instead.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from codec.schema import NS
from decoder.frames import EXTENDED, Frames
from edge_agent import clock
from edge_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import can

    from edge_agent.config import BusConfig

GATHER_NS = 20_000_000  # frames of so long go over together: 50 wake-ups a second at most
CHUNK_FRAMES_MAX = 1024
RECEIVE_S = 0.2  # how long a silent bus keeps its thread from seeing that it has to stop
SILENT_NS = 2 * NS
INBOX_FRAMES_MAX = 400_000  # a minute of four full buses, about 40 MB
REPLAY_FRAMES_MAX = 20_000  # how far a log may be read ahead
REOPEN_S = (0.5, 10.0)  # first and longest wait before a bus is opened again

log = structlog.get_logger()


@dataclass(slots=True)
class BusState:
    """How a bus is, for heartbeat and status. Written by its own thread alone."""

    name: str
    state: str = "down"  # up, silent, down, ended
    frames: int = 0
    error_frames: int = 0
    last_frame_ns: int = 0  # on CLOCK_BOOTTIME
    trouble: str = ""


@dataclass(slots=True)
class Inbox:
    """Frames on their way from the bus threads to capture."""

    frames_max: int = INBOX_FRAMES_MAX
    waits: bool = False  # a full inbox holds up whoever puts; otherwise the oldest frames go
    dropped: int = 0
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
                _, oldest = self._items.popleft()
                lost = len(oldest) if oldest is not None else 0
                self._count -= lost
                self.dropped += lost
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


class BusReader:
    """One bus and its thread."""

    def __init__(
        self,
        index: int,
        config: BusConfig,
        filters: Sequence[tuple[int, int, bool]],
        inbox: Inbox,
        *,
        own_clock: bool,
    ) -> None:
        self.state = BusState(config.name)
        self._index = index
        self._config = config
        self._filters = [{"can_id": id_, "can_mask": mask, "extended": long} for id_, mask, long in filters]
        self._inbox = inbox
        self._own_clock = own_clock
        self._door = clock.Door()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"bus-{config.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        wait_s = REOPEN_S[0]
        while not self._stop.is_set():
            try:
                bus = open_bus(self._config, self._filters)
            except AgentError as error:
                self._down(str(error))
                if self._own_clock:  # a log that cannot be read now never can
                    self.state.state = "ended"
                    self._inbox.put(self._index, None)
                    return
            else:
                wait_s = REOPEN_S[0]
                if self._read(bus):
                    return
            self._stop.wait(wait_s)
            wait_s = min(wait_s * 2, REOPEN_S[1])

    def _read(self, bus: can.BusABC) -> bool:
        """Read until the bus ends (True) or fails (False)."""
        log.info("bus is open", bus=self._config.name, interface=self._config.interface)
        self.state.state, self.state.trouble = "up", ""
        self.state.last_frame_ns = clock.now().boot_ns
        try:
            while not self._stop.is_set():
                frames = self._gather(bus)
                if len(frames):
                    self._inbox.put(self._index, frames)
                elif getattr(bus, "ended", False):
                    self.state.state = "ended"
                    self._inbox.put(self._index, None)
                    return True
            return True
        except Exception as error:  # noqa: BLE001  # drivers raise what they like; none may end the agent
            self._down(
                f"{self._config.name}: {type(error).__name__}: {error}; opening it again until it works"
            )
            return False
        finally:
            try:
                bus.shutdown()
            except Exception as error:  # noqa: BLE001  # as above
                log.debug("bus did not close", bus=self._config.name, error=str(error))

    def _gather(self, bus: can.BusABC) -> Frames:
        """What comes within GATHER_NS of the first frame."""
        rows: list[tuple[int, int, int, bytes]] = []
        until_ns = 0
        while len(rows) < CHUNK_FRAMES_MAX:
            read = clock.now()
            timeout_s = (until_ns - read.boot_ns) / NS if rows else RECEIVE_S
            if timeout_s <= 0:
                break
            message = bus.recv(timeout_s)
            if message is None:
                break
            read = clock.now()
            if message.is_error_frame:
                self.state.error_frames += 1
                continue
            if message.is_remote_frame:
                continue
            stamp_ns = (
                round(message.timestamp * NS)
                if self._own_clock
                else self._door.to_boottime(round(message.timestamp * NS), read)
            )
            id_ = message.arbitration_id | (EXTENDED if message.is_extended_id else 0)
            until_ns = until_ns or read.boot_ns + GATHER_NS
            rows.append((stamp_ns, self._index, id_, bytes(message.data)))
        self._count(len(rows))
        return Frames.from_rows(rows)

    def _count(self, frames: int) -> None:
        now_ns = clock.now().boot_ns
        self.state.frames += frames
        if frames:
            self.state.last_frame_ns = now_ns
        self.state.state = "silent" if now_ns - self.state.last_frame_ns > SILENT_NS else "up"

    def _down(self, trouble: str) -> None:
        if trouble != self.state.trouble:  # once, not at every try
            log.error("bus is down", bus=self._config.name, trouble=trouble)
        self.state.state, self.state.trouble = "down", trouble


def open_bus(config: BusConfig, filters: Sequence[dict[str, Any]] | None = None) -> can.BusABC:
    """The bus of python-can. Raises AgentError, whatever its driver raised."""
    import can  # half a second where all its readers' libraries are installed

    try:
        return can.Bus(
            interface=config.interface,
            channel=config.channel,
            can_filters=list(filters) if filters is not None else None,
            **config.options,
        )
    except Exception as error:
        raise AgentError(
            f"[[bus]] {config.name}: python-can cannot open interface {config.interface!r}, channel "
            f"{config.channel!r}: {error}"
        ) from error
