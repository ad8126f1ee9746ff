"""The gateway over real gRPC and a real store."""

from __future__ import annotations

import asyncio
import time

import pytest

from collector.gateway import Gateway, start_server
from collector.ingest.ingest import Ingest
from collector.store import open_store
from collector.store.ledger import StoreLedger
from collector.writer import Writer
from protos import telemetry_pb2 as pb
from tests.collector.agent import GOODBYE, LONG_S, SCHEMA_BLOB, connect, described, hello, sent
from tests.collector.vehicle import RULES, Vehicle, within_bounds


@pytest.fixture
async def collector(tmp_path):
    """(port, path of the store, gateway)."""
    loop = asyncio.get_running_loop()
    gateway = Gateway(window_bytes=4096, ack_within_ns=50_000_000)
    writer = gateway.writer = Writer(
        StoreLedger(tmp_path / "s.db"),
        Ingest(RULES),
        lambda d: loop.call_soon_threadsafe(gateway.deliver, d),
        time.time_ns,
    )
    server, port = await start_server(gateway, "127.0.0.1:0")
    writer.start()
    yield port, tmp_path / "s.db", gateway
    gateway.close()
    await server.stop(1)
    assert await asyncio.to_thread(writer.stop, LONG_S)


async def until(condition) -> None:
    async with asyncio.timeout(LONG_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_vehicle_is_welcomed_sends_its_schema_and_its_batches_are_acked(collector, vehicle):
    port, path, _ = collector
    async with connect(port) as link:
        await link.say(hello(vehicle))
        assert (await link.hear()).HasField("welcome")
        assert (await link.hear()).blob.hash == RULES.guards().hash
        await link.say(described(vehicle.run()), *(sent(vehicle.drive()) for _ in range(3)))
        assert (await link.hear()).want.kind == pb.BLOB_KIND_SCHEMA
        await link.say(SCHEMA_BLOB)
        ack = await link.hear("ack")
        while ack.ack.seq < 2:
            ack = await link.hear("ack")
        await link.say(GOODBYE)
        await link.ended()
    runs = [(run.facts.stream_no, run.records) for run in open_store(path).runs("asset:one")]
    assert within_bounds(vehicle.sampled, runs)
    assert open_store(path).vehicles()[0]["state"] == "offline"


async def test_a_connection_that_is_cut_goes_on_where_it_was(collector, vehicle):
    port, path, _ = collector
    first = described(vehicle.run())
    async with connect(port) as link:
        await link.say(hello(vehicle), first, sent(vehicle.drive()))
        await link.hear("want")
        await link.say(SCHEMA_BLOB)
        await link.hear("ack")
    async with connect(port) as link:
        await link.say(hello(vehicle))
        welcome = await link.hear("welcome")
        assert (welcome.welcome.stored.stream_no, welcome.welcome.stored.seq) == (0, 0)
        await link.say(first, sent(vehicle.drive()))
        assert (await link.hear("ack")).ack.seq == 1
    assert len(list(open_store(path).runs("asset:one"))) == 2


async def test_the_newer_conversation_of_an_outbox_ends_the_older(collector, vehicle):
    port, path, _ = collector
    async with connect(port) as older, connect(port) as newer:
        await older.say(hello(vehicle))
        await older.hear("welcome")
        await newer.say(hello(vehicle))
        await newer.hear("welcome")
        refusal = await older.hear("refuse")
        assert refusal.refuse.code == pb.Refuse.CODE_REPLACED
        await older.ended()
        await newer.say(pb.Up(heartbeat=pb.Heartbeat(stream_no=0)))
        await until(lambda: open_store(path).vehicles()[0]["heartbeat"] is not None)
        assert open_store(path).vehicles()[0]["state"] == "online"


async def test_a_peer_that_makes_no_sense_is_refused_and_disturbs_nobody(collector, vehicle):
    port, _, _ = collector
    async with connect(port) as good, connect(port) as bad:
        await good.say(hello(vehicle))
        await good.hear("welcome")
        await bad.say(pb.Up(batch=pb.Batch()))
        assert (await bad.hear()).refuse.code == pb.Refuse.CODE_PROTOCOL
        await bad.ended()
        await good.say(described(vehicle.run()))
        await good.hear("want")


async def test_many_vehicles_at_once(collector):
    port, path, _ = collector

    async def one(number: int) -> None:
        vehicle = Vehicle(f"asset:{number}", outbox=number)
        async with connect(port) as link:
            await link.say(hello(vehicle), described(vehicle.run()))
            for _ in range(20):
                await link.say(sent(vehicle.drive()))
            while True:
                message = await link.hear()
                if message.HasField("want"):
                    await link.say(SCHEMA_BLOB)
                if message.HasField("ack") and message.ack.seq == 19:
                    return

    await asyncio.gather(*(one(number) for number in range(10)))
    assert [row["records"] for row in open_store(path).vehicles()] == [400] * 10


async def test_an_address_that_cannot_be_had_is_named(collector):
    port, _, _ = collector
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
        await start_server(Gateway(), f"127.0.0.1:{port}")


async def test_a_collector_that_ends_acks_what_is_durable_and_takes_nobody_new(collector, vehicle):
    port, _, gateway = collector
    async with connect(port) as link:
        await link.say(hello(vehicle))
        await link.hear("welcome")
        gateway.stop_reading()
        async with connect(port) as late:
            assert (await late.hear()).refuse.code == pb.Refuse.CODE_BUSY
        gateway.close()
        await link.ended()


async def test_a_call_that_says_nothing_ends(collector, monkeypatch):
    monkeypatch.setattr("collector.conversation.HELLO_NS", 1)
    async with connect(collector[0]) as link:
        assert (await link.hear()).refuse.code == pb.Refuse.CODE_PROTOCOL
        await link.ended()
