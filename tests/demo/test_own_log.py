"""Somebody's own log and DBC: what can be played is played, what cannot is said, in words that help."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest

from collector.rules import load_rules
from decoder.frames import Frames
from demo.own_log import (
    FRAMES_PER_S_MAX,
    WALL_S_MAX,
    WALL_S_MIN,
    OwnLogError,
    _asset_name,
    _played_s,
    _wall_s,
    prepare,
)
from demo.vehicles import CAR_DBC, fleet
from tests.data_folder import recording


@pytest.fixture(scope="module")
def excerpt(tmp_path_factory) -> Path:
    """The first 20 s of the city drive, and a second channel that carries one of its IDs and one of nobody's."""
    path = tmp_path_factory.mktemp("log") / "my drive.log"
    with gzip.open(fleet(60)[0].log, "rt") as log:
        lines = list(itertools.islice(log, 8400))
    stamp = lines[-1].split()[0]
    path.write_text("".join([*lines, lines[-1].replace("can0", "can1"), f"{stamp} can1 7DF#0102\n"]))
    return path


def test_a_drive_is_made_ready(excerpt, tmp_path):
    own = prepare(excerpt, [CAR_DBC], tmp_path)
    assert own.drive.vin == "asset:my-drive"
    assert own.drive.signals
    assert own.drive.bus_options == {"log_channel": "can0"}
    assert own.wall_s == WALL_S_MIN
    assert own.drive.speed == pytest.approx(20 / WALL_S_MIN, rel=0.05)
    assert any("channel can0 is played, can1 left out" in note for note in own.notes)
    assert any("signals that are sampled" in note for note in own.notes)
    assert set(load_rules(own.rules).guards().guards) or "nothing moves enough" in own.notes[-1]


def test_a_dbc_of_another_car_is_said(excerpt, tmp_path):
    other = tmp_path / "other.dbc"
    other.write_text('VERSION ""\nBU_: X\nBO_ 1 Other: 8 X\n SG_ Speed : 0|16@1+ (1,0) [0|0] "km/h" X\n')
    with pytest.raises(OwnLogError, match="describes no frame of this log"):
        prepare(excerpt, [other], tmp_path)


def test_no_dbc_is_said(excerpt, tmp_path):
    with pytest.raises(OwnLogError, match="add --dbc FILE"):
        prepare(excerpt, [], tmp_path)


def test_what_is_no_log_is_said(tmp_path):
    with pytest.raises(OwnLogError, match=r"car\.dbc"):
        prepare(CAR_DBC, [CAR_DBC], tmp_path)


def test_a_dbc_that_is_not_there_is_said(excerpt, tmp_path):
    with pytest.raises(OwnLogError, match=r"gone\.dbc"):
        prepare(excerpt, [tmp_path / "gone.dbc"], tmp_path)


def test_a_log_from_before_1970_is_a_log(tmp_path):
    own = prepare(
        recording("quirky/37501-Q4151+BatteryEmulator.csv"), [recording("quirky/hyundai_kona.dbc")], tmp_path
    )
    assert own.drive.vin == "asset:37501-Q4151-BatteryEmulator"


def frames(stamps_s: list[float]) -> Frames:
    return Frames.from_rows([(int(stamp * 1e9), 0, 1, b"\0") for stamp in stamps_s])


def test_backward_stamps_and_long_silences_do_not_stretch_the_drive():
    assert _played_s(frames([0, 10, 5, 10, 20])) == 20
    assert _played_s(frames([0, 10_000, 10_001])) == 61


def test_wall_time_fits_the_demo_and_the_slowest_core():
    assert _wall_s(frames([0, 1]), 1) == WALL_S_MIN
    assert _wall_s(frames(list(np.arange(0.0, 4000.0, 50.0))), 1) == WALL_S_MAX
    assert _wall_s(frames([0, 1]), 80 * FRAMES_PER_S_MAX) == 80


@pytest.mark.parametrize(
    ("name", "asset"), [("a b(1).log.gz", "a-b-1"), ("...", "drive"), ("x" * 99, "x" * 64)]
)
def test_any_file_name_makes_an_asset(name, asset):
    assert _asset_name(Path(name)) == asset
