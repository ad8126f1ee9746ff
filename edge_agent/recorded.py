"""The frames of a recorded log, as fast as they can be read; for `estimate` and `init`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.schema import NS
from decoder.frames import EXTENDED, Frames
from edge_agent.bus import open_bus
from edge_agent.config import BusConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_FRAMES = 20_000


def recorded_frames(log: str, bus_of: Callable[[int], int] = lambda _: 0) -> Iterator[Frames]:
    """Chunks of data frames; `bus_of(ID)` says which bus an ID (bit 31: 29 bits) is of. Raises AgentError."""
    buses: dict[int, int] = {}
    bus = open_bus(BusConfig(interface="replay", channel=log, dbc=(), name=log, options={"speed": 0}))
    try:
        rows: list[tuple[int, int, int, bytes]] = []
        while not getattr(bus, "ended", False):
            message = bus.recv(0.0)
            if message is None or message.is_error_frame or message.is_remote_frame:
                continue
            id_ = message.arbitration_id | (EXTENDED if message.is_extended_id else 0)
            if id_ not in buses:
                buses[id_] = bus_of(id_)
            rows.append((round(message.timestamp * NS), buses[id_], id_, bytes(message.data)))
            if len(rows) >= CHUNK_FRAMES:
                yield Frames.from_rows(rows)
                rows = []
        yield Frames.from_rows(rows)
    finally:
        bus.shutdown()
