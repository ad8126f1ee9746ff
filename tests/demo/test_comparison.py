"""The comparison finds what is wrong, and only that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from demo.comparison import ROWS, compare, error_over_threshold

SPEED = Signal("Speed", "km/h", factor=0.1, threshold=2.0)  # 20 counts
HEADING = Signal("Heading", "deg", factor=0.1, threshold=5.0, circular=360)  # 50 counts, turn of 3600
PRESSURE = Signal("Pressure", "bar", kind=Kind.FLOAT32)
SCHEMA = Schema(50, (SPEED, HEADING, PRESSURE))


def bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def records(first_tick: int, n: int, speed: int = 100) -> Records:
    counts = np.tile(np.array([speed, 10, bits(1.5)], np.int64), (n, 1))
    return Records(first_tick, counts, np.zeros((n, 3), np.uint8))


def changed(
    run: Records, row: int, column: int, count: int | None = None, state: int | None = None
) -> Records:
    counts, states = run.counts.copy(), run.states.copy()
    if count is not None:
        counts[row, column] = count
    if state is not None:
        states[row, column] = state
        counts[row, column] = 0
    return Records(run.first_tick, counts, states)


def test_equal_sides_are_whole():
    run = records(1000, 10)
    found = compare(SCHEMA, [(0, run)], [(0, run)])
    assert found.whole
    assert (found.committed, found.stored, found.missing, found.duplicated, found.invented) == (
        10,
        10,
        0,
        0,
        0,
    )
    assert (found.max_error_over_threshold, found.worst_signal) == (0.0, "")


def test_nothing_at_all_is_whole():
    assert compare(SCHEMA, [], []).whole


@given(st.data())
def test_any_cutting_and_order_of_the_same_records_is_whole(data):
    ticks = sorted(data.draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 60)), min_size=1)))

    def pieces() -> list[tuple[int, Records]]:
        order = data.draw(st.permutations(ticks))
        return [(stream_no, records(tick, 1, speed=tick)) for stream_no, tick in order]

    found = compare(SCHEMA, pieces(), pieces())
    assert found.whole
    assert found.committed == found.stored == len(ticks)


def test_missing_duplicated_and_invented_records_are_counted():
    found = compare(
        SCHEMA,
        [(0, records(0, 10)), (1, records(0, 5))],
        [(0, records(0, 8)), (0, records(5, 3)), (1, records(4, 3))],
    )
    assert (found.committed, found.stored, found.missing) == (15, 9, 6)
    assert (found.duplicated, found.invented) == (3, 2)
    assert not found.whole


def test_the_same_tick_of_another_stream_is_another_record():
    found = compare(SCHEMA, [(0, records(0, 10))], [(1, records(0, 10))])
    assert (found.missing, found.invented) == (10, 10)


def test_the_worst_error_names_its_signal():
    run = records(0, 10)
    found = compare(SCHEMA, [(0, run)], [(0, changed(run, 3, 0, count=120))])
    assert (found.max_error_over_threshold, found.worst_signal) == (1.0, "Speed")
    assert found.whole
    found = compare(SCHEMA, [(0, run)], [(0, changed(run, 3, 0, count=121))])
    assert found.max_error_over_threshold == pytest.approx(1.05)
    assert not found.whole


def test_no_record_of_a_long_drive_is_passed_over():
    run = records(0, 3 * ROWS)
    for row in (0, ROWS - 1, ROWS, 3 * ROWS - 1):
        found = compare(SCHEMA, [(0, run)], [(0, changed(run, row, 0, count=140))])
        assert (found.max_error_over_threshold, found.worst_signal) == (2.0, "Speed")
        assert compare(SCHEMA, [(0, run)], [(0, changed(run, row, 0, state=2))]).availability_differs == 1


def test_availability_has_to_be_equal():
    run = records(0, 10)
    stale = changed(run, 3, 0, state=Availability.STALE)
    sna = changed(run, 3, 0, state=Availability.NOT_AVAILABLE)
    for ours, theirs in ((run, stale), (stale, run), (stale, sna)):
        found = compare(SCHEMA, [(0, ours)], [(0, theirs)])
        assert found.availability_differs == 1
        assert not found.whole
    assert compare(SCHEMA, [(0, stale)], [(0, stale)]).whole


@pytest.mark.parametrize(
    ("signal", "sampled", "stored", "ratio"),
    [
        (SPEED, 100, 80, 1.0),
        (HEADING, 3590, 10, 0.4),
        (HEADING, 10, 3610, 0.0),  # a turn further is the same heading
        (Signal("Gear", threshold=0), 3, 3, 0.0),
        (Signal("Gear", threshold=0), 3, 4, math.inf),
        (PRESSURE, bits(1.0), bits(1.0), 0.0),
        (PRESSURE, bits(1.0), bits(1.0000001), math.inf),
        (PRESSURE, bits(math.nan), bits(math.nan), 0.0),
        (PRESSURE, bits(math.nan), bits(1.0), math.inf),
        (PRESSURE, bits(0.0), bits(-0.0), math.inf),  # a threshold of 0 is lossless to the bit
        (Signal("Bar", kind=Kind.FLOAT32, threshold=0.5), bits(math.nan), bits(1.0), math.inf),
        (PRESSURE, bits(math.inf), bits(math.inf), 0.0),
        (Signal("Bar", kind=Kind.FLOAT32, threshold=0.5), bits(1.0), bits(1.25), 0.5),
        (Signal("Serial", kind=Kind.WIDE_UNSIGNED), -1, -1, 0.0),
        (Signal("Serial", kind=Kind.WIDE_UNSIGNED), -1, 1, math.inf),
    ],
)
def test_error_over_threshold(signal, sampled, stored, ratio):
    errors = error_over_threshold(signal, np.array([sampled], np.int64), np.array([stored], np.int64))
    assert errors.tolist() == [ratio]
