"""The whole benchmark on a drive of ours, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.codec import Row, Task, bounds_of, cars_of, cut, main, measure, name_of, report
from benchmarks.recordings import our_car
from benchmarks.schemes.shelf import OTHERS
from tests.benchmarks.drives import runs

KEYS = {
    "log", "thresholds", "block_s", "scheme", "kb_per_vehicle_hour", "bytes_per_record",
    "max_error_over_threshold", "out_of_bound", "records", "signals",
}  # fmt: skip
EXACT = {"json", "json-zstd", "protobuf", "gorilla", "parquet-zstd"}


@pytest.fixture(scope="module")
def measured():
    car = our_car()
    return measure(Task(car, car.logs[0], values_max=60_000, blocks_s=(10.0, 30.0)))


def test_every_scheme_has_a_row_for_each_threshold_set_and_block_length(measured):
    found = {(row.scheme, row.thresholds, row.block_s) for row in measured.rows}
    schemes = {"deadreckon", "deadreckon-trained", *(scheme.name for scheme in OTHERS)}
    wanted = {
        (name, thresholds, block)
        for name in schemes
        for thresholds in ("given", "tenth", "lossless")
        for block in (10.0, 30.0)
    }
    assert found == wanted
    assert len(measured.rows) == len(wanted)


def test_a_prior_is_trained_on_another_drive_of_the_car(measured):
    assert measured.trained_on == name_of(our_car().logs[-1]) != measured.log


def test_ours_is_in_bound_and_smallest(measured):
    for row in measured.rows:
        ours = next(
            one for one in measured.rows
            if (one.scheme, one.thresholds, one.block_s) == ("deadreckon", row.thresholds, row.block_s)
        )  # fmt: skip
        assert ours.out_of_bound == 0
        assert row.scheme.startswith("deadreckon") or row.kb_per_vehicle_hour > ours.kb_per_vehicle_hour


def test_only_the_open_loop_is_out_of_bound(measured):
    assert {row.scheme for row in measured.rows if row.out_of_bound} <= {"open-loop"}
    assert any(row.max_error_over_threshold > 100 for row in measured.rows if row.scheme == "open-loop")


def test_what_does_not_depend_on_thresholds_is_the_same_under_all(measured):
    for name in EXACT:
        sizes = {row.bytes_per_record for row in measured.rows if row.scheme == name and row.block_s == 10.0}
        assert len(sizes) == 1


def test_a_wide_drive_says_what_was_left_out(measured):
    assert measured.signals < measured.signals_all
    assert "of its 37 signals" in (measured.bound or "")
    document = report([measured], None)
    assert set(document["rows"][0]) == KEYS == set(Row.__slots__)
    json.dumps(document, allow_nan=False)


def test_blocks_end_with_their_run():
    assert [len(block) for block in cut(runs(), 1000)] == [1000, 700, 333]


def test_logs_with_the_same_dbcs_are_drives_of_one_car():
    a, b, c, x, y = (Path(name) for name in "abcxy")
    one, two = cars_of(
        [("log", a), ("dbc", x), ("log", b), ("log", c), ("dbc", y), ("log", c), ("dbc", x)], None
    )
    assert (one.logs, one.dbcs) == ((a, c), (x,))
    assert (two.logs, two.dbcs) == ((b, c), (y,))
    assert cars_of([], None) == []


@pytest.mark.parametrize(
    "arguments", [["--log", "a"], ["--dbc", "x"], ["--log", "none.log", "--dbc", "none.dbc"]]
)
def test_what_is_missing_is_said_in_one_line(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("records", "signals", "bounds"),
    [
        (59_999, 20, (59_999, 1)),
        (500_000, 20, (60_000, 1)),
        (30_000, 200, (12_500, 1)),
        (32_000, 3221, (6000, 8)),
        (900, 194, (900, 1)),
    ],
)
def test_wide_drives_lose_time_first_then_signals(records, signals, bounds):
    assert bounds_of(records, signals, 2_500_000) == bounds
