"""Logs that somebody damaged: whatever the bytes, there are frames or one line, in bounded time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay_logs.info import summarise
from replay_logs.read import LogError, open_log
from replay_logs.recording import load_recording
from tests.damage import LOG_TOKENS, damaged

FORMATS = (".asc", ".blf", ".csv", ".db", ".log", ".mf4", ".trc")


@cache
def sound(folder: Path, suffix: str) -> bytes:
    """A log of a few frames, as python-can writes it."""
    path = folder / f"sound{suffix}"
    with can.Logger(str(path)) as logger:
        for k in range(12):
            data = bytes(range(k % 9))
            logger(can.Message(1.6e9 + k / 100, 0x123 + k, is_extended_id=bool(k % 2), channel=0, data=data))
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32), named=st.sampled_from([*FORMATS, ".txt"]))
def test_damage_costs_frames_and_a_line_each_and_nothing_else(folder, suffix, seed, named):
    path = folder / f"damaged{suffix if seed % 4 else named}"
    path.write_bytes(damaged(sound(folder, suffix), seed, LOG_TOKENS))
    try:
        recording = load_recording(open_log(path))
    except LogError as error:
        refusal = str(error)
    else:
        refusal = ""
        summarise(recording, 500_000)
    if refusal:
        assert refusal.startswith(str(path))
        assert "\n" not in refusal
        return
    assert len(recording.frames) < 1000
    for line in recording.left_out:
        assert line.startswith(path.name)
        assert "\n" not in line
        assert len(line) < 400


@pytest.mark.parametrize("stamp", ["9" * 30, "9" * 400 + ".0", "4611686018.5", "-99999999999.0"])
def test_a_stamp_that_is_no_time_costs_its_frame(tmp_path, stamp, caplog):
    path = tmp_path / "a.log"
    path.write_text(f"(1.000000) can0 123#01\n({stamp}) can0 123#02\n(1.010000) can0 123#03\n")
    recording = load_recording(open_log(path))
    assert recording.frames.data[:, 0].tolist() == [1, 3]
    assert recording.left_out[0].startswith("a.log line 2 ")


def test_what_pythoncan_leaves_out_without_a_word_is_said(tmp_path, folder, caplog):
    lines = sound(folder, ".trc").decode().splitlines(keepends=True)
    broken = next(at for at, line in enumerate(lines) if not line.startswith(";")) + 2
    lines[broken] = lines[broken].rstrip()[:-2] + "ZZ\n"
    path = tmp_path / "a.trc"
    path.write_text("".join(lines))
    recording = load_recording(open_log(path))
    assert len(recording.frames) == 11
    assert recording.left_out[0].startswith(f"a.trc line {broken + 1} ")


def test_more_channels_than_any_vehicle_has_are_refused(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("".join(f"(1.0) can{at} 123#01\n" for at in range(257)))
    with pytest.raises(LogError, match=r"a\.log: more than 256 channels"):
        load_recording(open_log(path))
