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
            "rule HOT, when, column 8: expected a number, found 'and'",
        ),
        ('"Temp < 43"', '"Temp <"', "rule HOT, clear, column 7"),
        ("for_s = 2", "fors = 2", "unknown key 'fors'; did you mean 'for_s'?"),
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
    said, *quoted = refusal.splitlines()
    assert said.startswith(str(path))
    assert len(quoted) in (0, 2)  # an expression, and a mark under the place
    assert all(line.startswith("    ") for line in quoted)
