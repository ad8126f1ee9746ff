"""What rules say of now, by guards alone: sound against the rules over records, and as complete as guards allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.guards import Guard, GuardSet
from codec.records import Availability, Records
from collector.rules import RuleState, bind, evaluate, guard_verdicts, lasting, load_rules
from edge_agent.crossings import Crossings
from tests.collector.vehicle import SCHEMA

CONDITIONS = (
    "Temp > 45",
    "not Temp > 45",
    "Temp > 45 and Speed > 50",
    "Temp > 45 or Speed > 50",
    "not (Temp > 45 or not Speed > 50)",
    "Temp > 45 and Missing > 1",
    "Temp > 45 or Missing > 1",
)


def rules(when: str, for_s: float, clear: str = ""):
    cleared = f'clear = "{clear}"\n' if clear else ""
    text = f'[[rule]]\ncode = "X"\nwhen = "{when}"\n{cleared}for_s = {for_s}\nseverity = "INFO"\ndescription = "x"\n'
    return load_rules(text)


def now(some, records) -> bool | None:
    crossings = Crossings(SCHEMA, some.guards())
    for run in records:
        crossings.scan(run)
    ((_, lasts),) = lasting(some, guard_verdicts(some.guards(), crossings.states(), crossings.lasted()))
    return lasts


def record(first, temps, speeds, available):
    counts = np.array(
        [[temp * 10, speed * 20, 1] for temp, speed in zip(temps, speeds, strict=True)], np.int64
    )
    states = np.full(counts.shape, Availability.AVAILABLE, np.uint8)
    states[~np.array(available), 0] = Availability.STALE
    return Records(first, counts, states)


def cases():
    one = st.tuples(st.sampled_from([20, 46]), st.sampled_from([20, 60]), st.booleans() | st.just(True))
    return st.lists(st.lists(one, min_size=1, max_size=12), min_size=1, max_size=4)


@given(st.sampled_from(CONDITIONS), st.sampled_from([0.0, 0.3, 1.0]), cases(), st.booleans())
def test_a_rule_that_lasts_by_its_guards_is_an_open_fault_by_its_records(when, for_s, runs, missed):
    some = rules(when, for_s)
    bound, state, first, sampled = bind(some, SCHEMA), RuleState(), 100, []
    for run in runs:
        sampled.append(record(first, *zip(*run, strict=True)))
        first = sampled[-1].end_tick + missed
        _, state = evaluate(bound, state, 0, sampled[-1], frozenset({"X"}))
    episode = state.episodes.get("X")
    is_open = episode is not None and episode.detected_tick is not None
    match now(some, sampled):
        case True:
            assert is_open
        case False:
            assert not is_open
        case None if "or" not in when and "Missing" not in when and for_s == 0 and runs[-1][-1][2]:
            raise AssertionError("everything is available: it is known")


def test_hysteresis_is_over_where_clear_holds_and_unknown_between():
    some = rules("Temp > 45", 0, clear="Temp < 43")
    assert [now(some, [record(0, [temp], [20], [True])]) for temp in (46, 44, 42)] == [True, None, False]


def test_what_has_not_lasted_is_not_known():
    some = rules("Temp > 45", 1.0)
    assert now(some, [record(0, [46] * 10, [20] * 10, [True] * 10)]) is None
    assert now(some, [record(0, [46] * 11, [20] * 11, [True] * 11)]) is True


@pytest.mark.parametrize("bits", [b"", b"\x01", bytes(9)])
def test_bits_that_are_missing_are_not_known(bits):
    guards = GuardSet(tuple(Guard("Temp", ">", float(limit)) for limit in range(20)))
    verdicts = guard_verdicts(guards, bits, bytes([255]))
    assert len(verdicts) == 20
    assert set(list(verdicts.values())[8:]) == {None}
