"""A CAN interface of our own making, for machines whose kernel has none: it raises what SocketCAN raises."""

from __future__ import annotations

import errno
import os
import queue

import can

from edge_agent.errors import AgentError

FRAME = can.Message(arbitration_id=0x123, data=bytes(8), is_extended_id=False)


def error_frame(classes: int, *data: int) -> can.Message:
    return can.Message(arbitration_id=classes, data=bytes(data), is_error_frame=True, is_extended_id=False)


def lost(code: int) -> Exception:
    """As python-can says it."""
    return can.CanOperationError(f"Error receiving: {os.strerror(code)}", code)


class Wire:
    """What is on it, and whether it is there. `open` stands for `edge_agent.bus.open_bus`."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[can.Message | Exception] = queue.Queue()
        self.absent: OSError | None = None  # what opening raises
        self.is_down = False  # opening works, and the first read fails
        self.opened = 0

    def open(self, config, filters):
        self.opened += 1
        if self.absent is not None:
            raise AgentError(f"[[bus]] {config.name}: {self.absent}")
        return WireBus(self, config.channel, filters)

    def carry(self, *messages: can.Message | Exception) -> None:
        for message in messages:
            self.waiting.put(message)


class WireBus(can.BusABC):
    def __init__(self, wire, channel, filters):
        self.wire = wire
        super().__init__(channel, can_filters=filters)

    def _recv_internal(self, timeout):
        if self.wire.is_down:
            raise lost(errno.ENETDOWN)
        try:
            found = self.wire.waiting.get(timeout=timeout)
        except queue.Empty:
            return None, True
        if isinstance(found, Exception):
            raise found
        return found, True

    def send(self, msg, timeout=None):
        raise NotImplementedError
