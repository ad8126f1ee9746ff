"""What `replay-logs info` says of a log."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from decoder.dbc import load
from replay_logs.info import frame_bits, summarise
from replay_logs.read import open_log
from replay_logs.recording import load_recording

DBC = load(str(files("replay_logs") / "car.dbc"))


def summary(tmp_path, text, dbcs=(), bitrate=500_000):
    path = tmp_path / "a.log"
    path.write_text(text)
    return summarise(load_recording(open_log(path)), bitrate, dbcs)


def test_identifiers_rates_and_duration(tmp_path):
    text = "".join(
        f"({10 + k / 100:.6f}) can0 0F1#00000000\n({10.001 + k / 100:.6f}) can0 18FEF100#00\n"
        for k in range(101)
    )
    found = summary(tmp_path, text, [DBC])
    assert found.frames == 202
    assert found.duration_s == pytest.approx(1.001)
    first, second = found.identifiers
    assert (first.frame_id, first.extended, first.message, first.count) == (0xF1, False, "VehicleMotion", 101)
    assert (second.frame_id, second.extended, second.message) == (0x18FEF100, True, "")
    assert first.period_ms == pytest.approx(10)
    assert found.decoded == pytest.approx(0.5)
    assert found.signals == 2
    assert found.oddities == ()


def test_the_load_is_the_share_of_the_buss_time():
    bits = frame_bits(np.array([0x123, 0x123 | 1 << 31], np.uint32), np.array([8, 0], np.uint8))
    assert 47 + 64 < bits[0] < 135  # at most 24 stuff bits
    assert 67 <= bits[1] < 80


def test_a_full_bus_has_a_load_near_one(tmp_path):
    every_s = 117 / 500_000
    found = summary(tmp_path, "".join(f"({k * every_s:.6f}) can0 123#{'00' * 8}\n" for k in range(1000)))
    assert dict(found.load)["can0"] == pytest.approx(1.0, abs=0.1)


def test_oddities_are_named(tmp_path):
    text = "(-1.0) c 1#00\n(2.0) c 1#00\n(1.5) c 1#00\n(1.5) c 1#00\n(9.0) c 20000080#\n(9.0) c 1#R\n(9.5) c 1#00\nrubbish\n"
    said = "\n".join(summary(tmp_path, text).oddities)
    for words in (
        "1 stamps before 1970",
        "1 stamps run backward, by up to 0.5",
        "1 frames have the stamp of the frame before",
        "2 silences of more than 2 s, the longest 8.0 s",
        "1 error frame",
        "1 remote frame",
        "line 8 (rubbish): left out",
    ):
        assert words in said


def test_a_log_without_data_frames_is_said_to_have_none(tmp_path):
    found = summary(tmp_path, "(1.0) c 20000080#\n", [DBC])
    assert found.frames == 0
    assert "no data frame" in found.oddities
