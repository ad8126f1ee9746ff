"""Now, while a backlog drains: what an operator sees, and how late. The real shells on both sides, and a link that is slow."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time

import can
import numpy as np
import pytest

from codec.guards import GuardSet
from codec.records import Records
from codec.stream import Clock
from collector.gateway import Gateway, start_server
from collector.ingest.ingest import Ingest
from collector.rules import load_rules
from collector.store import open_store
from collector.store.ledger import StoreLedger
from collector.times import from_text
from collector.writer import Writer
from edge_agent.app import Agent
from edge_agent.blobs import pack_schema
from edge_agent.outbox import Outbox
from edge_agent.outbox_rows import NOWHERE
from edge_agent.pipeline import BlockTicks, Pipeline, StreamName
from tests.edge_agent.test_app import configured, until, written_log

NS = 10**9
RULES = load_rules(
    """
[[rule]]
code = "FAST"
when = "VehicleSpeed > 150"
for_s = 0.5
severity = "CRITICAL"
description = "fast"
"""
)
RATE_BYTES_PER_S = 4000
LOOKS_S = 6.0
LATE_S, CROSSING_S = 5.0, 0.2
BUSY_S = 1.0  # what a busy machine may add


class SlowRoad:
    """Carries so many bytes a second towards the collector, and keeps the rest waiting, as a modem does."""

    def __init__(self, port: int, rate_bytes_per_s: float) -> None:
        self._port, self._rate = port, rate_bytes_per_s
        self._tasks: set[asyncio.Task] = set()

    async def lay(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _carry(self, reader, writer) -> None:
        self._tasks.add(asyncio.current_task())
        back, beyond = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, beyond, self._rate), self._pump(back, writer, 1e9))
        for end in (writer, beyond):
            end.transport.abort()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    async def _pump(self, reader, writer, rate: float) -> None:
        free_at = time.monotonic()
        while chunk := await reader.read(256):
            free_at = max(free_at, time.monotonic()) + len(chunk) / rate
            await asyncio.sleep(free_at - time.monotonic())
            writer.write(chunk)
            await writer.drain()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(folder):
    gateway = Gateway(ack_within_ns=NS)
    loop = asyncio.get_running_loop()
    writer = gateway.writer = Writer(
        StoreLedger(folder / "store.db"),
        Ingest(RULES),
        lambda delivery: loop.call_soon_threadsafe(gateway.deliver, delivery),
        time.time_ns,
    )
    writer.start()
    server, port = await start_server(gateway, "127.0.0.1:0")
    yield port
    gateway.close()
    await server.stop(0)
    await asyncio.to_thread(writer.stop, 5)


def store_offline(path, schema, blocks: int) -> None:
    """An earlier run of so many blocks of half a minute, incompressible and unsent."""
    outbox = Outbox(str(path), synchronous="NORMAL")
    outbox.keep_schema(schema.hash, pack_schema(schema))
    ticks = BlockTicks(offline=1500, online=500, watched=50, keyframe=1500, loss_max=1500)
    pipeline = Pipeline(schema, StreamName(0, bytes(16), bytes(16)), ticks, guards=GuardSet())
    noise = np.random.default_rng(1)
    for block in range(blocks):
        counts = noise.integers(0, 12_000, (1500, len(schema.signals)))
        counts[:, schema.names.index("Gear")] = 1
        sampled = Records(1000 + block * 1500, counts, np.zeros(counts.shape, np.uint8))
        outbox.commit(pipeline.add(sampled, Clock(0, synchronised=True)), limit_bytes=NOWHERE)
    outbox.close()


class Car:
    """Frames on a virtual bus, 50 a second."""

    def __init__(self, channel: str) -> None:
        self.speed = 100
        self._channel = channel

    async def drive(self) -> None:
        with can.Bus(interface="virtual", channel=self._channel) as bus:
            while True:
                data = struct.pack("<HB", self.speed * 100, 3) + bytes(5)
                bus.send(can.Message(arbitration_id=0x123, data=data, is_extended_id=False))
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("slow", ["link", "pace"])
async def test_now_is_shown_in_time_while_a_backlog_drains_and_a_crossing_at_once(tmp_path, slow):
    written_log(tmp_path, 1)  # for its DBC
    async with serving(tmp_path) as port:
        road = SlowRoad(port, RATE_BYTES_PER_S if slow == "link" else 1e9)
        pace = f"pace_bytes_per_s = {RATE_BYTES_PER_S}" if slow == "pace" else ""
        channel = f"live-{slow}"
        config, plan = configured(
            tmp_path, await road.lay(), interface="virtual", channel=channel, uplink=pace
        )
        store_offline(config.outbox.path, plan.schema, 300)
        car = Car(channel)
        running = [asyncio.create_task(car.drive()), asyncio.create_task(Agent(config, plan).run())]
        try:
            store = open_store(tmp_path / "store.db")
            await until(store.live, timeout_s=20)
            late = []
            ends = time.monotonic() + LOOKS_S
            while time.monotonic() < ends:
                (row,) = store.live()
                late.append((time.time_ns() - from_text(row["timestamp"], 0)) / NS)
                assert abs(row["data"]["VehicleSpeed"] - 100) < 5
                await asyncio.sleep(0.05)
            assert max(late) < LATE_S
            car.speed = 160
            crossed = time.monotonic() + 0.5  # and has lasted
            await until(store.provisional_faults)
            took_s = time.monotonic() - crossed
            assert store.faults() == []
            print(f"{slow}: now up to {max(late):.2f} s late, a crossing {took_s:.3f} s")
            assert took_s < CROSSING_S + BUSY_S
            assert [row["code"] for row in store.notices()] == ["FAST"]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await road.close()
