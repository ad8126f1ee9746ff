"""The command line, as a user meets it."""

from __future__ import annotations

import gzip
from importlib.resources import files

import pytest

from replay_logs.__main__ import main

DBC = str(files("replay_logs") / "car.dbc")


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive") / "drive.log.gz"
    assert (
        main(
            [
                "generate",
                "--drive",
                "city",
                "--model",
                "r1t",
                "--seed",
                "3",
                "--duration",
                "6",
                "-o",
                str(path),
            ]
        )
        == 0
    )
    return str(path)


def test_generate_writes_a_log(drive):
    with gzip.open(drive, "rt") as log:
        assert sum(1 for _ in log) == pytest.approx(6 * 420, abs=20)


def test_info_prints_what_is_in_it(drive, capsys):
    assert main(["info", drive, "--dbc", DBC]) == 0
    said = capsys.readouterr().out
    assert "14 identifiers" in said
    assert "bus load   7.6% of 500000 bit/s on can0" in said
    assert "decodes    100.0% of the frames, 37 signals" in said
    assert "VehicleMotion" in said


def test_decode_writes_a_table(drive, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["decode", drive, "--dbc", DBC, "-o", str(out)]) == 0
    assert out.read_text().startswith('"time_s"')
    assert "37 signals" in capsys.readouterr().out


def test_play_sends_everything(drive, capsys):
    assert main(["play", drive, "--interface", "virtual", "--channel", "main", "--speed", "0"]) == 0
    assert "frames sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "/nowhere.log"], "/nowhere.log: cannot be read"),
        (["info", "DRIVE", "--dbc", "/nowhere.dbc"], "/nowhere.dbc: cannot be read"),
        (["decode", "DRIVE", "--dbc", DBC, "-o", "/tmp/out.xlsx"], "must end in .csv or .parquet"),
        (
            ["decode", "DRIVE", "--dbc", DBC, "--channel", "can7", "-o", "x.csv"],
            "no data frame on channel can7",
        ),
        (["generate", "--drive", "city", "-o", "/nowhere/x.log", "--duration", "1"], "/nowhere/x.log"),
        (["generate", "--drive", "city", "-o", "x.log", "--duration", "0"], "--duration"),
        (["play", "DRIVE", "--interface", "replay", "--channel", "/nowhere.log"], "/nowhere.log"),
    ],
)
def test_errors_are_one_line_and_status_1(drive, capsys, arguments, says):
    assert main([drive if word == "DRIVE" else word for word in arguments]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
