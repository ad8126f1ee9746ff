"""The shell around the session, against a real gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import replace

import pytest

from edge_agent import commands, events
from edge_agent.capture import Written
from edge_agent.commands import SetMode, Snapped
from edge_agent.conversation import NS, Conversation, LinkDownError, LinkState
from edge_agent.errors import OutboxDamaged
from edge_agent.events import SetWanted
from edge_agent.outbox_reader import OutboxReader
from edge_agent.pipeline import Mode
from edge_agent.rows import position_of
from edge_agent.session import Session
from edge_agent.uplink import Leaving, Uplink, Waits
from protos import telemetry_pb2 as pb
from tests.edge_agent.peer import peer
from tests.edge_agent.samples import HOT, IDENTITY, RATE_HZ, START, fill, new_outbox

WAITS = Waits(heartbeat_s=60, backlog_heartbeat_s=60, retry_min_s=0.01, retry_max_s=0.05)


class Agent:
    """An uplink, and a capture that does at once what it is asked."""

    def __init__(self, outbox, port: int, waits: Waits = WAITS) -> None:
        self.outbox = outbox
        self.asked: list[commands.Command] = []
        self.uplink = Uplink(
            f"127.0.0.1:{port}", outbox.path, waits, rate_hz=RATE_HZ, post=self.post,
            compose_heartbeat=lambda snapped: pb.Heartbeat(tick=1 if snapped.snapshot is None else 2),
        )  # fmt: skip
        self.begin()

    def begin(self) -> None:
        written = Written(position_of(self.outbox.next_stream_no(), 0), 0, START)
        identity = replace(IDENTITY, outbox_id=self.outbox.outbox_id)
        self.uplink.begin(identity, self.outbox.wanted, written)

    def post(self, command: commands.Command) -> None:
        self.asked.append(command)
        match command.command if isinstance(command, commands.ToOutbox) else command:
            case SetWanted(wanted=wanted):
                self.outbox.wanted = wanted
            case events.Mend(position=position, again=again):
                self.outbox.mend(position, again=again)
                self.uplink.put(events.Mended(position))
            case commands.AskSnapshot():
                self.uplink.put(Snapped(None))
            case events.BecomeFork():
                self.outbox.fork()
                self.begin()

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.uplink.run())
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def outbox(tmp_path):
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as opened:
        fill(opened, 5)
        yield opened


async def until(condition, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.005)


async def test_the_outbox_is_sent_acknowledged_and_left_with_goodbye(outbox):
    async with peer() as (collector, port):
        agent = Agent(outbox, port)
        async with agent.running() as task:
            await until(lambda: agent.uplink.current_wanted == position_of(0, 5))
            assert agent.uplink.link.state == "online"
            agent.uplink.leave(Leaving.STOP)
            await asyncio.wait_for(task, 5)
        assert collector.places == [(0, seq) for seq in range(5)]
        assert collector.kinds()[-1] == "goodbye"
        assert agent.asked[0] == SetMode(Mode.ONLINE)
        assert agent.asked[-1] == SetMode(Mode.OFFLINE)
        assert agent.uplink.link.acked_at_ns


async def test_damage_that_a_conversation_meets_is_of_the_file_that_it_reads(outbox, monkeypatch):
    """Though another one has taken its place meanwhile, which is sound."""
    fresh, fetch = replace(IDENTITY, outbox_id=bytes([7] * 16)), OutboxReader.fetch
    async with peer() as (_, port):
        agent = Agent(outbox, port)

        def damaged(*_, **__):
            monkeypatch.setattr(OutboxReader, "fetch", fetch)
            agent.uplink.begin(fresh, 0, Written(position_of(1, 0), 0, START))
            raise OutboxDamaged("found")

        monkeypatch.setattr(OutboxReader, "fetch", damaged)
        async with agent.running():
            await until(lambda: agent.uplink.current_wanted == position_of(0, 5))
        replaced = [command for command in agent.asked if isinstance(command, commands.ToOutbox)]
        assert replaced[0] == commands.ToOutbox(IDENTITY.outbox_id, commands.ReplaceFile("found"))


async def test_what_was_written_before_goodbye_is_sent_before_goodbye(outbox):
    async with peer() as (collector, port):
        agent = Agent(outbox, port)

        def the_log_ends_meanwhile(_: Snapped) -> pb.Heartbeat:
            fill(outbox, 2, stream_no=1)
            agent.uplink.written(Written(position_of(1, 2), 1, START))
            agent.uplink.leave(Leaving.DRAIN)
            return pb.Heartbeat()

        agent.uplink._compose_heartbeat = the_log_ends_meanwhile
        async with agent.running() as task:
            await asyncio.wait_for(task, 5)  # the first heartbeat comes by itself
        assert collector.places == [*((0, seq) for seq in range(5)), (1, 0), (1, 1)]
        assert outbox.wanted == position_of(1, 2)


async def test_heartbeats_guards_watch_and_keyframes_reach_whom_they_concern(outbox):
    async with peer() as (collector, port):
        collector.greeting = [
            pb.Down(blob=pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=HOT.hash, content=HOT.to_bytes())),
            pb.Down(watch=pb.Watch(lease_s=0)),
            pb.Down(keyframe_now=pb.KeyframeNow()),
        ]
        agent = Agent(outbox, port)
        async with agent.running():
            await until(lambda: "heartbeat" in collector.kinds() and events.AskKeyframe() in agent.asked)
            assert events.SetGuards(HOT.hash, HOT.to_bytes()) in agent.asked
            watched = agent.asked.index(SetMode(Mode.WATCHED))
            await until(lambda: SetMode(Mode.ONLINE) in agent.asked[watched:])  # the lease is over
            await collector.stop()
            await until(lambda: agent.uplink.link.state == "offline")
            await collector.start(port)
            await until(lambda: collector.kinds().count("hello") == 2)
        hello = [up.hello for up in collector.received if up.HasField("hello")][1]
        assert hello.guards_hash == HOT.hash


async def test_a_collector_that_comes_back_gets_the_rest(outbox):
    async with peer() as (collector, port):
        await collector.stop()
        agent = Agent(outbox, port)
        async with agent.running():
            await until(lambda: "UNAVAILABLE" in agent.uplink.link.trouble)
            collector.acks = False
            await collector.start(port)
            await collector.until(lambda: len(collector.places) == 5)
            await collector.stop()
            collector.acks = True
            await collector.start(port)
            await until(lambda: outbox.wanted == position_of(0, 5))
            fill(outbox, 2, stream_no=1)
            agent.uplink.written(Written(position_of(1, 2), 1, START))
            await until(lambda: outbox.wanted == position_of(1, 2))
        assert collector.places == [(0, seq) for seq in range(5)] * 2 + [(1, 0), (1, 1)]


async def test_a_refusal_is_told_and_tried_again(outbox):
    async with peer() as (collector, port):
        collector.refuse = pb.Refuse(code=pb.Refuse.CODE_IDENTITY, text="nobody knows you")
        agent = Agent(outbox, port)
        async with agent.running():
            await until(lambda: collector.conversations >= 2)
            assert agent.uplink.link.trouble == "refused: nobody knows you"
            collector.refuse = None
            await until(lambda: outbox.wanted == position_of(0, 5))


async def test_what_is_no_collector_is_told(outbox, monkeypatch):
    monkeypatch.setattr("edge_agent.conversation.WELCOME_S", 0.2)
    monkeypatch.setattr("edge_agent.conversation.TICK_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:  # takes connections and says nothing
        agent = Agent(outbox, other.getsockname()[1])
        async with agent.running():
            await until(lambda: "is this a collector?" in agent.uplink.link.trouble)


async def test_a_twin_is_asked_only_once_to_become_another(outbox):
    async with peer() as (collector, port):
        collector.greeting = [pb.Down(fork=pb.Fork())]
        before = outbox.outbox_id
        agent = Agent(outbox, port)
        async with agent.running():
            await until(lambda: outbox.outbox_id != before)
            collector.greeting = []
            await until(lambda: outbox.wanted == position_of(0, 5))
        asked = [command.command for command in agent.asked if isinstance(command, commands.ToOutbox)]
        assert asked.count(events.BecomeFork()) == 1


async def test_a_parked_vehicle_that_finds_its_twin_sends_everything_before_it_sleeps(outbox):
    """Its fork may be there before the conversation is over that ends for it."""
    async with peer() as (collector, port):
        stored = pb.Position(stream_no=0, seq=2)
        collector.welcome = pb.Welcome(
            window_bytes=1 << 20, max_block_version=255, stored=stored, stored_stream_id=b"a twin's"
        )
        agent = Agent(outbox, port)
        agent.uplink.leave(Leaving.PARK)
        async with agent.running():
            await until(lambda: collector.conversations == 1)
            collector.welcome.ClearField("stored")
            await until(lambda: agent.uplink.link.state == "parked")
        assert collector.places == [(0, seq) for seq in range(5)]


async def test_a_fork_that_comes_once_the_file_was_replaced_is_not_the_new_ones(outbox):
    async with peer() as (collector, port):
        agent = Agent(outbox, port)
        fresh = replace(IDENTITY, outbox_id=bytes([7] * 16))
        agent.uplink._post = agent.asked.append  # capture: asked to fork a file that it has no more
        async with agent.running():
            await until(lambda: collector.places[4:])
            agent.uplink.put(events.Received(pb.Down(fork=pb.Fork()), 0))
            agent.uplink.begin(fresh, 0, Written(position_of(1, 0), 0, START))
            await until(lambda: fresh.outbox_id in [up.hello.outbox_id for up in collector.received])


async def test_broken_rows_are_mended_on_the_way(outbox):
    outbox._db.execute("UPDATE batches SET content = x'00' WHERE position = 1")
    async with peer() as (collector, port):
        agent = Agent(outbox, port)
        async with agent.running():
            await until(lambda: "gap" in collector.kinds() and outbox.wanted == position_of(0, 5))
        assert collector.places == [(0, 0), (0, 3), (0, 4)]


async def test_a_parked_vehicle_says_goodbye_sleeps_and_comes_back(outbox):
    async with peer() as (collector, port):
        agent = Agent(outbox, port)
        async with agent.running():
            await until(lambda: outbox.wanted == position_of(0, 5))
            agent.uplink.leave(Leaving.PARK)
            await until(lambda: agent.uplink.link.state == "parked")
            assert collector.received[-1].goodbye.reason == pb.Goodbye.REASON_PARKED
            agent.uplink.leave(None)
            await until(lambda: collector.kinds().count("hello") == 2)


async def test_what_is_written_while_the_vehicle_is_parked_is_sent_too(outbox):
    """Its disk took nothing as it parked."""
    async with peer() as (collector, port):
        agent = Agent(outbox, port)
        async with agent.running():
            agent.uplink.leave(Leaving.PARK)
            await until(lambda: agent.uplink.link.state == "parked")
            fill(outbox, 2, stream_no=1)
            agent.uplink.written(Written(position_of(1, 2), 1, START))
            await until(lambda: outbox.wanted == position_of(1, 2) and agent.uplink.link.state == "parked")
        assert collector.kinds().count("goodbye") == 2


async def test_a_link_that_takes_nothing_for_too_long_is_given_up(outbox, monkeypatch):
    class Call:
        async def write(self, _message):
            await asyncio.Event().wait()

    monkeypatch.setattr("edge_agent.conversation.TICK_S", 0.01)
    monkeypatch.setattr("edge_agent.conversation.WELCOME_S", 0.05)
    with OutboxReader(outbox.path) as reader:
        session = Session(rate_hz=RATE_HZ, heartbeat_ns=NS, backlog_heartbeat_ns=NS)
        one = Conversation(
            Call(),
            reader,
            session,
            LinkState(),
            wanted=0,
            post=lambda _: None,
            compose_heartbeat=lambda _: pb.Heartbeat(),
        )
        with pytest.raises(LinkDownError, match="taken nothing for"):
            await one._send(pb.Up())


async def test_stopping_does_not_wait_for_a_collector_that_is_not_there(outbox):
    async with peer() as (collector, port):
        await collector.stop()
        agent = Agent(outbox, port)
        async with agent.running() as task:
            await until(lambda: agent.uplink.link.trouble != "")
            agent.uplink.leave(Leaving.STOP)
            await asyncio.wait_for(task, 2)


async def test_a_vehicle_that_parks_where_there_is_no_link_sleeps_only_once_everything_is_sent(outbox):
    async with peer() as (collector, port):
        await collector.stop()
        agent = Agent(outbox, port)
        async with agent.running():
            agent.uplink.leave(Leaving.PARK)
            await until(lambda: agent.uplink.link.trouble != "")
            await collector.start(port)
            await until(lambda: agent.uplink.link.state == "parked")
        assert outbox.wanted == position_of(0, 5)


async def test_a_network_that_comes_back_is_tried_at_once(outbox):
    async with peer() as (collector, port):
        await collector.stop()
        agent = Agent(outbox, port, replace(WAITS, retry_max_s=3600))
        agent.uplink._retry._chance = lambda: 1.0
        agent.uplink._retry._failures = 16
        async with agent.running():
            await until(lambda: agent.uplink.link.trouble != "")
            await collector.start(port)
            agent.uplink.network_changed()
            await until(lambda: outbox.wanted == position_of(0, 5))
