from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codec.schema import Schema, Signal
from codec.stream import Clock, StreamFacts
from collector import times
from collector.reading.reduced import MINUTE_NS, Buckets, Grid, grid_of, missing_stretches
from collector.reading.signals import QueryError, SignalInfo
from collector.store import StreamSpan, open_store
from collector.store.tables import rollups
from tests.collector.vehicle import SCHEMA, START_TICK, Bench, Vehicle

PERIOD_NS = SCHEMA.period_ns
START_NS = START_TICK * PERIOD_NS
MINUTE = MINUTE_NS // PERIOD_NS  # in ticks
INFO = SignalInfo("Temp", "degC", 0.5, None, None, "")


def span(first=START_TICK, end=START_TICK + 100, offset_ns=0, rate_hz=10):
    schema = Schema(rate_hz, (Signal("Temp"),))
    return StreamSpan("v", 1, b"", StreamFacts(b"", 0, first), schema, offset_ns, True, first, end)


# The grid


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**15), st.integers(2, 3000), st.integers(0, 10**11))
def test_a_grid_covers_its_range_in_no_more_points_than_asked(start, length, points, offset):
    start_ns = START_NS + start
    one = span(START_TICK, START_TICK + length // PERIOD_NS + 1, offset)
    grid = grid_of(start_ns, start_ns + length, points, [one])
    assert 1 <= grid.buckets <= max(1, points // 2)
    assert grid.start_ns <= start_ns
    assert grid.start_ns + grid.buckets * grid.step_ns >= start_ns + length
    assert grid.step_ns >= PERIOD_NS
    if grid.minutes:
        assert grid.step_ns % MINUTE_NS == 0
        assert (grid.start_ns - offset) % MINUTE_NS == 0
        assert grid.buckets >= points // 2 // 5 or grid.step_ns == MINUTE_NS or points < 20
    else:
        assert grid.start_ns == start_ns


def test_a_grid_is_no_finer_than_the_slowest_stream():
    assert grid_of(0, 10**9, 1_000_000, [span(rate_hz=50), span(rate_hz=2)]).step_ns == 500_000_000
    assert grid_of(0, 10**9, 100, []).buckets == 50


# Buckets


@given(
    st.lists(st.tuples(st.integers(0, 99), st.floats(-1e6, 1e6) | st.just(float("nan"))), max_size=60),
    st.data(),
)
def test_buckets_hold_least_greatest_mean_and_count(records, data):
    records.sort(key=lambda one: one[0])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3)))
    buckets = Buckets(Grid(0, 10, 10, minutes=False))
    for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True):
        part = records[a:b]
        buckets.add(np.array([t for t, _ in part], np.int64), np.array([v for _, v in part], np.float64))
    found = buckets.reduced(INFO)
    for k in range(10):
        values = [v for t, v in records if t // 10 == k and not np.isnan(v)]
        assert found.count[k] == len(values)
        if values:
            assert (found.low[k], found.high[k]) == (min(values), max(values))
            assert found.mean[k] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
        else:
            assert np.isnan([found.low[k], found.high[k], found.mean[k]]).all()


def test_a_line_has_two_points_a_bucket_and_breaks_where_nothing_is():
    buckets = Buckets(Grid(100, 10, 3, minutes=False))
    buckets.add(np.array([100, 105, 125]), np.array([3.0, 1.0, 7.0]))
    times, values = buckets.reduced(INFO).line()
    assert times.tolist() == [100, 105, 110, 115, 120, 125]
    assert np.array_equal(values, [1, 3, np.nan, np.nan, 7, 7], equal_nan=True)


@given(st.sets(st.integers(-3, 12)))
def test_missing_stretches_are_what_is_not_present(present):
    found = missing_stretches(0, 100, 10, np.array(sorted(10 * p for p in present), np.int64))
    assert {tick for start, stop in found for tick in range(start, stop, 10)} == set(range(0, 100, 10)) - {
        10 * p for p in present
    }
    assert all(a[1] < b[0] for a, b in pairwise(found))


# A vehicle's


def records(path, name):
    """(span, ticks, values) of every block, without what is not available."""
    store = open_store(path)
    for one in store.spans("asset:one"):
        for run in store.runs_of(one):
            if name in run.schema.names:
                values = run.schema.to_physical(run.records.counts, run.records.states)[
                    :, run.schema.index(name)
                ]
                known = ~np.isnan(values)
                yield one, (run.records.first_tick + np.arange(len(values)))[known], values[known]


def reference(path, grid, start_ns, end_ns, name="Temp"):
    """{bucket: its values}, by the definition, from every record."""
    found = {}
    for one, ticks, values in records(path, name):
        at = ticks * PERIOD_NS + one.offset_ns
        places = at
        if grid.minutes:
            begins = ticks // MINUTE * MINUTE
            whole = (one.tick_at(start_ns) <= begins) & (begins + MINUTE <= one.tick_at(end_ns))
            places = np.where(whole, begins * PERIOD_NS + one.offset_ns, at)
        places = (places - grid.start_ns) // grid.step_ns
        within = (start_ns <= at) & (at < end_ns)
        for place in np.unique(places[within]).tolist():
            found.setdefault(place, []).extend(values[within & (places == place)].tolist())
    return found


def roll_up(bench):
    """The rollups of everything that is stored, as the store has them, whatever made them."""
    minutes = {}
    for name in SCHEMA.names:
        for one, ticks, values in records(bench.path, name):
            for minute in np.unique(ticks // MINUTE).tolist():
                minutes.setdefault((name, one, minute), []).extend(values[ticks // MINUTE == minute].tolist())
    rows = [
        {
            "vin": "asset:one",
            "signal": name,
            "outbox": one.outbox,
            "stream_no": one.facts.stream_no,
            "tick": minute * MINUTE,
            "timestamp": times.to_text(one.wall_ns(minute * MINUTE)),
            "min": min(values),
            "max": max(values),
            "mean": float(np.mean(values)),
            "count": len(values),
        }
        for (name, one, minute), values in minutes.items()
    ]
    with bench.ledger.transaction() as transaction:
        transaction._connection.execute(rollups.delete())
        transaction._connection.execute(rollups.insert(), rows)
        transaction.finish("now")


def check(path, start_ns, end_ns, points):
    vehicle = open_store(path).vehicle("asset:one")
    found = vehicle.reduced("Temp", np.datetime64(start_ns, "ns"), np.datetime64(end_ns, "ns"), points)
    grid = SimpleNamespace(
        start_ns=found.start_ns, step_ns=found.step_ns, minutes=found.step_ns % MINUTE_NS == 0
    )
    expected = reference(path, grid, start_ns, end_ns)
    assert {k: n for k, n in enumerate(found.count.tolist()) if n} == {k: len(v) for k, v in expected.items()}
    for k, values in expected.items():
        assert (found.low[k], found.high[k]) == (min(values), max(values))
        assert found.mean[k] == pytest.approx(np.mean(values))
    assert len(found.line()[0]) <= points
    return found


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_history_over_any_range_has_the_peaks_of_every_record(tmp_path_factory, data):
    """Streams of any phase, with holes; some of their minutes not rolled up."""
    bench = Bench(tmp_path_factory.mktemp("reduced") / "store.db")
    vehicle = Vehicle()
    vehicle.tick += data.draw(st.integers(0, 2000))
    bench.take(vehicle.greeting, vehicle.schema)
    for _ in range(data.draw(st.integers(1, 2))):
        bench.take(vehicle.run(clock=Clock(data.draw(st.integers(0, 10**11)), synchronised=True)))
        for _ in range(data.draw(st.integers(1, 4))):
            vehicle.tick += data.draw(st.sampled_from([0, 0, 7, 1500]))
            step = data.draw(st.sampled_from([0.01, -0.02]))
            bench.take(vehicle.drive(data.draw(st.integers(300, 2500)), temp=30.0, step=step))
        vehicle.tick += 3000
    if data.draw(st.booleans()):
        roll_up(bench)
    lost = data.draw(st.lists(st.integers(0, 20), max_size=4))
    with bench.ledger.transaction() as transaction:
        for minute in lost:
            tick = (START_TICK // MINUTE + minute) * MINUTE
            transaction._connection.execute(rollups.delete().where(rollups.c.tick == tick))
        transaction.finish("now")
    bench.ledger.close()
    cuts = sorted(data.draw(st.lists(st.integers(-100, 15000), min_size=2, max_size=2, unique=True)))
    start_ns, end_ns = (START_NS + cut * PERIOD_NS for cut in cuts)
    check(bench.path, start_ns, end_ns, data.draw(st.sampled_from([2, 8, 40, 2000])))


@pytest.fixture
def hour(bench, connected):
    """An hour and a bit, in blocks of 2000 records (3 min 20 s)."""
    for k in range(20):
        bench.take(connected.drive(2000, temp=20 + k / 10, step=0.001, keyframe=True))
    return bench


def test_whole_minutes_are_not_decoded(hour):
    """With every block but the first and the last group spoiled, the answer is the same."""
    start_ns, end_ns = START_NS + 5 * PERIOD_NS, START_NS + 39_990 * PERIOD_NS
    roll_up(hour)
    before = check(hour.path, start_ns, end_ns, 100)
    assert before.step_ns == 2 * MINUTE_NS
    with hour.ledger.transaction() as transaction:
        transaction._connection.exec_driver_sql("UPDATE batches SET crc = 0 WHERE seq BETWEEN 1 AND 18")
        transaction.finish("now")
    store = open_store(hour.path)
    after = store.vehicle("asset:one").reduced(
        "Temp", np.datetime64(start_ns, "ns"), np.datetime64(end_ns - 2000 * PERIOD_NS, "ns"), 100
    )
    assert np.array_equal(after.low[:30], before.low[:30], equal_nan=True)
    assert store.unreadable <= 2


def test_a_hole_breaks_the_line(bench, connected):
    bench.take(connected.drive(1200))
    connected.tick += 6000
    bench.take(connected.drive(1200))
    found = check(bench.path, START_NS, START_NS + 8400 * PERIOD_NS, 40)
    assert np.isnan(found.low).sum() >= 8


def test_a_range_that_is_not_given_is_all_there_is(hour):
    vehicle = open_store(hour.path).vehicle("asset:one")
    assert vehicle.reduced("Temp").count.sum() == 40_000
    assert vehicle.reduced("Temp", points=2).count.tolist() == [40_000]


def test_a_signal_that_is_not_in_every_schema(bench, connected):
    bench.take(connected.drive(700))
    connected.signals = Schema(10, (Signal("Other"), SCHEMA.signals[1], SCHEMA.signals[2]))
    bench.take(connected.schema, connected.run(), connected.drive(700))
    found = open_store(bench.path).vehicle("asset:one").reduced("Temp")
    assert found.count.sum() == 700


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Temp", None, None, 1), "points: 1; it must be 2 to"),
        (("Tempp",), "did you mean Temp?"),
        (("Temp", "2024-01-02", "2024-01-01"), "before it begins"),
    ],
)
def test_what_cannot_be_reduced_is_said(bench, connected, arguments, says):
    bench.take(connected.drive(10))
    with pytest.raises(QueryError, match=says[:-1]):
        open_store(bench.path).vehicle("asset:one").reduced(*arguments)


def test_an_empty_range_is_all_breaks(hour):
    found = open_store(hour.path).vehicle("asset:one").reduced("Temp", "2030-01-01", "2030-01-02")
    assert found.count.sum() == 0
    assert np.isnan(found.low).all()
