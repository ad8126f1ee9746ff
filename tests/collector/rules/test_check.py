from __future__ import annotations

import pytest

from benchmarks.sampled import DRIVES
from collector.config import PROFILES
from collector.rules import load_rules
from collector.rules.check import Known, check
from decoder import dbc

RULES = load_rules(
    """
[[rule]]
code = "A"
when = "Temp > 45 and 2 * Speed > 9 and not missing(Gear)"
severity = "INFO"
description = "d"
[[rule.override]]
model = "X"
clear = "mean(Temp, 5s) < Inlet"
[[rule]]
code = "B"
when = "temp > 300 or abs(Speed) > 300"
severity = "INFO"
description = "d"
"""
)
SIGNALS = {"Temp": Known("degC", -40, 150), "Speed": Known("km/h", 0, 350), "Battery.Inlet": Known()}


def test_a_rule_is_exact_unless_it_reckons_with_values():
    one, other = check(RULES, None)
    assert one.reckons_with == ("Temp", "Inlet"), "overrides count"
    assert other.reckons_with == ()
    assert one.errors == other.errors == ()


def test_unknown_signals_are_named_with_the_nearest():
    one, other = check(RULES, SIGNALS)
    assert one.errors == ("no signal Gear", "no signal Inlet; did you mean Battery.Inlet?")
    assert one.signals[0] == ("Temp", "degC")
    assert other.errors == ("no signal temp; did you mean Temp?",)


def test_limits_that_no_value_can_reach_are_told():
    _, other = check(RULES, SIGNALS)
    assert other.warnings == ("Speed < -300: the DBC says that Speed is 0 to 350 km/h",)


@pytest.mark.parametrize("name", PROFILES)
def test_the_shipped_profiles_name_signals_of_our_car_within_their_ranges(name):
    known = {
        signal.name: Known(signal.unit or "", signal.minimum, signal.maximum)
        for message in dbc.load(DRIVES / "car.dbc").messages
        for signal in message.signals
    }
    reports = check(load_rules(PROFILES[name]), known)
    assert [(one.errors, one.warnings) for one in reports] == [((), ())] * len(reports)
    exact = [one.code for one in reports if not one.reckons_with]
    assert len(exact) == {"demo": 6, "fleet": 8}[name]
