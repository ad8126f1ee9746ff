"""The generator: the same options give the same frames, and the frames look like a real bus."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files
from pathlib import Path

import cantools
import numpy as np
import pytest

from replay_logs.generate import BITRATE, candump_lines, car_messages, write_drive
from replay_logs.models import MODELS
from replay_logs.scenarios import DRIVES

FOLDER = Path(str(files("replay_logs") / "drives"))
LINE = re.compile(r"\((\d+\.\d{6})\) can0 ([0-9A-F]{3}|[0-9A-F]{8})#([0-9A-F]{2,16})\n")
UNSETTLED = 10  # arbitration may still change the order of the last few frames of a shorter drive


def generated(name: str, duration_s: float, seed: int = 1, model: str | None = None) -> list[str]:
    drive = DRIVES[name]
    return list(candump_lines(MODELS[model or drive.model], drive, seed, duration_s))


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return generated("city", 40)


@pytest.fixture(scope="module")
def frames(lines: list[str]) -> list[tuple[float, int, bytes]]:
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found)
    return [(float(m[1]), int(m[2], 16), bytes.fromhex(m[3])) for m in found if m]


@pytest.mark.parametrize("name", sorted(DRIVES))
def test_a_committed_drive_begins_with_what_the_generator_writes(name):
    expected = generated(name, 15)[:-UNSETTLED]
    with gzip.open(FOLDER / f"{name}.log.gz", "rt") as log:
        assert [log.readline() for _ in expected] == expected


def test_a_committed_drive_is_what_the_generator_writes(tmp_path):
    drive = DRIVES["aggressive"]
    written = tmp_path / "aggressive.log"
    count = write_drive(written, MODELS[drive.model], drive, 1, drive.duration_s)
    committed = gzip.decompress((FOLDER / "aggressive.log.gz").read_bytes())
    assert written.read_bytes() == committed
    assert count == committed.count(b"\n")


def test_committed_drives_are_small_long_and_without_a_date_of_their_own():
    logs = sorted(FOLDER.glob("*.log.gz"))
    assert [log.name.removesuffix(".log.gz") for log in logs] == sorted(DRIVES)
    assert sum(log.stat().st_size for log in logs) < 10_000_000
    assert all(drive.duration_s >= 360 for drive in DRIVES.values())
    assert all(log.read_bytes()[4:8] == bytes(4) for log in logs)  # mtime in the gzip header


def test_the_same_options_give_the_same_bytes(tmp_path):
    drive = DRIVES["highway"]
    for name in ("one.log.gz", "two.log.gz"):
        write_drive(tmp_path / name, MODELS["model-x"], drive, 7, 8)
    assert (tmp_path / "one.log.gz").read_bytes() == (tmp_path / "two.log.gz").read_bytes()


def test_another_seed_or_model_gives_another_drive(lines):
    assert generated("city", 40, seed=2) != lines
    assert generated("city", 40, model="r1t") != lines


def test_a_longer_drive_begins_with_the_shorter_one(lines):
    shorter = generated("city", 17.3)[:-UNSETTLED]
    assert lines[: len(shorter)] == shorter


def test_frames_follow_each_other_on_one_bus(frames):
    shortest_s = (47 + 8) / BITRATE
    gaps = np.diff([stamp for stamp, _, _ in frames])
    assert gaps.min() > shortest_s  # no two frames at once


def test_messages_come_at_their_cycle_time_with_jitter(frames):
    for message in car_messages():
        stamps = np.array([stamp for stamp, identifier, _ in frames if identifier == message.frame_id])
        periods_ms = np.diff(stamps) * 1000
        assert np.mean(periods_ms) == pytest.approx(message.cycle_time, rel=1e-3)
        assert 0.02 < np.std(periods_ms) < 1.0  # a real bus jitters, by less than a millisecond


def test_every_frame_is_in_the_dbc_and_every_value_in_its_range(frames):
    messages = {message.frame_id: message for message in car_messages()}
    for _, identifier, data in frames[::7]:
        message = messages[identifier]
        assert len(data) == message.length
        for name, value in message.decode(data).items():
            signal = message.get_signal_by_name(name)
            if isinstance(value, int | float) and not signal.is_float:
                assert signal.minimum is not None
                assert signal.minimum - 1e-9 <= value <= signal.maximum + 1e-9, (name, value)


def test_signals_are_not_available_at_first_and_come_one_after_the_other(frames):
    messages = {message.frame_id: message for message in car_messages()}
    available_s: dict[str, float] = {}
    start = frames[0][0]
    seen = set()
    for stamp, identifier, data in frames:
        for name, value in messages[identifier].decode(data).items():
            seen.add(name)
            if str(value) not in ("SNA", "nan"):
                available_s.setdefault(name, stamp - start)
    assert set(available_s) == seen
    assert available_s["PackVoltage"] > 1.5
    assert available_s["Latitude"] > 9  # a satellite receiver needs the longest
    assert available_s["VehicleSpeed"] < 1


def test_the_dbc_has_what_real_ones_have():
    database = cantools.database.load_file(str(files("replay_logs") / "car.dbc"), strict=True)
    signals = [signal for message in database.messages for signal in message.signals]
    assert {signal.byte_order for signal in signals} == {"little_endian", "big_endian"}
    assert any(signal.is_signed for signal in signals)
    assert any(signal.is_float for signal in signals)
    assert any(signal.is_multiplexer for signal in signals)
    assert any(message.is_extended_frame for message in database.messages)
    assert all(message.cycle_time for message in database.messages)
    assert {message.cycle_time for message in database.messages} >= {10, 20, 100, 1000}
    unsure = [signal.name for signal in signals if not (signal.is_multiplexer or signal.is_float)]
    assert all(
        "SNA" in map(str, (signal.choices or {}).values()) for signal in signals if signal.name in unsure
    )
