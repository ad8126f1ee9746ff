"""A writer that knows nothing: it says of every item at once that it is durable. What is left is gRPC and the conversation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from collector.items import (
    BatchItem,
    BlobItem,
    Described,
    Description,
    Greeting,
    Kept,
    Noted,
    Position,
    Stored,
    Welcomed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.items import Item, Outcome
    from collector.writer import Delivery, Recipient


class Echo:
    """In the place of `collector.writer.Writer`, in the event loop. Outcomes are delivered in groups, as a writer does."""

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self._deliver = deliver
        self._waiting: Delivery = []

    def start(self) -> None: ...

    def stop(self, _timeout_s: float) -> bool:
        return True

    def submit(self, recipient: Recipient, item: Item) -> None:
        self._waiting.append((recipient, _outcome(item)))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._deliver(waiting)


def _outcome(item: Item) -> Outcome:
    match item:
        case Greeting():
            return Welcomed(None, Position(0, 0), b"", bytes(16))
        case Description():
            return Described()
        case BatchItem():
            return Stored(Position(item.stream_no, item.seq))
        case BlobItem():
            return Kept(item.kind, item.hash)
        case _:
            return Noted()
