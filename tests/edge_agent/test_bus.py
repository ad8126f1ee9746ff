"""Buses are read until they end; one that fails is opened again, and nobody else notices."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import threading
import time

import can
import pytest
import structlog

from decoder.frames import EXTENDED, Frames
from edge_agent import clock
from edge_agent.bus import BusReader, open_bus, remedy
from edge_agent.bus_state import BUS_OFF, RESTARTED
from edge_agent.config import BusConfig
from edge_agent.errors import AgentError
from edge_agent.inbox import Inbox
from tests.edge_agent.wire import FRAME, Wire, WireBus, error_frame, lost


def until(condition, *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def collected(inbox: Inbox, *, until_ended: bool = False, count: int = 0) -> Frames:
    parts: list[Frames] = []
    ended = False
    deadline = time.monotonic() + 10
    while not ended and (until_ended or sum(map(len, parts)) < count):
        assert time.monotonic() < deadline
        for _, part in inbox.take(0.1):
            ended = ended or part is None
            parts += [part] if part is not None else []
    return Frames.concatenate(parts)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "drive.log"
    lines = [f"(1700000000.{at:06d}) can0 123#{at % 256:02X}" for at in range(0, 500_000, 1000)]
    path.write_text("\n".join([*lines, "(1700000001.000000) can0 18FEF100#0102"]) + "\n")
    return path


@contextlib.contextmanager
def reading(config: BusConfig, *, filters=((0x123, 0x7FF, False),), own_clock: bool):
    inbox = Inbox(waits=own_clock)
    reader = BusReader(3, config, filters, inbox, own_clock=own_clock)
    reader.start()
    yield reader, inbox
    reader.stop()
    inbox.close()
    reader.join(5)


def test_a_log_is_read_to_its_end_with_its_own_stamps(log):
    config = BusConfig(interface="replay", channel=str(log), dbc=(), name="x", options={"speed": 0})
    wanted = ((0x123, 0x7FF, False), (0x18FEF100, 0x1FFFFFFF, True))
    with reading(config, filters=wanted, own_clock=True) as (reader, inbox):
        found = collected(inbox, until_ended=True)
        until(lambda: reader.state.state == "ended")
    assert len(found) == 501 == reader.state.frames
    assert found.timestamps_ns[0] == 1_700_000_000 * 10**9
    assert set(found.buses.tolist()) == {3}
    assert found.ids[-1] == 0x18FEF100 | EXTENDED
    assert found.lengths.tolist()[-1] == 2


def test_frames_that_nobody_wants_do_not_come(log):
    config = BusConfig(interface="replay", channel=str(log), dbc=(), name="x", options={"speed": 0})
    with reading(config, filters=((0x7, 0x7FF, False),), own_clock=True) as (_, inbox):
        assert len(collected(inbox, until_ended=True)) == 0


def test_a_log_that_is_not_there_ends_with_its_reason(tmp_path):
    config = BusConfig(interface="replay", channel=str(tmp_path / "none.log"), dbc=(), name="x", options={})
    with reading(config, own_clock=True) as (reader, inbox):
        assert len(collected(inbox, until_ended=True)) == 0
        assert "none.log" in reader.state.trouble


def test_a_live_bus_is_stamped_with_boot_time_and_error_frames_are_counted():
    config = BusConfig(interface="virtual", channel="edge-agent-live", dbc=(), name="x", options={})
    with (
        reading(config, own_clock=False) as (reader, inbox),
        can.Bus(interface="virtual", channel="edge-agent-live") as peer,
    ):
        until(lambda: reader.state.state == "up")
        before = clock.now().boot_ns
        peer.send(can.Message(arbitration_id=0x123, data=[1, 2], is_extended_id=False, timestamp=5e9))
        peer.send(can.Message(is_error_frame=True, is_extended_id=False))
        peer.send(can.Message(arbitration_id=0x123, is_remote_frame=True, is_extended_id=False))
        found = collected(inbox, count=1)
        assert before - 2 * 10**9 < found.timestamps_ns[0] <= clock.now().boot_ns
        assert len(found) == 1


LIVE = BusConfig(interface="socketcan", channel="can0", dbc=(), name="can0", options={})


@pytest.fixture
def wire(monkeypatch):
    made = Wire()
    monkeypatch.setattr("edge_agent.bus.open_bus", made.open)
    monkeypatch.setattr("edge_agent.bus.REOPEN_S", (0.01, 0.02))
    return made


@pytest.mark.parametrize("code", [errno.ENODEV, errno.ENETDOWN, errno.ENXIO, errno.EIO])
def test_an_adapter_that_is_pulled_out_and_plugged_in_again_goes_on(wire, code):
    with reading(LIVE, own_clock=False) as (reader, inbox):
        wire.carry(FRAME)
        assert len(collected(inbox, count=1)) == 1
        wire.absent = OSError(errno.ENODEV, "No such device")
        wire.carry(lost(code))
        until(lambda: reader.state.state == "down")
        until(lambda: "No such device" in reader.state.trouble)
        wire.absent = None
        wire.carry(FRAME, FRAME)
        assert len(collected(inbox, count=2)) == 2
        until(lambda: reader.state.state == "up")
        assert (reader.state.times_down, reader.state.trouble, reader.state.frames) == (1, "", 3)


def test_what_came_right_before_the_adapter_was_pulled_out_is_kept(wire):
    wire.carry(FRAME, FRAME, lost(errno.ENODEV))
    with reading(LIVE, own_clock=False) as (reader, inbox):
        assert len(collected(inbox, count=2)) == 2
        until(lambda: reader.state.times_down == 1)
        assert reader.state.frames == 2


def test_an_interface_that_is_down_is_told_once_and_tried_until_it_is_up(wire):
    """Its socket opens, and fails at its first read."""
    with structlog.testing.capture_logs() as lines, reading(LIVE, own_clock=False) as (reader, inbox):
        wire.carry(FRAME)
        collected(inbox, count=1)
        wire.is_down = True
        tried = wire.opened
        until(lambda: wire.opened > tried + 5)
        assert reader.state.times_down == 1
        assert reader.state.state == "down"
        wire.is_down = False
        until(lambda: reader.state.state == "up")
    assert [line["event"] for line in lines] == ["bus is open", "bus is down", "bus is open"]


def test_an_interface_that_came_up_is_opened_without_waiting(wire, monkeypatch):
    monkeypatch.setattr("edge_agent.bus.REOPEN_S", (60.0, 60.0))
    wire.absent = OSError(errno.ENODEV, "No such device")
    with reading(LIVE, own_clock=False) as (reader, _):
        until(lambda: wire.opened == 1)
        wire.absent = None
        reader.open_again()
        until(lambda: reader.state.state == "up")


def test_a_bus_that_is_off_is_counted_and_its_restart_is_noticed(wire):
    with reading(LIVE, own_clock=False) as (reader, _):
        wire.carry(FRAME, error_frame(BUS_OFF))
        until(lambda: reader.state.state == "bus_off")
        wire.carry(error_frame(RESTARTED))
        until(lambda: reader.state.state == "up")
        assert (reader.state.times_bus_off, reader.state.error_frames, reader.state.times_down) == (1, 2, 0)


def test_nothing_but_error_frames_holds_up_neither_the_count_nor_the_end(wire):
    with reading(LIVE, own_clock=False) as (reader, _):
        over = threading.Event()
        storm = threading.Thread(
            target=lambda: [wire.carry(error_frame(0x8)) for _ in iter(over.is_set, True)]
        )
        storm.start()
        until(lambda: reader.state.error_frames > 2000 and reader.state.state == "silent", timeout_s=20)
        reader.stop()
        reader.join(5)
        ended = not reader._thread.is_alive()
        over.set()
        storm.join()
        assert ended


def test_what_other_adapters_call_an_error_frame_is_only_counted(wire):
    config = dataclasses.replace(LIVE, interface="pcan")
    with reading(config, own_clock=False) as (reader, _):
        wire.carry(error_frame(BUS_OFF))
        until(lambda: reader.state.error_frames == 1)
        assert reader.state.times_bus_off == 0


def test_what_the_kernel_had_no_room_for_is_counted(wire, monkeypatch):
    """Any datagram socket of Linux counts what its queue could not take."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        monkeypatch.setattr("edge_agent.bus.QUEUE_BYTES", 4096)
        monkeypatch.setattr(WireBus, "socket", receiver, raising=False)
        with reading(LIVE, own_clock=False) as (reader, _):
            until(lambda: reader.state.state == "up")
            for _ in range(1000):
                sender.sendto(bytes(16), receiver.getsockname())
            until(lambda: 900 < reader.state.frames_overrun < 1000)
            told = reader.state.frames_overrun
            sender.sendto(bytes(16), receiver.getsockname())
            until(lambda: reader.state.frames_overrun == told + 1)


def test_what_cannot_be_opened_says_which_bus_and_why():
    config = BusConfig(interface="no-such", channel="x", dbc=(), name="left", options={})
    with pytest.raises(AgentError, match=r"\[\[bus\]\] left: .*'no-such'"):
        open_bus(config)


def test_a_socketcan_interface_that_is_not_there_says_what_to_do():
    """Without CAN in the kernel, or with it and without the interface."""
    config = BusConfig(interface="socketcan", channel="can-no-such", dbc=(), name="left", options={})
    with pytest.raises(AgentError, match=r"modprobe can_raw|ip link show type can"):
        open_bus(config)


def test_an_interface_that_is_down_says_how_to_bring_it_up():
    config = dataclasses.replace(LIVE, interface="socketcan", channel="can7")
    error = can.CanOperationError("Error receiving: Network is down", errno.ENETDOWN)
    assert "ip link set can7 up type can bitrate" in remedy(error, config)
    assert remedy(error, dataclasses.replace(config, interface="pcan")) == ""
    assert remedy(OSError(errno.EIO, "I/O error"), config) == ""
