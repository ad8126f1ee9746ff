"""A road with dead zones: a TCP proxy in front of the collector, one port per vehicle.

Rules
- Every byte of TCP payload is counted where the proxy reads it, in either direction, also those that a dead zone then
  swallows: the vehicle has paid for them.
- A cut is one of three kinds. `REFUSED`: connections are reset, new ones refused, as when a tunnel ends a call.
  `SILENT`: everything looks connected and nothing arrives, as when packets vanish; what was connected at that time is
  reset when the network is back, as by a carrier that has forgotten it. `STALLED`: nothing arrives for now; all of it
  does when the network is back, unless somebody gave up meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum, auto

CHUNK_BYTES = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close sends RST


class Road(Enum):
    """What the network between one vehicle and the collector is like."""

    OPEN = auto()
    REFUSED = auto()
    SILENT = auto()
    STALLED = auto()


@dataclass(slots=True)
class Traffic:
    """Payload bytes of one vehicle since the start, cut connections included."""

    up_bytes: int = 0
    down_bytes: int = 0
    connections: int = 0

    @property
    def total_bytes(self) -> int:
        return self.up_bytes + self.down_bytes


@dataclass(slots=True)
class Lane:
    """One vehicle's port, its state and what passed through it."""

    port: int
    road: Road = Road.OPEN
    traffic: Traffic = field(default_factory=Traffic)
    through: int = 0  # connections that reach the collector
    moving: asyncio.Event = field(default_factory=asyncio.Event)  # bytes pass: not while it is stalled
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Proxy:
    """Ports on loopback that lead to one collector: `await lay(name)`, then `await set_road(name, Road.REFUSED)`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lanes: dict[str, Lane] = {}

    async def lay(self, name: str) -> int:
        """A port for one vehicle."""
        lane = Lane(port=0)
        lane.moving.set()
        await self._listen(lane)
        self._lanes[name] = lane
        return lane.port

    def traffic(self, name: str) -> Traffic:
        return self._lanes[name].traffic

    def road(self, name: str) -> Road:
        return self._lanes[name].road

    def connected(self, name: str) -> bool:
        """Whether something goes through from end to end."""
        lane = self._lanes[name]
        return lane.road is Road.OPEN and lane.through > 0

    async def set_road(self, name: str, road: Road) -> None:
        """Cut or restore. Whatever is connected loses its connection, unless the road goes silent or stalls."""
        lane = self._lanes[name]
        was, lane.road = lane.road, road
        if road is Road.STALLED:
            lane.moving.clear()
        else:
            lane.moving.set()
        if road is Road.REFUSED:
            await self._stop_listening(lane)
        elif lane.server is None:
            await self._listen(lane)
        if road is Road.REFUSED or (road is Road.OPEN and was is not Road.STALLED):
            _reset_all(lane)

    async def close(self) -> None:
        for lane in self._lanes.values():
            await self._stop_listening(lane)
            _reset_all(lane)
            for task in lane.tasks:
                task.cancel()
            await asyncio.gather(*lane.tasks, return_exceptions=True)

    async def _listen(self, lane: Lane) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._carry(lane, reader, writer)

        lane.server = await asyncio.start_server(accept, "127.0.0.1", lane.port)
        lane.port = lane.server.sockets[0].getsockname()[1]

    @staticmethod
    async def _stop_listening(lane: Lane) -> None:
        if lane.server is not None:
            lane.server.close()
            lane.server = None
            await asyncio.sleep(0)

    async def _carry(self, lane: Lane, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        lane.tasks.add(task)
        lane.writers.add(writer)
        lane.traffic.connections += 1
        beyond: asyncio.StreamWriter | None = None
        try:
            if lane.road is Road.SILENT:
                await _pump(lane, reader, None, up=True)
                return
            back, beyond = await asyncio.open_connection(*self._target)
            lane.writers.add(beyond)
            lane.through += 1
            try:
                await asyncio.gather(
                    _pump(lane, reader, beyond, up=True), _pump(lane, back, writer, up=False)
                )
            finally:
                lane.through -= 1
        except (OSError, asyncio.CancelledError):
            pass  # the collector is down, or the road was cut: the vehicle sees its connection reset
        finally:
            for end in (writer, beyond):
                if end is not None:
                    lane.writers.discard(end)
                    _reset(end)
            lane.tasks.discard(task)


async def _pump(
    lane: Lane, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, *, up: bool
) -> None:
    """Carry bytes one way until the end, counting. Nothing arrives while the road is silent, or without a writer."""
    while chunk := await reader.read(CHUNK_BYTES):
        if up:
            lane.traffic.up_bytes += len(chunk)
        else:
            lane.traffic.down_bytes += len(chunk)
        await lane.moving.wait()
        if writer is None or lane.road is Road.SILENT:
            writer = None  # a hole in a byte stream cannot be mended: this connection is lost
            continue
        writer.write(chunk)
        await writer.drain()
    if writer is not None and writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset_all(lane: Lane) -> None:
    for writer in list(lane.writers):
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EINVAL):
                raise
    writer.transport.abort()
