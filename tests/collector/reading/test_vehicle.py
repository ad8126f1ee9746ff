from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codec.schema import Schema, Signal
from codec.stream import Clock
from collector.items import OutboxKey
from collector.reading.signals import QueryError
from collector.store import open_store
from tests.collector.vehicle import SCHEMA, START_TICK, Bench, Vehicle

START_NS = START_TICK * SCHEMA.period_ns
SECOND = 10**9


def read(vehicle, *arguments, **options):
    """(times from the start in ticks of 10 Hz, values)"""
    pieces = list(vehicle.series(*arguments, **options).pieces)
    times = [(int(t) - START_NS) / SCHEMA.period_ns for piece in pieces for t in piece.times_ns]
    return times, (np.concatenate([piece.values for piece in pieces]) if pieces else np.empty((0, 0)))


def reference(path, vin, names, start_ns=None, end_ns=None):
    """The same, the long way: every record of every run, sorted."""
    rows = []
    for run in open_store(path).runs(vin):
        values = run.schema.to_physical(run.records.counts, run.records.states)
        for i in range(len(run.records)):
            at = (run.records.first_tick + i) * run.schema.period_ns + run.offset_ns
            if (start_ns is None or at >= start_ns) and (end_ns is None or at < end_ns):
                rows.append(
                    (at, [values[i, run.schema.index(n)] if n in run.schema.names else np.nan for n in names])
                )
    rows.sort(key=lambda row: row[0])
    return [(at - START_NS) / SCHEMA.period_ns for at, _ in rows], np.array([row for _, row in rows])


@pytest.fixture
def one(bench, connected):
    """20 records, a gap of 10, 10 more; then the agent starts again half a second later: 10 more."""
    bench.take(connected.drive(20, step=0.1))
    connected.drive(10)
    bench.take(connected.gap(1, 1, 30), connected.drive(10, keyframe=True))
    connected.tick += 5
    bench.take(connected.run(), connected.drive(10))
    return open_store(bench.path).vehicle("asset:one")


def test_what_is_missing_is_nan_on_the_sample_grid(bench, one):
    times, values = read(one, ["Temp", "Gear"])
    assert times == list(range(55))
    assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [*range(20, 30), *range(40, 45)]
    known = ~np.isnan(values[:, 0])
    assert np.array_equal(values[known], reference(bench.path, "asset:one", ["Temp", "Gear"])[1])


def test_long_holes_are_two_rows_or_none(one):
    times, _ = read(one, "Temp", fill_s=0.5)
    assert times == [*range(21), *range(29, 55)]
    times, _ = read(one, "Temp", fill_s=None)
    assert times == [*range(20), *range(30, 40), *range(45, 55)]


def test_a_range_has_its_start_and_not_its_end(one):
    times, _ = read(one, "Temp", "2023-11-14T22:13:21.900Z", "2023-11-14T22:13:23.300Z")
    assert times == [*range(19, 33)]
    assert read(one, "Temp", "2024-01-01")[0] == []
    with pytest.raises(QueryError, match="before it begins"):
        one.series("Temp", "2023-11-15", "2023-11-14")


def test_a_rate_thins_out(one):
    times, values = read(one, "Temp", rate_hz=2)
    assert times == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
    assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [4, 5, 8]
    assert read(one, "Temp", rate_hz=100)[0] == list(range(55))
    with pytest.raises(QueryError, match="more than 0"):
        one.series("Temp", rate_hz=0)


@pytest.mark.parametrize("fill_s", [-1, float("nan")])
def test_a_fill_that_is_none_is_said(one, fill_s):
    with pytest.raises(QueryError, match="fill_s"):
        one.series("Temp", fill_s=fill_s)


def test_every_signal_where_none_is_named(one):
    assert [info.name for info in one.series().signals] == ["Gear", "Speed", "Temp"]
    assert [info.unit for info in one.signals()] == ["", "km/h", "degC"]


def test_a_schema_that_changed_in_between(bench, connected):
    bench.take(connected.drive(10))
    connected.signals = Schema(
        10, (Signal("Pack", "V"), Signal("Speed", "km/h", factor=0.05), Signal("Gear", labels=((2, "R"),)))
    )
    bench.take(connected.schema, connected.run(), connected.drive(10))
    vehicle = open_store(bench.path).vehicle("asset:one")
    times, values = read(vehicle, ["Temp", "Pack", "Speed"])
    assert times == list(range(20))
    assert np.isnan(values).tolist() == [[False, True, False]] * 10 + [[True, False, False]] * 10
    assert [info.labels for info in vehicle.signals() if info.name == "Gear"] == [
        ((0, "P"), (1, "D"), (2, "R"))
    ]


def test_a_unit_that_changed_in_between_is_refused_and_the_refusal_says_when(bench, connected):
    bench.take(connected.drive(10))
    connected.signals = Schema(10, (SCHEMA.signals[0], Signal("Speed", "mph"), SCHEMA.signals[2]))
    bench.take(connected.schema, connected.run(), connected.drive(10))
    vehicle = open_store(bench.path).vehicle("asset:one")
    with pytest.raises(
        QueryError, match=r"Speed is in km/h before 2023-11-14T22:13:21.000Z and in mph after"
    ):
        vehicle.series("Speed")
    assert len(read(vehicle, "Speed", end="2023-11-14T22:13:21Z")[0]) == 10
    assert len(read(vehicle, "Temp")[0]) == 20


def test_what_two_clones_both_hold_is_there_once_and_in_its_place(bench, connected):
    """The clone is copied after the first block; each drives on from there, the clone first."""
    first = connected.drive(10)
    clone = copy.deepcopy(connected)
    clone.key = OutboxKey("asset:one", bytes([2]) * 16)
    described = replace(Vehicle().run(), key=clone.key)
    later = clone.drive(10, temp=30.0)
    bench.take(clone.greeting, described, replace(first, key=clone.key), later, clone.drive(5, temp=31.0))
    bench.take(connected.greeting, first)
    vehicle = open_store(bench.path).vehicle("asset:one")
    times, values = read(vehicle, "Temp", fill_s=None)
    assert times == list(range(25))
    assert values[:, 0] == pytest.approx([20.0] * 10 + [30.0] * 10 + [31.0] * 5, abs=0.5)


def test_two_that_drive_under_one_name_are_both_there(bench, connected):
    other = Vehicle("asset:one", outbox=2)
    other.tick += 5
    bench.take(other.greeting, other.run(), other.drive(10, temp=40.0), connected.drive(20))
    vehicle = open_store(bench.path).vehicle("asset:one")
    times, values = read(vehicle, "Temp")
    assert times == sorted([*range(20), *range(5, 15)])
    assert np.flatnonzero(values[:, 0] > 30).size == 10


def test_a_boot_without_the_time_is_placed_before_the_next_and_said_to_be_uncertain(bench, vehicle):
    period, day = SCHEMA.period_ns, 86400 * SECOND
    first = replace(vehicle.run(clock=Clock(-START_NS, synchronised=False)), boot_id=b"1" * 16)
    bench.take(vehicle.greeting, vehicle.schema, first, vehicle.drive(10))
    vehicle.tick = 100
    second = replace(vehicle.run(clock=Clock(START_NS + day, synchronised=True)), boot_id=b"2" * 16)
    bench.take(second, vehicle.drive(10))
    one = open_store(bench.path).vehicle("asset:one")
    series = one.series("Temp", fill_s=None)
    times = [int(t) for piece in series.pieces for t in piece.times_ns]
    assert times[10:] == [START_NS + day + (100 + i) * period for i in range(10)]
    assert times[:10] == [START_NS + day + i * period for i in range(-10, 0)]
    assert series.uncertain == ((times[0], times[9] + period),)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_history_is_read_as_if_every_record_were_sorted(tmp_path_factory, data):
    """Runs, gaps, pauses and two outboxes whose times overlap, cut anywhere: to the bit."""
    bench = Bench(tmp_path_factory.mktemp("history") / "store.db")
    for outbox in range(1, 1 + data.draw(st.integers(1, 2))):
        vehicle = Vehicle(outbox=outbox)
        vehicle.tick += data.draw(st.integers(0, 30))
        bench.take(vehicle.greeting, vehicle.schema)
        for _ in range(data.draw(st.integers(1, 3))):
            bench.take(vehicle.run(clock=Clock(data.draw(st.integers(0, 10**9)), synchronised=True)))
            for _ in range(data.draw(st.integers(1, 3))):
                vehicle.tick += data.draw(st.sampled_from([0, 0, 3]))
                bench.take(vehicle.drive(data.draw(st.integers(1, 9)), step=0.7))
            vehicle.tick += data.draw(st.integers(0, 10))
    bench.ledger.close()
    cuts = sorted(data.draw(st.lists(st.integers(-5, 80), min_size=2, max_size=2, unique=True)))
    bounds = [START_NS + cut * SCHEMA.period_ns for cut in cuts]
    moments = [np.datetime64(bound, "ns") for bound in bounds]
    found = read(open_store(bench.path).vehicle("asset:one"), ["Gear", "Temp"], *moments, fill_s=None)
    expected = reference(bench.path, "asset:one", ["Gear", "Temp"], *bounds)
    assert found[0] == expected[0]
    if found[0]:
        # Records of one time stand in no order that matters here.
        assert sorted(map(tuple, found[1])) == sorted(map(tuple, expected[1]))
