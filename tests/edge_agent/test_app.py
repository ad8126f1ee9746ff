"""The whole agent: a log in, everything acknowledged, and the clear words it has for what goes wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import time
from pathlib import Path

import can
import pytest
import structlog

from codec.priors import built_in, make_prior
from codec.stream_decoder import StreamDecoder
from edge_agent.app import Agent
from edge_agent.bus_state import BUS_OFF
from edge_agent.choices import make_plan
from edge_agent.config_file import parse_config
from edge_agent.errors import OutboxError
from edge_agent.outbox_file import lock_outbox
from edge_agent.outbox_reader import OutboxReader
from edge_agent.reports import Reports
from edge_agent.status import read_status
from edge_agent.uplink import Uplink
from protos import telemetry_pb2 as pb
from tests.edge_agent.peer import peer
from tests.edge_agent.samples import everything
from tests.edge_agent.wire import FRAME, Wire, error_frame

DBC = """VERSION ""
BU_: ECU
BO_ 291 Motion: 8 ECU
 SG_ VehicleSpeed : 0|16@1+ (0.01,0) [0|250] "km/h" ECU
 SG_ Gear : 16|4@1+ (1,0) [0|7] "" ECU
"""


def written_log(folder: Path, seconds: int) -> Path:
    """100 frames a second of a car that speeds up."""
    lines = [
        f"({1_700_000_000 + at / 100:.6f}) can0 123#{struct.pack('<HB', at * 3 % 20_000, at // 500 % 8).hex()}0000000000"
        for at in range(seconds * 100)
    ]
    (folder / "drive.log").write_text("\n".join(lines) + "\n")
    (folder / "car.dbc").write_text(DBC)
    return folder / "drive.log"


def configured(
    folder: Path,
    port: int,
    *,
    interface: str = "replay",
    channel: str = "drive.log",
    speed: float = 0,
    more: str = "",
    heartbeat_s: float = 60,
    uplink: str = "",
):
    text = f"""
[vehicle]
id = "asset:test"
[collector]
address = "127.0.0.1:{port}"
[outbox]
path = "outbox.db"
synchronous = "NORMAL"
[uplink]
retry_min_s = 0.02
retry_max_s = 0.1
drain_s = 5
heartbeat_s = {heartbeat_s}
{uplink}
[[bus]]
interface = "{interface}"
channel = "{channel}"
dbc = ["car.dbc"]
{f"options = {{ speed = {speed} }}" if interface == "replay" else ""}
{more}
"""
    config = parse_config(text, folder / "agent.toml", {})
    plan, _ = make_plan(config)
    return config, plan


async def until(condition, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)


async def test_a_log_is_sampled_stored_sent_and_acknowledged(tmp_path):
    written_log(tmp_path, 65)
    async with peer() as (collector, port):
        config, plan = configured(tmp_path, port)
        assert await asyncio.wait_for(Agent(config, plan).run(), 20) == 0
    state = read_status(config.outbox.path)
    assert state["outbox"]["batches"] == 0
    assert state["records"]["count"] == pytest.approx(65 * 50, abs=2)
    assert collector.kinds()[-1] == "goodbye"
    rows, _ = everything(config.outbox.path)
    assert [(row.stream_no, row.seq) for row in rows] == collector.places
    with OutboxReader(config.outbox.path) as reader:
        stream, _ = reader.stream(0)
    decoder = StreamDecoder(plan.schema, stream.facts)
    sent = [up.batch for up in collector.received if up.HasField("batch")]
    assert (
        sum(len(decoder.decode(batch.seq, batch.block).records) for batch in sent)
        == state["records"]["count"]
    )


async def test_a_prior_that_came_is_kept_and_what_the_next_run_starts_from(tmp_path):
    written_log(tmp_path, 20)
    async with peer() as (collector, port):
        config, plan = configured(tmp_path, port)
        base, rows = built_in(), len(plan.schema.signals)
        trained = make_prior(base.contexts.repeat(rows, axis=0), base.weights.repeat(rows, axis=0), base)
        collector.welcome.prior_hash = trained.hash
        blob = pb.Blob(kind=pb.BLOB_KIND_PRIOR, hash=trained.hash, content=trained.content)
        collector.greeting = [pb.Down(blob=blob)]
        assert await asyncio.wait_for(Agent(config, plan).run(), 20) == 0
        assert read_status(config.outbox.path)["prior"] == {"hash": trained.hash.hex(), "refused": 0}
        collector.greeting = []
        assert await asyncio.wait_for(Agent(config, plan).run(), 20) == 0
    assert [up.hello.prior_hash for up in collector.received if up.HasField("hello")] == [b"", trained.hash]
    assert collector.received[-1].HasField("goodbye")
    assert [up.stream.prior_hash for up in collector.received if up.HasField("stream")][-1] == trained.hash


async def test_an_uplink_that_met_a_bug_is_started_again(tmp_path, monkeypatch):
    written_log(tmp_path, 20)
    connect, tries = Uplink._connect, []

    async def broken_at_first(uplink):
        tries.append(uplink)
        if len(tries) < 3:
            raise ZeroDivisionError
        return await connect(uplink)

    monkeypatch.setattr(Uplink, "_connect", broken_at_first)
    async with peer() as (collector, port):
        config, plan = configured(tmp_path, port)
        assert await asyncio.wait_for(Agent(config, plan).run(), 20) == 0
    assert collector.kinds()[-1] == "goodbye"
    assert read_status(config.outbox.path)["outbox"]["batches"] == 0


async def test_a_signal_ends_it_in_time_with_everything_stored_and_sent(tmp_path):
    written_log(tmp_path, 600)
    async with peer() as (collector, port):
        config, plan = configured(tmp_path, port, speed=20)
        running = asyncio.create_task(Agent(config, plan).run())
        await collector.until(lambda: len(collector.places) >= 2)
        begun = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 5) == 0
        assert time.monotonic() - begun < 5
    assert list(tmp_path.glob("outbox.db-wal")) == [], "the database is left as one file"
    rows, _ = everything(config.outbox.path)
    assert [(row.stream_no, row.seq) for row in rows] == collector.places
    assert collector.kinds()[-1] == "goodbye"


async def test_without_a_collector_it_ends_in_time_too_and_the_next_run_sends_the_rest(tmp_path):
    written_log(tmp_path, 20)
    config, plan = configured(tmp_path, 1, more="")
    running = asyncio.create_task(Agent(config, plan).run())
    await until(
        lambda: (
            (read_status(config.outbox.path) or {"buses": [{"state": ""}]})["buses"][0]["state"] == "ended"
        )
    )
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(running, 5) == 0
    async with peer() as (collector, port):
        config, plan = configured(tmp_path, port)
        await asyncio.wait_for(Agent(config, plan).run(), 20)
        assert {stream_no for stream_no, _ in collector.places} == {0, 1}
        late = [up.batch.late for up in collector.received if up.HasField("batch")]
        assert late[0]


async def test_a_live_bus_that_falls_silent_parks_the_vehicle(tmp_path):
    written_log(tmp_path, 1)
    async with peer() as (collector, port):
        config, plan = configured(
            tmp_path, port, interface="virtual", channel="edge-agent-app", more="[sampling]\npark_after_s = 1"
        )
        running = asyncio.create_task(Agent(config, plan).run())
        with can.Bus(interface="virtual", channel="edge-agent-app") as car:
            for _ in range(20):
                car.send(can.Message(arbitration_id=0x123, data=bytes(8), is_extended_id=False))
                await asyncio.sleep(0.02)
            await collector.until(lambda: "goodbye" in collector.kinds())
            until_parked = len(collector.places)
            assert until_parked >= 1
            car.send(can.Message(arbitration_id=0x123, data=bytes(8), is_extended_id=False))
            await collector.until(lambda: collector.kinds().count("hello") == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 5) == 0


async def test_a_bus_that_is_down_is_no_parked_vehicle_and_the_heartbeat_says_what_it_is(
    tmp_path, monkeypatch
):
    wire = Wire()
    monkeypatch.setattr("edge_agent.bus.open_bus", wire.open)
    monkeypatch.setattr("edge_agent.bus.REOPEN_S", (0.01, 0.02))
    written_log(tmp_path, 1)
    with structlog.testing.capture_logs() as told:
        await _down_and_back(tmp_path, wire, told)


async def test_a_status_that_cannot_be_written_costs_neither_the_watchdog_nor_a_goodbye(
    tmp_path, monkeypatch
):
    wire = Wire()
    monkeypatch.setattr("edge_agent.bus.open_bus", wire.open)
    monkeypatch.setattr(Reports, "_outbox_figures", lambda *_: 1 / 0)
    monkeypatch.setattr("edge_agent.app.STATUS_S", 0.05)
    said = []
    monkeypatch.setattr("edge_agent.app.Notifier.send", lambda _, **state: said.append(state))
    written_log(tmp_path, 1)
    with structlog.testing.capture_logs() as told:
        async with peer() as (_, port):
            config, plan = configured(tmp_path, port, interface="socketcan", channel="can7")
            running = asyncio.create_task(Agent(config, plan).run())
            await until(lambda: sum("the status could not be written" in str(line) for line in told) > 2)
            await until(lambda: sum("WATCHDOG" in state for state in said) > 2)
            monkeypatch.undo()
            os.kill(os.getpid(), signal.SIGTERM)
            assert await asyncio.wait_for(running, 15) == 0


async def _down_and_back(tmp_path, wire, told):
    async with peer() as (collector, port):
        more = "[sampling]\npark_after_s = 3\n"
        config, plan = configured(
            tmp_path, port, interface="socketcan", channel="can7", more=more, heartbeat_s=0.1
        )
        running = asyncio.create_task(Agent(config, plan).run())

        def bus() -> pb.BusHealth:
            beats = [up.heartbeat for up in collector.received if up.HasField("heartbeat")]
            return beats[-1].health.buses[0] if beats else pb.BusHealth()

        wire.carry(FRAME, can.Message(arbitration_id=0x55, is_extended_id=False), error_frame(BUS_OFF), FRAME)
        await collector.until(lambda: bus().frames == 3)
        await collector.until(lambda: bus().state == "up" and bus().frames_unknown == 1)
        assert (bus().error_frames, bus().times_bus_off, bus().trouble) == (1, 1, "")
        wire.is_down = True
        await until(lambda: "the buses are silent" in "".join(map(str, told)))
        await collector.until(lambda: bus().state == "down" and "Network is down" in bus().trouble)
        assert "goodbye" not in collector.kinds()
        wire.is_down = False
        await collector.until(lambda: "goodbye" in collector.kinds())
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 5) == 0


async def test_an_outbox_in_use_ends_it_with_a_clear_word(tmp_path):
    written_log(tmp_path, 1)
    config, plan = configured(tmp_path, 1)
    descriptor = lock_outbox(config.outbox.path)
    with pytest.raises(OutboxError, match="another edge-agent is using it"):
        await asyncio.wait_for(Agent(config, plan).run(), 5)
    os.close(descriptor)
