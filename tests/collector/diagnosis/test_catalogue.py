from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.diagnosis import DEFAULT_CATALOGUE, CatalogueError, load_catalogue
from collector.diagnosis.catalogue import Cause
from collector.rules import load_rules
from decoder import dbc

SOUND = """
[[signature]]
code = "HOT_FLOW"
title = "hot"
within_s = 60
[[signature.part]]
name = "hot"
fault = "BATTERY_OVERTEMP"
required = true
[[signature.part]]
name = "cool"
when = "Inlet < 35"
for_s = 3
after = "hot"
[[signature.cause]]
cause = "pump"
base = 0.5
evidence = {cool = 3}
"""


def test_the_shipped_catalogue_names_only_what_is_there(tmp_path):
    catalogue = load_catalogue()
    assert catalogue.unknown_codes(rule.code for rule in load_rules().rules) == []
    car = dbc.load(DEFAULT_CATALOGUE.parents[2] / "replay_logs" / "car.dbc")
    names = {signal.name for message in car.messages for signal in message.signals}
    # The car has no isolation monitor and no tyre pressures: these parts cannot be told there, and say so.
    parts = {one.partition(": ")[0] for one in catalogue.unknown_signals(names)}
    assert parts == {
        "signature CONTACTOR_ISOLATION, part isolation-low, when",
        "signature TYRE, part pressure-low, when",
    }
    assert all(signature.sources for signature in catalogue.signatures)


def test_a_condition_is_a_rule_of_its_own():
    (rule,) = load_catalogue(SOUND).conditions
    assert (rule.code, rule.when, rule.for_s) == ("signature:HOT_FLOW/cool", "Inlet < 35", 3.0)


def test_what_nobody_knows_is_named_with_the_nearest_right_one():
    catalogue = load_catalogue(SOUND.replace("BATTERY_OVERTEMP", "BATERY_OVERTEMP"))
    (complaint,) = catalogue.unknown_codes(["MOTOR_OVERTEMP", "BATTERY_OVERTEMP"])
    assert complaint == (
        "signature HOT_FLOW, part hot, fault: no rule BATERY_OVERTEMP; did you mean BATTERY_OVERTEMP?"
    )
    (complaint,) = catalogue.unknown_signals(["InletTemp", "Speed"])
    assert complaint == "signature HOT_FLOW, part cool, when: no signal Inlet; did you mean InletTemp?"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("within_s = 60", "within = 60", "signature HOT_FLOW: unknown key 'within'; did you mean within_s?"),
        (
            "within_s = 60",
            "within_s = -1",
            "signature HOT_FLOW, within_s: must be a number from 0 to 604800, not -1",
        ),
        ('title = "hot"', "", "signature HOT_FLOW: title is missing"),
        ("required = true", "", "signature HOT_FLOW: no part is required"),
        ("required = true", 'required = "yes"', "part hot, required: must be true or false, not 'yes'"),
        ('fault = "BATTERY_OVERTEMP"', "", "part hot: needs one of fault, when, anomaly, and has none"),
        (
            'after = "hot"',
            'after = "hott"',
            "part cool, after: no part 'hott' stands above it; did you mean hot?",
        ),
        (
            "Inlet < 35",
            "Inlet <",
            "part cool, when, column 8: expected a signal or a number, found 'the end'",
        ),
        ('name = "cool"', 'name = "hot"', "signature HOT_FLOW: part hot stands 2 times"),
        ("{cool = 3}", "{cold = 3}", "cause 1, evidence: no part 'cold'; did you mean cool?"),
        (
            "{cool = 3}",
            "{cool = 0}",
            "cause 1, evidence cool: must be a number from 0.01 to 100, or two, not 0",
        ),
        ("base = 0.5", "base = 1", "cause 1, base: must be a number from 0.001 to 0.999, not 1"),
        ("[[signature.cause]]", "[signature.cause]", "write each cause as a table, with two brackets"),
        ("[[signature]]", "[[signature", "not TOML"),
        (
            'fault = "BATTERY_OVERTEMP"',
            'fault = "X"\nfor_s = 1',
            "part hot, for_s: only a condition (when) waits",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(SOUND.replace(old, new))
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_confidence_is_the_odds_times_what_each_part_says():
    cause = Cause("pump", 0.5, {"a": (3.0, 0.5), "b": (0.25, 1.0)})
    assert cause.confidence([], []) == 0.5
    assert cause.confidence(["a"], []) == pytest.approx(3 / 4)
    assert cause.confidence([], ["a"]) == pytest.approx(0.5 / 1.5)
    assert cause.confidence(["a", "b"], []) == pytest.approx(0.75 / 1.75)
    assert cause.confidence(["unheard-of"], ["b"]) == 0.5


@given(
    st.floats(0.001, 0.999),
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.floats(0.01, 100), st.floats(0.01, 100))),
    st.sets(st.sampled_from("abcdef")),
)
def test_confidence_stays_within_0_and_1(base, factors, seen):
    confidence = Cause("x", base, factors).confidence(seen, set("abcdef") - seen)
    assert 0 <= confidence <= 1
    assert not math.isnan(confidence)


@given(st.text(max_size=200))
def test_whatever_a_file_holds_it_is_read_or_refused(text):
    with contextlib.suppress(CatalogueError):
        load_catalogue(text + "\n")
