from __future__ import annotations

import json

import numpy as np
import pytest

from codec.guards import GuardSet
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from collector.rules import RuleState, bind, evaluate, evaluate_all, load_rules, withdraw_changed

SCHEMA = Schema(10, (Signal("Temp", factor=0.5, threshold=2.0), Signal("Speed", threshold=3.0)))
NA = None


def rules(when: str, clear: str = "", for_s: float = 0):
    return load_rules(
        f'[[rule]]\ncode="R"\nwhen="{when}"\nclear="{clear}"\nfor_s={for_s}\nseverity="INFO"\ndescription="d"\n'
    )


def records(temps, speeds=None, first_tick=100) -> Records:
    """Physical values; None is not available."""
    columns = [temps, speeds if speeds is not None else [0] * len(temps)]
    counts = np.zeros((len(temps), 2), np.int64)
    states = np.zeros((len(temps), 2), np.uint8)
    for column, values in enumerate(columns):
        for row, value in enumerate(values):
            if value is NA:
                states[row, column] = Availability.STALE
            else:
                counts[row, column] = round(value / SCHEMA.signals[column].factor)
    return Records(first_tick, counts, states)


def spans(when, *runs, clear="", for_s=0.0):
    """(first, detected, last) ticks, last None while open."""
    listed = [run if isinstance(run, tuple) else (0, run) for run in runs]
    return [
        (s.first_tick, s.detected_tick, s.last_tick)
        for s in evaluate_all(rules(when, clear, for_s), SCHEMA, listed)
    ]


def test_a_fault_opens_where_the_condition_holds_and_ends_where_it_does_not():
    assert spans("Temp > 45", records([40, 46, 47, 45, 40])) == [(101, 101, 102)]
    assert spans("Temp > 45", records([40, 46])) == [(101, 101, None)]


def test_it_waits_for_s_and_begins_where_the_wait_began():
    temps = [40, 46, 46, 46, 46, 40]
    assert spans("Temp > 45", records(temps), for_s=0.3) == [(101, 104, 104)]
    assert spans("Temp > 45", records(temps), for_s=0.4) == []


def test_a_wait_goes_on_over_blocks_that_follow_each_other():
    assert spans("Temp > 45", records([46, 46]), records([46, 46], first_tick=102), for_s=0.3) == [
        (100, 103, None)
    ]


@pytest.mark.parametrize(
    "second", [(0, records([46, 46], first_tick=103)), (1, records([46, 46], first_tick=102))]
)
def test_a_missed_tick_and_a_new_stream_start_the_wait_anew(second):
    assert spans("Temp > 45", records([46, 46]), second, for_s=0.3) == []


def test_a_value_that_is_not_available_starts_the_wait_anew():
    assert spans("Temp > 45", records([46, 46, NA, 46, 46]), for_s=0.3) == []


def test_an_open_fault_waits_for_the_next_available_value():
    assert spans("Temp > 45", records([46, NA, NA, 46, 40])) == [(100, 100, 103)]
    assert spans("Temp > 45", records([46, NA, 40])) == [(100, 100, 100)]
    assert spans("Temp > 45", records([46]), records([47, 40], first_tick=200)) == [(100, 100, 200)]


def test_a_fault_that_ends_in_a_later_stream_says_so():
    (span,) = evaluate_all(
        rules("Temp > 45"), SCHEMA, [(0, records([46])), (1, records([47, 40], first_tick=5))]
    )
    assert (span.stream_no, span.first_tick, span.last_stream_no, span.last_tick) == (0, 100, 1, 5)


def test_hysteresis_keeps_a_fault_open_until_it_clears():
    assert spans("Temp > 45", records([46, 44, 46, 44, 42, 46]), clear="Temp < 43") == [
        (100, 100, 103),
        (105, 105, None),
    ]


def test_a_careless_pair_of_conditions_does_not_flap():
    assert spans("Temp > 45", records([46, 46, 46]), clear="Temp > 0") == [(100, 100, None)]


def test_unknown_matters_only_where_the_answer_depends_on_it():
    assert spans("Temp > 45 or Speed > 100", records([46, 46], [NA, NA])) == [(100, 100, None)]
    assert spans("Temp > 45 and Speed > 100", records([46, 46], [NA, NA])) == []
    assert spans("not (Temp > 45 and Speed > 100)", records([40], [NA])) == [(100, 100, None)]
    assert spans("Temp > 45 or Missing > 1", records([46])) == [(100, 100, None)]
    assert spans("not Missing > 1", records([46])) == []


def test_a_limit_means_its_decimals():
    """3 * 0.05 > 0.15 in float64, and still three counts of 0.05 are 0.15."""
    schema = Schema(10, (Signal("v", factor=0.05),))
    block = Records(0, np.array([[3], [4]]), np.zeros((2, 1), np.uint8))
    (span,) = evaluate_all(rules("v > 0.15"), schema, [(0, block)])
    assert span.first_tick == 1


def test_nan_of_a_float_signal_is_unknown():
    schema = Schema(10, (Signal("f", kind=Kind.FLOAT64),))
    bits = np.array([[2.0], [np.nan], [2.0], [0.0]]).view(np.int64)
    found = evaluate_all(rules("f > 1"), schema, [(0, Records(0, bits, np.zeros((4, 1), np.uint8)))])
    assert [(s.first_tick, s.last_tick, s.peak) for s in found] == [(0, 2, 2.0)]


def test_peak_and_evidence():
    (span,) = evaluate_all(
        rules("Temp > 45 and Speed < 9", for_s=0.1), SCHEMA, [(0, records([46, 47.5, 47], [1, 2, NA]))]
    )
    assert (span.peak, span.signal) == (47.5, "Temp")
    assert span.evidence.at_detection == {"Temp": 47.5, "Speed": 2.0}
    assert span.evidence.values == {"Temp": (46.0, 47.5, 47.0), "Speed": (1.0, 2.0, None)}
    (low,) = evaluate_all(rules("Speed < 0"), SCHEMA, [(0, records([0] * 3, [-1, -5, -2]))])
    assert low.peak == -5
    (fast,) = evaluate_all(rules("rate(Temp, 0.1s) > 9"), SCHEMA, [(0, records([40, 41, 43, 43]))])
    assert (fast.first_tick, fast.last_tick, fast.peak) == (101, 102, 20.0)


def test_evidence_reaches_from_5_s_before_a_fault_is_detected_to_2_s_after_or_where_it_ended():
    """Whole, though blocks end in between; in whole steps of a tenth of a second."""
    temps = [40] * 70 + [46] * 40
    parts = [(0, records(temps[at : at + 8], first_tick=100 + at)) for at in range(0, 110, 8)]
    (span,) = evaluate_all(rules("Temp > 45", for_s=0.5), SCHEMA, parts)
    assert span.detected_tick == 175
    assert (span.evidence.first_tick, span.evidence.step_ticks) == (125, 1)
    assert span.evidence.values == {"Temp": (40.0,) * 45 + (46.0,) * 26}
    (short,) = evaluate_all(rules("Temp > 45"), SCHEMA, [(0, records([40, 46, 46, 40, 40]))])
    assert short.evidence.values == {"Temp": (40.0, 46.0, 46.0, 40.0)}


def test_at_a_high_rate_evidence_is_thinned_out():
    schema = Schema(100, (Signal("Temp"),))
    counts = np.array([[min(tick, 900)] for tick in range(2000)])
    (span,) = evaluate_all(
        rules("Temp >= 900"), schema, [(0, Records(0, counts, np.zeros_like(counts, np.uint8)))]
    )
    values = span.evidence.values["Temp"]
    assert (span.evidence.first_tick, span.evidence.step_ticks, len(values)) == (400, 10, 71)
    assert values[:2] == (400.0, 410.0)
    assert values[50:52] == (900.0, 900.0)


def test_faults_of_a_code_are_counted():
    found = evaluate_all(rules("Temp > 45"), SCHEMA, [(0, records([46, 40, 46])), (1, records([40, 46]))])
    assert [span.occurrence for span in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("when", "temps", "first"),
    [
        ("mean(Temp, 0.3s) > 45", [40, 44, 45, 46, 46, 40], 104),
        ("mean(Temp, 0.3s) > 45", [46, 46, 46], 102),  # not before the window is full
        ("mean(Temp, 0.3s) > 45", [46, NA, 46, NA, NA, 46], 102),  # and half of it available
        ("min(Temp, 0.3s) > 45", [46, 46, 40, 46, 46, 46], 105),
        ("max(Temp, 0.3s) - min(Temp, 0.3s) >= 3", [40, 41, 42, 43, 45], 104),
        ("std(Temp, 0.2s) >= 1", [40, 41, 43], 102),
        ("rate(Temp, 0.2s) <= -10", [46, 45, 44.5, 43], 103),
        ("Temp + Speed > 45", [40, 45, 46], 102),
        ("abs(Temp - 40) * 2 > 6", [42, 38, 36], 102),
        ("Temp / Speed > 1", [1, 2], None),  # nothing divides by 0
        ("missing(Temp)", [40, NA], 101),
        ("not missing(Temp)", [NA, 40], 101),
        ("stale(Temp, 0.3s)", [NA, NA, 40, NA, NA, NA], 105),
        ("not stale(Temp, 0.3s)", [NA, NA, 40, NA], 102),
        ("missing(Missing) or Temp > 99", [40, 40], None),
    ],
)
def test_what_windows_and_arithmetic_say(when, temps, first):
    found = evaluate_all(rules(when), SCHEMA, [(0, records(temps))])
    assert (found[0].first_tick if found else None) == first


def test_the_rate_of_an_angle_takes_the_short_way():
    schema = Schema(10, (Signal("Heading", circular=360.0),))
    counts = np.array([[359], [1], [3]])
    block = Records(0, counts, np.zeros_like(counts, np.uint8))
    assert evaluate_all(rules("abs(rate(Heading, 0.1s)) > 25"), schema, [(0, block)]) == []
    assert len(evaluate_all(rules("rate(Heading, 0.1s) > 15"), schema, [(0, block)])) == 1


@pytest.mark.parametrize("second", [(0, 103), (1, 102)])
def test_a_window_begins_anew_after_a_missed_tick_and_in_a_new_stream(second):
    stream_no, first_tick = second
    runs = [records([46, 46]), (stream_no, records([46, 46], first_tick=first_tick))]
    assert spans("mean(Temp, 0.3s) > 45", *runs) == []
    assert spans("mean(Temp, 0.3s) > 45", records([46, 46]), records([46, 46], first_tick=102)) == [
        (102, 102, None)
    ]


def test_what_reckons_with_reconstructed_values_is_approximate_whatever_the_guards():
    lossless = Schema(10, (Signal("Temp", factor=0.5), Signal("Speed")))
    for when, covered in (
        ("rate(Temp, 1s) > 1", False),
        ("Temp > 45 and Temp + Speed > 50", False),
        ("2 * Temp > 90 and missing(Speed)", True),
    ):
        file = rules(when)
        assert bind(file, SCHEMA).exact_under(file.guards()) == ({"R"} if covered else frozenset())
        assert bind(file, lossless).exact_under(None) == {"R"}


def test_what_a_state_forgot_is_recalled_from_the_records():
    """As after a restart: what is written down has no records in it."""
    file = rules("mean(Temp, 1s) > 45")
    bound = bind(file, SCHEMA)
    first, second = records([46] * 30), records([46] * 5, first_tick=130)
    _, state = evaluate(bound, RuleState(), 0, first, frozenset())
    loaded = RuleState.from_json(json.loads(json.dumps(state.to_json())))
    assert not state.lacks_tail(bound)
    assert loaded.lacks_tail(bound)
    recalled = loaded.with_tail(bound, [first.slice(0, 20), first.slice(20, 30)])
    assert not recalled.lacks_tail(bound)
    assert (
        evaluate(bound, recalled, 0, second, frozenset())[1]
        == evaluate(bound, state, 0, second, frozenset())[1]
    )


@pytest.mark.parametrize(
    ("signal", "approximate"),
    [
        (Signal("Temp", kind=Kind.FLOAT32, threshold=2.0), True),
        (Signal("Temp", kind=Kind.FLOAT32), False),
        (Signal("Temp", factor=0.5, threshold=2.0), True),
        (Signal("Temp", factor=0.5, threshold=0.4), False),  # less than a count: lossless
    ],
)
def test_without_a_guard_only_what_is_lossless_has_exact_verdicts(signal, approximate):
    bound = bind(rules("Temp > 45"), Schema(10, (signal,)))
    assert bound.exact_under(GuardSet()) == (frozenset() if approximate else {"R"})
    assert bound.exact_under(rules("Temp > 45").guards()) == {"R"}


def test_a_fault_is_approximate_if_a_block_of_it_was_encoded_without_its_guard():
    file = rules("Temp > 45", for_s=0.2)
    bound = bind(file, SCHEMA)
    assert bound.exact_under(file.guards()) == {"R"}
    assert bound.exact_under(GuardSet()) == bound.exact_under(None) == frozenset()
    changed, state = evaluate(bound, RuleState(), 0, records([46, 46]), frozenset())
    assert changed == []
    (span,), _ = evaluate(bound, state, 0, records([46, 46], first_tick=102), frozenset({"R"}))
    assert span.approximate


def test_lossless_signals_need_no_guard():
    bound = bind(rules("Temp > 45"), Schema(10, (Signal("Temp", factor=0.5),)))
    assert bound.exact_under(None) == {"R"}


def test_state_survives_being_written_down():
    bound = bind(rules("Temp > 45", for_s=0.2), SCHEMA)
    _, state = evaluate(bound, RuleState(), 3, records([46, 46]), frozenset())
    assert RuleState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_a_rule_that_changed_ends_its_open_faults():
    bound = bind(rules("Temp > 45"), SCHEMA)
    _, state = evaluate(bound, RuleState(), 0, records([46, 46]), frozenset())
    assert withdraw_changed(rules("Temp > 45"), state) == ([], state)
    (gone,), after = withdraw_changed(rules("Temp > 46"), state)
    assert gone[0] == "R"
    assert gone[1].seen_tick == 101
    assert after.episodes == {}


def test_no_peak_is_told_of_values_that_are_beyond_all_numbers():
    """A DBC may have any factor. The fault goes on, with the peak of those before."""
    schema = Schema(10, (Signal("T", factor=1e306),))
    bound = bind(load_rules(RULE_T), schema)
    state = RuleState()
    for at, counts in ((0, 1), (10, 1000), (20, 1000)):
        block = Records(at, np.full((10, 1), counts, np.int64), np.zeros((10, 1), np.uint8))
        spans, state = evaluate(bound, state, 0, block, frozenset())
        assert {span.peak for span in spans} <= {1e306}


RULE_T = """
[[rule]]
code = "HOT"
when = "T > 45"
clear = "T < 43"
severity = "CRITICAL"
description = "hot"
"""
