"""A block ends when a guard has crossed, has stayed so for its `for_s`, and at most twice a second."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.guards import Guard, GuardSet
from edge_agent.crossings import Crossings
from tests.edge_agent.samples import HOT, RATE_HZ, SCHEMA, START, records


def scanned(guards, temps, cuts=()) -> list[int]:
    """Ticks of the closes, counted from the first record."""
    crossings = Crossings(SCHEMA, guards)
    whole = records(len(temps), temp=np.array(temps, float))
    edges = [0, *sorted(cuts), len(temps)]
    closes = []
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            closes += crossings.scan(whole.slice(start, stop))
    return [tick - START for tick in closes]


def test_the_record_that_crosses_is_the_last_of_its_block():
    assert scanned(HOT, [20] * 100 + [46] * 100) == [100]
    assert scanned(HOT, [20] * 100 + [46] * 100 + [20] * 50) == [100, 200]


def test_a_guard_that_holds_from_the_start_is_told_at_once():
    assert scanned(HOT, [50] * 10) == [0]
    assert scanned(HOT, [20] * 10) == []


def test_a_crossing_counts_when_it_has_lasted():
    lasting = GuardSet((Guard("Temp", ">", 45.0, for_s=1.0),))
    assert scanned(lasting, [20] * 10 + [46] * 100) == [10 + RATE_HZ]
    assert scanned(lasting, [20] * 10 + [46] * (RATE_HZ - 1) + [20] * 100) == []


def test_a_value_that_is_not_available_starts_the_time_again():
    crossings = Crossings(SCHEMA, GuardSet((Guard("Temp", ">", 45.0, for_s=1.0),)))
    first = START
    for count, available in ((40, True), (1, False), (40, True)):
        assert crossings.scan(records(count, first=first, temp=46, available=available)) == []
        first += count
    assert crossings.scan(records(40, first=first, temp=46)) == [START + 41 + RATE_HZ]


def test_a_value_that_chatters_closes_two_blocks_a_second():
    closes = scanned(HOT, [46, 20] * (RATE_HZ * 5))
    assert len(closes) <= 10 * 2
    assert all(later - earlier >= RATE_HZ // 2 for earlier, later in itertools.pairwise(closes))


def test_states_are_bits_in_the_order_of_the_set():
    guards = GuardSet((Guard("Gear", "==", 0.0), Guard("Nothing", ">", 1.0), Guard("Temp", ">", 45.0)))
    crossings = Crossings(SCHEMA, guards)
    crossings.scan(records(5, temp=46))
    assert crossings.states() == bytes([0b101])


def lasted(*runs) -> str:
    """Bits of two guards on Temp, for 0 and 1 s, after (count, temp, available) from one tick to the next; None: a missed tick."""
    crossings = Crossings(SCHEMA, GuardSet((Guard("Temp", ">", 45.0), Guard("Temp", ">", 45.0, for_s=1.0))))
    first = START
    for run in runs:
        if run is None:
            first += 1
            continue
        count, temp, available = run
        crossings.scan(records(count, first=first, temp=temp, available=available))
        first += count
    return f"{crossings.lasted()[0]:02b}"


def test_a_guard_has_lasted_when_it_was_the_same_for_its_time_without_a_break():
    one = RATE_HZ
    assert lasted((one, 46, True)) == "01"
    assert lasted((one, 46, True), (1, 46, True)) == "11"
    assert lasted((one + 1, 20, True)) == "11", "it may be that it does not hold"
    assert lasted((one + 1, 46, True), (1, 20, True)) == "01"
    assert lasted((one + 1, 46, True), (1, 20, True), (one, 46, True)) == "01"
    assert lasted((one, 46, True), (1, 46, False)) == "00"
    assert lasted((one, 46, True), (1, 46, False), (one, 46, True)) == "01"
    assert lasted((one, 46, True), None, (one, 46, True)) == "01", "a missed tick starts it anew, as in rules"


@given(st.data())
def test_closes_do_not_depend_on_how_records_are_cut(data):
    temps = data.draw(st.lists(st.sampled_from([20, 45, 46]), min_size=1, max_size=200))
    guards = GuardSet((Guard("Temp", ">", 45.0, for_s=data.draw(st.sampled_from([0, 0.02, 0.1, 0.5]))),))
    cuts = data.draw(st.lists(st.integers(0, len(temps)), max_size=5))
    assert scanned(guards, temps, cuts) == scanned(guards, temps)
