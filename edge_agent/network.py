"""News of the network, as Linux tells it over rtnetlink: links that come up, addresses and routes that are added.

Source: rtnetlink(7), netlink(7). Elsewhere there is none, and waits run their course.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_ LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_RUNNING = 0x40  # IFF_RUNNING
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiI")  # ifinfomsg: family, type, index, flags
DATAGRAM_BYTES = 1 << 16


def came_back(datagram: bytes) -> bool:
    """Whether any of its messages says that there may be a way now where there was none."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, at)
        body = at + _HEADER.size
        if kind in (_NEW_ADDRESS, _NEW_ROUTE):
            return True
        if kind == _NEW_LINK and body + _LINK.size <= len(datagram):
            *_, flags = _LINK.unpack_from(datagram, body)
            if flags & _RUNNING:
                return True
        if length < _HEADER.size:
            return False
        at += -(-length // 4) * 4
    return False


class NetworkNews:
    """Calls `tell` in the event loop whenever the network came back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._socket.bind((0, _GROUPS))
        except (OSError, AttributeError):  # not Linux, or a sandbox without it
            self.close()
            return
        loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        try:
            datagram = self._socket.recv(DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._tell()  # ENOBUFS: there was more news than it could keep
            return
        if came_back(datagram):
            self._tell()
