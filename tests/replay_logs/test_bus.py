"""The interface "replay": a log that python-can reads as if it were a bus."""

from __future__ import annotations

import threading
import time
from importlib.resources import files
from itertools import pairwise

import can
import pytest

from replay_logs.read import open_log

CITY = str(files("replay_logs") / "drives" / "city.log.gz")


@pytest.fixture
def log(tmp_path):
    """100 frames, 10 ms apart, on two channels, with two identifiers."""
    path = tmp_path / "drive.log"
    path.write_text(
        "".join(f"(1000.{k * 10_000:06d}) can{k % 2} {0x100 + k % 4:03X}#{k:02X}\n" for k in range(100))
    )
    return str(path)


def opened(log, **options):
    return can.Bus(interface="replay", channel=log, **options)


def drain(bus, timeout=0.5):
    frames = []
    while not bus.ended:
        message = bus.recv(timeout)
        if message is not None:
            frames.append(message)
    return frames


def numbers(frames):
    return [message.data[0] for message in frames]


def test_it_gives_the_logs_frames_with_the_logs_stamps(log):
    with opened(log, speed=0) as bus:
        frames = drain(bus)
    assert [(m.timestamp, m.arbitration_id, m.data) for m in frames] == [
        (m.timestamp, m.arbitration_id, m.data) for m in open_log(log)
    ]


def test_time_runs_as_fast_as_asked(log):
    started = time.monotonic()
    with opened(log, speed=5) as bus:
        assert numbers(drain(bus)) == list(range(100))
    assert 0.15 < time.monotonic() - started < 2


def test_recv_waits_out_its_timeout(log):
    with opened(log, speed=0.01) as bus:
        assert bus.recv(0) is not None
        started = time.monotonic()
        assert bus.recv(0.05) is None
        assert time.monotonic() - started >= 0.049
        assert bus.recv(0) is None


def test_after_the_last_frame_it_has_ended_and_stays_silent(log):
    with opened(log, speed=0) as bus:
        assert not bus.ended
        drain(bus)
        assert bus.ended
        started = time.monotonic()
        assert bus.recv(0.05) is None
        assert time.monotonic() - started >= 0.049


def test_who_joins_late_finds_the_drive_where_it_now_is(log):
    epoch = time.time_ns() / 1e9 - 0.5 / 10  # half of the log is over at 10 times real time
    with opened(log, speed=10, epoch=epoch) as bus:
        found = numbers(drain(bus))
    assert found == list(range(found[0], 100))
    assert 50 <= found[0] < 90


def test_who_joins_after_the_end_finds_nothing(log):
    with opened(log, speed=10, epoch=1_000_000_000) as bus:
        assert bus.recv(0) is None
        assert bus.ended


def test_who_joins_early_waits(log):
    epoch = time.time_ns() / 1e9 + 0.1
    with opened(log, speed=1000, epoch=epoch) as bus:
        assert bus.recv(0) is None
        assert bus.recv(5).data[0] == 0
        assert time.time_ns() / 1e9 >= epoch


def test_a_slow_reader_misses_nothing(log):
    with opened(log, speed=1000) as bus:
        first = bus.recv(1)
        time.sleep(0.05)  # the whole log is due by now
        assert numbers([first, *drain(bus)]) == list(range(100))


def test_a_loop_goes_on_with_stamps_that_go_forward(log):
    with opened(log, speed=0, loop=True) as bus:
        frames = [bus.recv(1) for _ in range(250)]
        assert not bus.ended
    stamps = [message.timestamp for message in frames]
    assert numbers(frames) == [k % 100 for k in range(250)]
    assert all(b - a == pytest.approx(0.01, abs=1e-6) for a, b in pairwise(stamps))


def test_who_joins_a_loop_after_days_finds_it_running(log):
    started = time.monotonic()
    with opened(log, speed=1, loop=True, epoch=time.time_ns() / 1e9 - 864_000) as bus:
        message = bus.recv(1)
    assert message.timestamp == pytest.approx(1000 + 864_000, abs=1)
    assert time.monotonic() - started < 5


def test_a_long_silence_and_a_backward_stamp_do_not_stop_it(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("(5.0) can0 001#00\n(100005.0) can0 002#01\n(-7.0) can0 003#02\n(100005.0) can0 004#03\n")
    with opened(str(path), speed=1000) as bus:
        frames = drain(bus)
    assert [m.timestamp for m in frames] == [5.0, 100005.0, -7.0, 100005.0]


def test_filters_hold_before_and_after_the_start(log):
    wanted = [{"can_id": 0x102, "can_mask": 0x7FF, "extended": False}]
    with opened(log, speed=0, can_filters=wanted) as bus:
        assert bus.recv(1).arbitration_id == 0x102
        bus.set_filters([{"can_id": 0x103, "can_mask": 0x7FF, "extended": False}])
        assert {message.arbitration_id for message in drain(bus)} == {0x103}


def test_one_channel_of_several_can_be_chosen(log):
    with opened(log, speed=0, log_channel="can1") as bus:
        assert numbers(drain(bus)) == list(range(1, 100, 2))


def test_options_may_come_as_text_from_a_configuration_file(log):
    with opened(log, speed="0", loop="false", epoch="") as bus:
        assert len(drain(bus)) == 100


def test_it_cannot_be_sent_to(log):
    with opened(log) as bus, pytest.raises(can.CanOperationError, match="replay-logs play"):
        bus.send(can.Message(arbitration_id=1))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"sped": 2}, "sped"), ({"speed": "fast"}, "speed = 'fast'"), ({"speed": -1}, "0 .no waiting. or more")],
)
def test_what_makes_no_sense_is_refused(log, options, says):
    with pytest.raises(can.CanInitializationError, match=says):
        opened(log, **options)


def test_a_missing_log_is_refused_with_its_name():
    with pytest.raises(can.CanInitializationError, match="nowhere"):
        opened("/nowhere.log")


def test_shutdown_ends_a_waiting_recv(log):
    bus = opened(log, speed=0.001)
    assert bus.recv(1) is not None
    failed = threading.Event()

    def receive():
        try:
            bus.recv(60)
        except can.CanOperationError:
            failed.set()

    waiting = threading.Thread(target=receive)
    waiting.start()
    bus.shutdown()
    assert failed.wait(10)
    waiting.join()


def test_python_cans_notifier_reads_a_committed_drive():
    count = 0
    done = threading.Event()

    def receive(_message):
        nonlocal count
        count += 1
        if count == 2000:
            done.set()

    bus = opened(CITY, speed=0)
    notifier = can.Notifier(bus, [receive], timeout=0.1)
    assert done.wait(20)
    notifier.stop()
    bus.shutdown()
