from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.guards import Guard
from collector.rules.rulefile import DEFAULT_FILE, RuleError, load_rules
from tests.damage import TOML_TOKENS, damaged

ONE = """
[[rule]]
code = "HOT"
when = "Temp > 45 and not Speed < 5"
clear = "Temp < 43"
for_s = 2
severity = "CRITICAL"
description = "hot"
"""


def test_every_comparison_gives_a_guard_and_only_those_of_when_have_to_last():
    guards = load_rules(ONE).guards().guards
    assert set(guards) == {
        Guard("Temp", ">", 45.0, 2.0),
        Guard("Speed", "<", 5.0, 2.0),
        Guard("Temp", "<", 43.0),
    }


def test_the_shipped_rules_cover_what_they_promise():
    rules = load_rules().by_code()
    assert set(rules) == {
        "BATTERY_OVERTEMP",
        "MOTOR_OVERTEMP",
        "OVERSPEED",
        "PACK_VOLTAGE",
        "CELL_IMBALANCE",
        "LOW_12V",
    }
    battery = rules["BATTERY_OVERTEMP"]
    assert (battery.when, battery.for_s, battery.severity) == ("BatteryTempMax > 45", 0.0, "CRITICAL")
    assert all(rule.action and rule.description and rule.clear for rule in rules.values())


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(ONE)
    assert load_rules(path) == load_rules(str(path)) == load_rules(ONE)


def test_no_rules_are_rules():
    assert load_rules("").guards().hash == b""


def test_rules_that_read_differently_have_different_hashes():
    changed = load_rules(ONE.replace("45", "46")).rules[0]
    assert changed.hash != load_rules(ONE).rules[0].hash == load_rules(ONE + "\n# a comment\n").rules[0].hash


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'when = "Temp > 45 and',
            'when = "Temp > and',
            "rules:4:16: rule HOT, when: expected a signal or a number, found 'and'\n    Temp > and not Speed < 5\n           ^",
        ),
        ('"Temp < 43"', '"Temp <"', "rules:5:16: rule HOT, clear: expected a signal"),
        ('"Temp < 43"', '"""Temp\n<"""', "rules:5: rule HOT, clear, column 7: expected a signal"),
        ('"Temp < 43"', r'"Temp\t<"', "rules:5: rule HOT, clear, column 7: expected a signal"),
        ("for_s = 2", "fors = 2", "rules:6: rule HOT: unknown key 'fors'; did you mean for_s?"),
        ("for_s = 2", "for_s = -1", "for_s: must be a number of seconds from 0"),
        ("for_s = 2", "for_s = nan", "for_s: must be a number of seconds from 0"),
        ('"CRITICAL"', '"FATAL"', "severity: 'FATAL' is none of INFO, WARNING, CRITICAL"),
        ('description = "hot"', "", "description is missing"),
        ('description = "hot"', "description = 7", "description: must be a text in quotes"),
        ("[[rule]]", "[rule]", "two brackets"),
        ("[[rule]]", "[[rules]]", "unknown key 'rules'"),
        ('code = "HOT"', 'code = "HOT', "not TOML"),
    ],
)
def test_a_mistake_is_named_with_rule_key_and_column(old, new, says):
    with pytest.raises(RuleError) as caught:
        load_rules(ONE.replace(old, new))
    assert says in str(caught.value)


def test_a_code_names_one_rule():
    with pytest.raises(RuleError, match="rule HOT stands 2 times"):
        load_rules(ONE + ONE)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(RuleError, match=r"nowhere\.toml: cannot be read"):
        load_rules(tmp_path / "nowhere.toml")


@given(seed=st.integers(0, 1 << 32))
def test_whatever_the_file_holds_it_is_read_or_refused_by_name(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "damaged-rules.toml"
    path.write_bytes(damaged(DEFAULT_FILE.read_bytes(), seed, TOML_TOKENS))
    try:
        load_rules(path)
    except RuleError as error:
        refusal = str(error)
    else:
        return
    said = [line.startswith(str(path)) for line in refusal.splitlines()]
    assert said[0]
    # Each mistake is a line, or three: with the expression, and a mark under the place.
    assert all(
        line.startswith("    ") for line, begins in zip(refusal.splitlines(), said, strict=True) if not begins
    )
    assert said.count(False) % 2 == 0


def test_all_mistakes_are_told_at_once():
    two = ONE.replace("45", "") + ONE.replace("HOT", "COLD").replace("43", "x - x")
    with pytest.raises(RuleError) as caught:
        load_rules(
            two + ONE.replace("HOT", "WARM").replace('"CRITICAL"', "3").replace("for_s = 2", 'for_s = "x"')
        )
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines() if not line.startswith(" ")] == [
        "rules:4:17", "rules:22", "rules:23"
    ]  # fmt: skip
    many = "".join(ONE.replace("HOT", f"HOT{i}").replace("Temp <", "Temp") for i in range(25))
    with pytest.raises(RuleError, match="and 5 more mistakes"):
        load_rules(many)


FLEET = (
    """
[tags]
taxi = ["WVW*", "5YJSA1E6XSF004523"]
"""
    + ONE
    + """
[[rule.override]]
model = "Roadster*"
when = "Temp > 60"
[[rule.override]]
tag = "taxi"
for_s = 10
severity = "WARNING"
[[rule.override]]
model = "Roadster"
tag = "taxi"
enabled = false
"""
)


def test_overrides_change_rules_for_a_model_or_a_tag():
    rules = load_rules(FLEET)
    (plain,), (roadster,), (taxi,) = (
        rules.for_vehicle(vin, model).rules
        for vin, model in (("X", "Van"), ("X", "Roadster 2"), ("WVWZZZ1JZXW000001", ""))
    )
    assert (plain.when, plain.for_s, plain.severity) == ("Temp > 45 and not Speed < 5", 2.0, "CRITICAL")
    assert (roadster.when, roadster.clear, roadster.for_s) == ("Temp > 60", "Temp < 43", 2.0)
    assert (taxi.when, taxi.for_s, taxi.severity) == (plain.when, 10.0, "WARNING")
    assert rules.for_vehicle("WVWZZZ1JZXW000001", "Roadster").rules == ()
    assert len({rule.hash for rule in (plain, roadster, taxi)}) == 3
    assert plain.hash == load_rules(ONE).rules[0].hash


def test_every_vehicle_watches_the_limits_of_all_overrides():
    rules = load_rules(FLEET)
    guards = set(rules.guards().guards)
    assert {
        Guard("Temp", ">", 60.0, 10.0),
        Guard("Temp", ">", 60.0, 2.0),
        Guard("Temp", ">", 45.0, 2.0),
    } < guards
    for vin, model in (("X", "Van"), ("X", "Roadster 2"), ("WVW", "Roadster 3")):
        assert set(rules.for_vehicle(vin, model).guards().guards) <= guards


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'tag = "taxi"',
            'tag = "taxy"',
            "rules:17: rule HOT, override 2, tag: no vehicle has 'taxy'; did you mean taxi?",
        ),
        ('model = "Roadster*"', "", "rules:13: rule HOT, override 1: says neither model nor tag"),
        ('model = "Roadster*"', "model = 3", "rules:14: rule HOT, override 1, model: must be a text"),
        ('"Temp > 60"', '"Temp > "', "rules:15:15: rule HOT, override 1, when: expected a signal"),
        ("enabled = false", "enabled = 0", "override 3, enabled: must be true or false"),
        ("enabled = false", 'code = "X"', "override 3: unknown key 'code'"),
        ('taxi = ["WVW*",', 'taxi = ["",', "tags, taxi: must be a list of VINs"),
        ("[tags]", "[tag]", "unknown key 'tag'"),
    ],
)
def test_a_mistake_in_an_override_is_named(old, new, says):
    with pytest.raises(RuleError) as caught:
        load_rules(FLEET.replace(old, new, 1))
    assert says in str(caught.value)
