"""The whole stream: what is told, what is not, and that cuts and restarts change nothing."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.records import Availability, Records
from codec.schema import Schema, Signal
from collector.battery import BatteryState, Roles, advance, bind, portion_of, portions

RATE = 10
NS = 1_000_000_000
SCHEMA = Schema(
    RATE,
    (
        Signal("PackVoltage", unit="V", factor=0.1),
        Signal("PackCurrent", unit="A", factor=0.1),
        Signal("SOC", unit="%", factor=0.1),
        Signal("CellImbalance", unit="mV"),
        Signal("BatteryTempMax", unit="degC", factor=0.1, offset=-40),
        Signal("Other"),
    ),
)
BATTERY = bind(Roles(), SCHEMA)
START = 1_700_000_000 * RATE
RESISTANCE, CAPACITY_AH = 0.05, 50.0


def drive(seconds: int, seed: int = 0) -> Records:
    """A pack of RESISTANCE and CAPACITY_AH under a current that changes once a second."""
    random = np.random.default_rng(seed)
    current = np.repeat(random.integers(-100, 300, seconds), RATE).astype(float)
    charge = np.concatenate(([0.0], np.cumsum(current)[:-1])) / RATE / 3600
    columns = (
        (400 - RESISTANCE * current) * 10,
        current * 10,
        (90 - 100 * charge / CAPACITY_AH) * 10,
        20 + np.repeat(random.integers(0, 5, seconds), RATE),
        np.full(len(current), 650),
        np.arange(len(current)),
    )
    counts = np.rint(np.column_stack(columns)).astype(np.int64)
    return Records(START, counts, np.zeros(counts.shape, np.uint8))


def wall_ns(tick: int) -> int:
    return tick * (NS // RATE)


def taken(runs, *, restart=False, stream_no=0):
    state, found = BatteryState(), []
    for run in runs:
        some, state = advance(BATTERY, state, stream_no, portion_of(BATTERY, run), wall_ns)
        found += some
        if restart:
            state = BatteryState.from_json(json.loads(json.dumps(state.to_json())))
    return found, state


def of(kind, found):
    return [one for one in found if one.kind == kind]


def test_a_pack_is_found_again():
    found, _ = taken([drive(600)])
    resistances, capacities = of("resistance", found), of("capacity", found)
    assert len(resistances) >= 8
    assert all(abs(one.value - RESISTANCE) <= one.uncertainty <= 0.1 * RESISTANCE for one in resistances)
    assert all(one.conditions["temperature_c"] == 25.0 for one in resistances)
    assert capacities
    assert all(abs(one.value - CAPACITY_AH) <= one.uncertainty <= 0.1 * CAPACITY_AH for one in capacities)
    for one in of("imbalance", found):
        assert 20 <= one.value <= 24


def test_no_kind_comes_more_than_once_a_minute_and_stretches_do_not_overlap():
    found, _ = taken([drive(1200)])
    for kind in {one.kind for one in found} - {"imbalance_trend"}:
        some = of(kind, found)
        assert all(one.tick <= later.first_tick for one, later in itertools.pairwise(some))
        if kind != "capacity":
            assert len(some) <= 20


def test_what_is_not_available_is_never_counted():
    whole = drive(600)
    states = whole.states.copy()
    states[::50, 1] = Availability.STALE  # once in five seconds
    found, _ = taken([Records(whole.first_tick, np.where(states, 0, whole.counts), states)])
    assert of("capacity", found) == []
    assert all(abs(one.value - RESISTANCE) <= one.uncertainty for one in of("resistance", found))


def test_a_gap_begins_the_counting_again():
    whole = drive(400)
    half = len(whole) // 2
    found, _ = taken([whole.slice(0, half), whole.slice(half + 7, len(whole))])
    for one in of("capacity", found):
        assert not one.first_tick < START + half < one.tick


def test_charge_that_is_set_is_not_measured():
    whole = drive(120)
    whole.counts[600:, 2] -= 200  # 20 % lower at once
    found, _ = taken([whole])
    assert all(abs(one.value - CAPACITY_AH) <= one.uncertainty for one in of("capacity", found))


def test_a_new_stream_begins_again_but_for_the_trend():
    _, state = taken([drive(300)])
    assert state.trend is not None
    _, after = advance(BATTERY, state, 1, portion_of(BATTERY, drive(1)), wall_ns)
    assert (after.stream_no, after.trend, after.counting) == (1, state.trend, after.counting)
    assert after.minute is not None
    assert after.minute.seconds == 1


def test_thresholds_widen_the_uncertainty():
    signals = tuple(
        Signal(**{**{k: getattr(s, k) for k in ("name", "unit", "factor", "offset")}, "threshold": t})
        for s, t in zip(SCHEMA.signals, (0.5, 1.0, 0.5, 5.0, 1.0, 0.0), strict=True)
    )
    battery = bind(Roles(), Schema(RATE, signals))
    loose, _ = advance(battery, BatteryState(), 0, portion_of(battery, drive(600)), wall_ns)
    tight, _ = taken([drive(600)])
    for kind in ("resistance", "imbalance"):
        assert of(kind, loose)[0].uncertainty > of(kind, tight)[0].uncertainty
    assert of("resistance", loose)[0].conditions["bound"] > 0


def test_ripple_is_what_current_does_not_explain():
    whole = drive(120)
    random = np.random.default_rng(3)
    noisy = whole.counts.copy()
    noisy[:, 0] += np.rint(random.normal(0, 20, len(whole))).astype(np.int64)  # 2 V
    quiet, _ = taken([whole])
    loud, _ = taken([Records(START, noisy, whole.states)])
    assert of("ripple", quiet)[0].value < 0.1
    assert of("ripple", loud)[0].value == pytest.approx(2.0, rel=0.1)


def test_portions_of_many_blocks_are_those_of_each():
    whole = drive(60, 5)
    states = whole.states.copy()
    states[77:80, 0] = states[301, 1] = Availability.STALE
    whole = Records(START + 3, np.where(states, 0, whole.counts), states)
    parts = [whole.slice(start, start + 25) for start in range(0, len(whole) - 25, 7)]
    counts, states = (np.stack(some) for some in ([p.counts.T for p in parts], [p.states.T for p in parts]))
    found = portions(BATTERY, [part.first_tick for part in parts], counts, states)
    assert found == [portion_of(BATTERY, part) for part in parts]


@settings(max_examples=25)
@given(
    st.integers(0, 1000),
    st.lists(st.integers(1, 2500), max_size=20),
    st.lists(st.tuples(st.integers(0, 2490), st.integers(1, 30), st.sampled_from([0, 1, 2])), max_size=4),
    st.sampled_from([0, 3, 11]),
    st.booleans(),
)
def test_the_same_comes_out_however_it_is_cut(seed, cuts, holes, offset, restart):
    whole = drive(250, seed)
    states = whole.states.copy()
    for at, length, column in holes:
        states[at : at + length, column] = Availability.NOT_AVAILABLE
    counts = np.where(states, 0, whole.counts)
    whole = Records(START + offset, counts, states)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parts = [whole.slice(start, stop) for start, stop in itertools.pairwise(places)]
    once, state = taken([whole])
    often, state_often = taken(parts, restart=restart)
    assert often == once
    assert state_often.to_json() == state.to_json()
    assert all(math.isfinite(one.value) and one.uncertainty >= 0 for one in once)
