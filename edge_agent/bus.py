"""Buses: one thread each reads python-can and hands frames over. The only place that knows python-can's messages.

A bus that fails is closed, and opened again: after a while, or at once when the kernel says that an interface came up.
The others, and capture, go on.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import structlog

from codec.schema import NS
from decoder.frames import EXTENDED, Frames
from edge_agent import clock
from edge_agent.bus_state import BusState
from edge_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import can

    from edge_agent.config import BusConfig
    from edge_agent.inbox import Inbox

GATHER_NS = 20_000_000  # frames of so long go over together: 50 wake-ups a second at most
CHUNK_FRAMES_MAX = 1024
RECEIVE_S = 0.2  # how long a silent bus keeps its thread from seeing that it has to stop
REOPEN_S = (0.5, 10.0)  # first and longest wait before a bus is opened again
QUEUE_BYTES = 4 << 20  # of the kernel's for a socket, as far as it lets us: a second of a full bus
_SO_MEMINFO = (
    55  # Source: linux/sock_diag.h; its ninth number counts the datagrams that the queue had no room for
)
_MEMINFO = struct.Struct("=9I")

log = structlog.get_logger()


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
        self._again = threading.Event()  # to be opened without waiting any longer
        self._shown = ""  # the state that the log was told
        self._thread = threading.Thread(target=self._run, name=f"bus-{config.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._again.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def open_again(self) -> None:
        """Some interface came up: it may be this one."""
        self._again.set()

    def _run(self) -> None:
        wait_s = REOPEN_S[0]
        while not self._stop.is_set():
            frames, state = self.state.frames, self.state
            try:
                bus = open_bus(self._config, self._filters)
            except AgentError as error:
                state.failed(str(error))
                if self._own_clock:  # a log that cannot be read now never can
                    return self._end(str(error))
            else:
                if self._read(bus):
                    return None
            self._show()
            wait_s = min(wait_s * 2, REOPEN_S[1]) if state.frames == frames else REOPEN_S[0]
            self._again.wait(wait_s)
            self._again.clear()
        return None

    def _read(self, bus: can.BusABC) -> bool:
        """Read until the bus ends (True) or fails (False)."""
        self.state.opened(clock.now().boot_ns)
        try:
            overruns = _Overruns(bus)
            while not self._stop.is_set():
                frames = self._gather(bus)
                self.state.frames_overrun += overruns.fresh()
                self._show()
                if len(frames):
                    self._inbox.put(self._index, frames)
                elif getattr(bus, "ended", False):
                    self._end()
                    return True
            return True
        except Exception as error:  # noqa: BLE001  # drivers raise what they like; none may end the agent
            self.state.failed(
                f"{self._config.name}: {type(error).__name__}: {error}{remedy(error, self._config)}; opening it again "
                "until it works"
            )
            return False
        finally:
            try:
                bus.shutdown()
            except Exception as error:  # noqa: BLE001  # as above
                log.debug("bus did not close", bus=self._config.name, error=str(error))

    def _gather(self, bus: can.BusABC) -> Frames:
        """What comes within GATHER_NS of the first frame. Where the driver fails meanwhile, what came before goes on its way."""
        rows: list[tuple[int, int, int, bytes]] = []
        try:
            self._receive(bus, rows)
        except Exception:
            if rows:
                self._inbox.put(self._index, Frames.from_rows(rows))
            raise
        return Frames.from_rows(rows)

    def _receive(self, bus: can.BusABC, rows: list[tuple[int, int, int, bytes]]) -> None:
        read = clock.now()
        until_ns = read.boot_ns + int(RECEIVE_S * NS)
        first = True
        while len(rows) < CHUNK_FRAMES_MAX and read.boot_ns < until_ns:
            message = bus.recv((until_ns - read.boot_ns) / NS)
            read = clock.now()
            if message is None:
                break
            if first:
                first, until_ns = False, read.boot_ns + GATHER_NS
            if message.is_error_frame:
                classes = message.arbitration_id if self._config.interface == "socketcan" else 0
                self.state.error_frame(classes, bytes(message.data))
            elif not message.is_remote_frame:
                stamp_ns = round(message.timestamp * NS)
                if not self._own_clock:
                    stamp_ns = self._door.to_boottime(stamp_ns, read)
                id_ = message.arbitration_id | (EXTENDED if message.is_extended_id else 0)
                rows.append((stamp_ns, self._index, id_, bytes(message.data)))
                self.state.read(1, read.boot_ns)  # one by one: what comes after an error frame counts as such
        if not rows:
            self.state.read(0, read.boot_ns)

    def _end(self, trouble: str = "") -> None:
        self.state.ended(trouble)
        self._show()
        self._inbox.put(self._index, None)

    def _show(self) -> None:
        """Tell the log, once for each change that an operator should know of."""
        state = self.state
        shown = state.state if state.state in ("down", "bus_off") else "open"
        if shown == self._shown:
            return
        self._shown = shown
        if shown == "open":
            log.info("bus is open", bus=state.name, interface=self._config.interface)
        else:
            said = "bus is down" if shown == "down" else "bus is off"
            log.error(said, bus=state.name, trouble=state.trouble)


class _Overruns:
    """What the kernel had no room for in the queue of a bus's socket; nothing where the bus has no socket of its own."""

    def __init__(self, bus: can.BusABC) -> None:
        found = getattr(bus, "socket", None)
        self._socket = found if isinstance(found, socket.socket) else None
        self._seen = 0
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)

    def fresh(self) -> int:
        """Frames since the last call."""
        if self._socket is None:
            return 0
        try:
            told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:  # a kernel before 4.12
            self._socket = None
            return 0
        dropped = _MEMINFO.unpack(told)[-1] if len(told) == _MEMINFO.size else 0
        before, self._seen = self._seen, dropped
        return (dropped - before) & 0xFFFFFFFF


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
            f"{config.channel!r}: {error}{remedy(error, config)}"
        ) from error


def remedy(error: Exception, config: BusConfig) -> str:
    """What to do about the errors of SocketCAN that everybody meets once."""
    number = getattr(error, "errno", None) or getattr(error, "error_code", None)  # python-can's own errors
    if config.interface != "socketcan" or number not in _REMEDIES:
        return ""
    return f"; {_REMEDIES[number].format(channel=config.channel)}"


_REMEDIES = {
    errno.ENODEV: "is the adapter plugged in? `ip link show type can` lists what there is",
    errno.ENETDOWN: "bring it up: ip link set {channel} up type can bitrate 500000",
    errno.EAFNOSUPPORT: "this kernel has no CAN: modprobe can_raw",
}
