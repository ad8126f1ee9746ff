from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.guards import GuardSet
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from codec.stream import StreamDecoder, StreamEncoder, StreamFacts
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
    assert (span.peak, span.evidence, span.signal) == (47.5, {"Temp": 47.5, "Speed": 2.0}, "Temp")
    (low,) = evaluate_all(rules("Speed < 0"), SCHEMA, [(0, records([0] * 3, [-1, -5, -2]))])
    assert low.peak == -5


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


# Laws

values = st.one_of(st.none(), st.integers(80, 100).map(lambda x: x / 2))
drives = st.lists(st.tuples(values, st.one_of(st.none(), st.integers(-5, 15))), min_size=1, max_size=60)
conditions = st.sampled_from(
    [
        "Temp > 45",
        "Temp >= 44.7",
        "not Temp <= 43",
        "Temp > 45 or Speed > 9",
        "Temp > 44 and Speed < 9",
        "Temp == 45",
        "Temp != 45",
    ]
)
clears = st.sampled_from(["", "Temp < 43", "Speed < 2 or Temp < 42"])
waits = st.sampled_from([0.0, 0.1, 0.3, 1.0])


def cut(drive, cuts):
    whole = records([temp for temp, _ in drive], [speed for _, speed in drive])
    edges = sorted({0, len(whole), *(c % len(whole) for c in cuts)})
    return [whole.slice(a, b) for a, b in itertools.pairwise(edges)]


@given(drives, conditions, clears, waits, st.lists(st.integers(0, 59), max_size=5))
def test_where_blocks_are_cut_does_not_matter(drive, when, clear, for_s, cuts):
    file = rules(when, clear, for_s)
    whole = evaluate_all(file, SCHEMA, [(0, cut(drive, [])[0])])
    assert evaluate_all(file, SCHEMA, [(0, part) for part in cut(drive, cuts)]) == whole


@given(drives, conditions, clears, waits, st.lists(st.integers(0, 59), max_size=5))
def test_verdicts_on_reconstructed_records_are_those_on_sampled_ones(drive, when, clear, for_s, cuts):
    file = rules(when, clear, for_s)
    facts = StreamFacts(bytes(16), 0, 100)
    encoder, decoder = StreamEncoder(SCHEMA, facts, guards=file.guards()), StreamDecoder(SCHEMA, facts)
    sampled = cut(drive, cuts)
    blocks = [encoder.encode(part) for part in sampled]
    back = [decoder.decode(block.seq, block.content).records for block in blocks]
    expected, found = (evaluate_all(file, SCHEMA, [(0, part) for part in side]) for side in (sampled, back))
    assert [span.verdict for span in found] == [span.verdict for span in expected]
