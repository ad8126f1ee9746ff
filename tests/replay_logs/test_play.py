"""Playing a log onto a bus."""

from __future__ import annotations

import time
from itertools import count

import can
import pytest

from replay_logs.play import Played, play
from replay_logs.read import open_log

_names = count()


@pytest.fixture
def buses():
    """A bus to play onto, and one that hears it."""
    channel = f"play-{next(_names)}"
    with (
        can.Bus(interface="virtual", channel=channel) as here,
        can.Bus(interface="virtual", channel=channel, preserve_timestamps=True) as there,
    ):
        yield here, there


def written(tmp_path, text):
    path = tmp_path / "a.log"
    path.write_text(text)
    return open_log(path)


def test_every_frame_arrives_in_order(tmp_path, buses):
    here, there = buses
    log = written(tmp_path, "".join(f"({k}.0) can0 123#{k:02X}\n" for k in range(50)))
    played, seen = Played(), []
    play(log, here, speed=0, fd=False, played=played, progress=lambda log_s, _: seen.append(log_s))
    assert [there.recv(1).data[0] for _ in range(50)] == list(range(50))
    assert played.sent == 50
    assert seen == [float(k) for k in range(50)]


def test_speed_compresses_time(tmp_path, buses):
    here, _ = buses
    log = written(tmp_path, "(100.0) can0 1#00\n(101.0) can0 1#00\n(102.0) can0 1#00\n")
    started = time.monotonic()
    play(log, here, speed=10, fd=False, played=Played(), progress=lambda *_: None)
    assert 0.19 < time.monotonic() - started < 1.5


def test_what_cannot_be_sent_is_left_out_and_said(tmp_path, buses):
    here, _ = buses
    log = written(tmp_path, "(1.0) can0 20000080#\n(1.0) can0 123##1" + "00" * 12 + "\n(1.0) can0 124#R\n")
    played = Played()
    play(log, here, speed=0, fd=False, played=played, progress=lambda *_: None)
    assert played.sent == 1
    assert [line.split(":")[0] for line in played.left_out] == [
        "1 error frames left out",
        "1 CAN FD frames left out",
    ]


class FullBus(can.BusABC):
    """A bus whose queue is full for the first few frames it is offered."""

    def __init__(self, refusals):
        super().__init__("full")
        self.refusals, self.sent = refusals, []

    def send(self, msg, timeout=None):  # noqa: ARG002
        if self.refusals:
            self.refusals -= 1
            raise can.CanOperationError("No buffer space available")
        self.sent.append(msg)


def test_a_full_queue_is_waited_for(tmp_path):
    with FullBus(3) as bus:
        play(
            written(tmp_path, "(1.0) c 1#00\n(1.0) c 2#00\n"),
            bus,
            speed=0,
            fd=False,
            played=Played(),
            progress=lambda *_: None,
        )
        assert [message.arbitration_id for message in bus.sent] == [1, 2]


def test_a_bus_that_takes_nothing_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr("replay_logs.play._FULL_RETRIES", 3)
    with FullBus(10**9) as bus, pytest.raises(can.CanOperationError, match="No buffer space"):
        play(
            written(tmp_path, "(1.0) c 1#00\n"),
            bus,
            speed=0,
            fd=False,
            played=Played(),
            progress=lambda *_: None,
        )
