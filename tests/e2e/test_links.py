"""Links that lead nowhere, that flap, or whose other end moves: found out by both sides, over a road that swallows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

import pytest

from collector.conversation import ACK_WITHIN_NS, End, Send
from collector.gateway import Gateway, start_server
from collector.ingest.ingest import Ingest
from collector.items import Farewell, Noted, Position, Stored
from collector.store.ledger import StoreLedger
from collector.writer import Writer
from demo.proxy import Proxy, Road
from edge_agent import events
from edge_agent.events import Beat, Close, Ticked
from edge_agent.rows import position_of
from edge_agent.uplink import Waits
from protos import telemetry_pb2 as pb
from tests.collector.agent import connect, hello
from tests.collector.test_conversation import batch, fed, items, opened, said, streaming
from tests.collector.vehicle import RULES, Vehicle
from tests.edge_agent.peer import Peer, peer
from tests.edge_agent.samples import START, fill, new_outbox
from tests.edge_agent.side import Side
from tests.edge_agent.test_uplink import Agent, until

NS = 10**9
QUICK = Waits(heartbeat_s=60, backlog_heartbeat_s=60, retry_min_s=0.01, retry_max_s=0.05, speaks_within_s=1)


@pytest.fixture
def outbox(tmp_path):
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as made:
        fill(made, 4)
        yield made


@contextlib.asynccontextmanager
async def road(port: int):
    proxy = Proxy("127.0.0.1", port)
    try:
        yield proxy, await proxy.lay("vehicle")
    finally:
        await proxy.close()


# The collector's side of it


def beat(speaks_within_s=0) -> pb.Up:
    return pb.Up(heartbeat=pb.Heartbeat(speaks_within_s=speaks_within_s))


def test_a_heartbeat_is_answered_in_time_if_only_by_saying_nothing():
    one = opened()
    one.received(beat(), 3)
    one.ingested(Noted(), 4)
    one.received(beat(), 5)
    assert one.due_ns == 3 + ACK_WITHIN_NS
    assert one.wake(one.due_ns) == [Send(pb.Down())]
    assert one.due_ns is None


def test_what_is_not_stored_in_time_is_answered_all_the_same():
    one = streaming()
    one.received(batch(), 7)
    assert one.wake(7 + ACK_WITHIN_NS) == [Send(pb.Down())]
    assert one.ingested(Stored(Position(0, 0)), 8) == []
    (ack,) = one.wake(one.due_ns)
    assert ack.message.ack == pb.Ack(stream_no=0, seq=0)


def test_an_ack_is_an_answer():
    one = streaming()
    fed(one, 1, now_ns=7)
    assert said(one.wake(one.due_ns)) == ["ack"]
    assert one.due_ns is None


def test_an_agent_that_breaks_its_promise_to_speak_is_gone():
    one = opened()
    one.received(beat(speaks_within_s=20), 0)
    one.ingested(Noted(), 0)
    one.wake(ACK_WITHIN_NS)
    one.received(beat(speaks_within_s=20), 10 * 10**9)
    one.ingested(Noted(), 0)
    one.wake(10 * 10**9 + ACK_WITHIN_NS)
    assert one.due_ns == 40 * 10**9
    report, end = one.wake(one.due_ns)
    assert (report.event, end) == ("agent has fallen silent", End())
    assert items(one.lost()) == [Farewell]


def test_an_agent_is_not_gone_while_it_is_ingest_that_has_not_listened():
    one = opened()
    one.received(beat(speaks_within_s=20), 0)
    one.wake(ACK_WITHIN_NS)
    assert one.wake(30 * 10**9) == []
    assert one.due_ns == 60 * 10**9


# The agent's side of it


def test_a_collector_that_owes_an_answer_for_too_long_is_given_up(outbox):
    side = Side(outbox.path)
    side.welcome(answer_within_s=20)
    for second in range(31):
        side.hear(Ticked(second * NS))
    assert not side.of(Close)
    side.hear(Ticked(30 * NS + 1))
    side.reader.close()
    assert side.of(Close) == [Close("the collector has said nothing for 30 s")]


@pytest.mark.parametrize(
    "answer", [pb.Down(), pb.Down(ack=pb.Ack(stream_no=0, seq=0))], ids=["nothing", "ack"]
)
def test_any_word_is_an_answer_and_where_nothing_was_said_none_is_owed(outbox, answer):
    side = Side(outbox.path)
    side.welcome(answer_within_s=20)
    side.hear(Ticked(0), Ticked(29 * NS), answer)
    for second in range(29, 300):
        side.hear(Ticked(second * NS))
    side.reader.close()
    assert not side.of(Close)
    assert not side.of(events.Complain)


def test_an_agent_with_nothing_to_send_speaks_as_often_as_it_promised(outbox):
    side = Side(outbox.path)
    side.session._speaks_within_ns, side.session._heartbeat_ns = 20, 10**9
    side.welcome(stream_no=0, tick=START)  # no backlog
    for now_ns in range(100):
        side.hear(Ticked(now_ns))
        if len(side.of(Beat)) > len([up for up in side.sent if up.HasField("heartbeat")]):
            beat = pb.Up(heartbeat=pb.Heartbeat(speaks_within_s=side.session.speaks_within_s))
            side.session.said(beat)
            side.sent.append(beat)
    side.reader.close()
    assert 4 <= len(side.of(Beat)) <= 5
    assert side.session.speaks_within_s == 1


# Over a road that swallows


async def test_an_agent_leaves_a_link_on_which_everything_vanishes_and_comes_back(outbox, monkeypatch):
    monkeypatch.setattr("edge_agent.conversation.TICK_S", 0.02)
    async with peer() as (collector, port), road(port) as (proxy, lane):
        collector.welcome.answer_within_s = 1
        agent = Agent(outbox, lane, QUICK)
        async with agent.running():
            await until(lambda: outbox.wanted == position_of(0, 4))
            await proxy.set_road("vehicle", Road.SILENT)
            fill(outbox, 2, stream_no=1)
            agent.uplink.written(written(1, 2))
            await until(lambda: "has said nothing for 1 s" in agent.uplink.link.trouble)
            await proxy.set_road("vehicle", Road.OPEN)
            await until(lambda: outbox.wanted == position_of(1, 2))


async def test_a_collector_notices_a_vehicle_from_which_nothing_comes_any_more(tmp_path):
    gateway = Gateway(ack_within_ns=50_000_000)
    loop = asyncio.get_running_loop()
    deliver = lambda delivery: loop.call_soon_threadsafe(gateway.deliver, delivery)  # noqa: E731
    writer = gateway.writer = Writer(StoreLedger(tmp_path / "store.db"), Ingest(RULES), deliver, time.time_ns)
    writer.start()
    server, port = await start_server(gateway, "127.0.0.1:0")
    async with road(port) as (proxy, lane), connect(lane) as link:
        await link.say(hello(Vehicle()))
        assert (await link.hear("welcome")).welcome.answer_within_s == 1
        await link.say(beat(speaks_within_s=1))
        await link.hear()  # an answer
        await proxy.set_road("vehicle", Road.SILENT)
        assert gateway._calls
        await until(lambda: not gateway._calls)
    await server.stop(0)
    writer.stop(5)


async def test_a_link_that_flaps_costs_nothing_but_conversations(outbox, monkeypatch):
    monkeypatch.setattr("edge_agent.conversation.TICK_S", 0.02)
    async with peer() as (collector, port), road(port) as (proxy, lane):
        collector.welcome.window_bytes = 1  # one batch at a time
        agent = Agent(outbox, lane, QUICK)
        async with agent.running():
            for flap in range(8):
                await proxy.set_road("vehicle", Road.REFUSED)
                fill(outbox, 2, stream_no=1 + flap)
                agent.uplink.written(written(1 + flap, 2))
                await proxy.set_road("vehicle", Road.OPEN)
                await until(lambda flap=flap: collector.conversations > flap)
            await until(lambda: outbox.wanted == position_of(8, 2))
        everything = [(0, seq) for seq in range(4)] + [(no, seq) for no in range(1, 9) for seq in range(2)]
        assert sorted(set(collector.places)) == everything


def written(stream_no: int, seq: int):
    from edge_agent.capture import Written

    return Written(position_of(stream_no, seq), stream_no, START)


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an address (RFC 1035) with `address`, to be forgotten at once."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self.asked = 0

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        end = data.index(0, 12) + 5
        kind = struct.unpack_from("!H", data, end - 4)[0]
        found = kind == 1  # A
        self.asked += found
        head = data[:2] + struct.pack("!HHHHH", 0x8580, 1, found, 0, 0)
        answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(self.address)
        self._transport.sendto(head + data[12:end] + (answer if found else b""), addr)


async def test_a_collector_whose_address_changes_is_found_again(outbox):
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    async with peer() as (first, port):
        agent = Agent(outbox, port)
        server = transport.get_extra_info("sockname")[1]
        agent.uplink._address = f"dns://127.0.0.1:{server}/collector.test:{port}"
        async with agent.running():
            await until(lambda: outbox.wanted == position_of(0, 4))
            second = Peer()
            await second.start(port, "127.0.0.2")
            names.address = "127.0.0.2"
            await first.stop()
            fill(outbox, 1, stream_no=1)
            agent.uplink.written(written(1, 1))
            await until(lambda: second.places == [(1, 0)])
            await second.stop()
    transport.close()
