"""Buses are read until they end; one that fails is opened again, and nobody else notices."""

from __future__ import annotations

import contextlib
import threading
import time

import can
import numpy as np
import pytest

from decoder.frames import EXTENDED, Frames
from edge_agent import clock
from edge_agent.bus import BusReader, Inbox, open_bus
from edge_agent.config import BusConfig
from edge_agent.errors import AgentError


def frames(count: int) -> Frames:
    return Frames.from_rows([(at, 0, at, b"") for at in range(count)])


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


class Flaky(can.BusABC):
    """An adapter that is pulled out and plugged in again."""

    opened = 0

    def __init__(self, channel, can_filters=None, **_):
        Flaky.opened += 1
        self.reads = 0
        super().__init__(channel, can_filters=can_filters)

    def _recv_internal(self, timeout):  # noqa: ARG002
        self.reads += 1
        if self.reads > 2:
            raise OSError(19, "No such device")
        return can.Message(arbitration_id=0x123, is_extended_id=False), True

    def send(self, msg, timeout=None):
        raise NotImplementedError


def test_a_bus_that_fails_is_opened_again(monkeypatch):
    monkeypatch.setattr(
        "edge_agent.bus.open_bus", lambda config, filters: Flaky(config.channel, can_filters=filters)
    )
    monkeypatch.setattr("edge_agent.bus.REOPEN_S", (0.01, 0.02))
    Flaky.opened = 0
    config = BusConfig(interface="flaky", channel="x", dbc=(), name="x", options={})
    with reading(config, own_clock=False) as (reader, _):
        until(lambda: Flaky.opened > 3)
        until(lambda: "No such device" in reader.state.trouble)


def test_what_cannot_be_opened_says_which_bus_and_why():
    config = BusConfig(interface="no-such", channel="x", dbc=(), name="left", options={})
    with pytest.raises(AgentError, match=r"\[\[bus\]\] left: .*'no-such'"):
        open_bus(config)


def test_a_full_inbox_drops_the_oldest_of_a_bus_and_counts_them():
    inbox = Inbox(frames_max=100)
    for _ in range(5):
        inbox.put(0, frames(40))
    assert sum(len(part) for _, part in inbox.take(0)) == 80
    assert inbox.dropped == 120


def test_a_full_inbox_holds_up_a_log():
    inbox = Inbox(frames_max=100, waits=True)
    thread = threading.Thread(target=lambda: [inbox.put(0, frames(40)) for _ in range(10)])
    thread.start()
    total = 0
    while total < 400:
        items = inbox.take(1.0)
        assert sum(len(part) for _, part in items) <= 100
        total += sum(len(part) for _, part in items)
    thread.join()
    assert inbox.dropped == 0
    assert np.iinfo(np.int64).max > total
