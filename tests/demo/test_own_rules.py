"""Rules drawn from a drive find something in it, and not too much."""

from __future__ import annotations

import numpy as np
import pytest

from codec.records import Availability, Records
from codec.schema import Schema, Signal
from collector.rules import evaluate_all, load_rules
from demo.own_rules import FAULTS_MAX, RULES_WANTED, rules_from

TIME = np.arange(3000)


def drive(*columns: tuple[Signal, np.ndarray]) -> tuple[Schema, list[tuple[int, Records]]]:
    schema = Schema(50, tuple(signal for signal, _ in columns))
    counts = np.stack([values.astype(np.int64) for _, values in columns], axis=1)
    return schema, [(0, Records(1000, counts, np.zeros(counts.shape, np.uint8)))]


HILLS = 1000 + 500 * np.sin(TIME / 400)
SPEED = Signal("VehicleSpeed", "km/h", factor=0.05, threshold=1.0)


def test_a_limit_in_the_top_tenth_of_a_lively_signal():
    schema, runs = drive((SPEED, HILLS))
    rules = load_rules(rules_from(schema, runs))
    (rule,) = rules.rules
    assert rule.when.startswith("VehicleSpeed > 7")
    assert 1 <= len(evaluate_all(rules, schema, runs)) <= FAULTS_MAX


def test_what_has_a_unit_comes_first_and_what_only_counts_is_left_out():
    wheel = Signal("WheelPulses"), TIME * 3 % 4000
    schema, runs = drive(wheel, (Signal("Raw"), 8 * HILLS), (SPEED, HILLS))
    rules = load_rules(rules_from(schema, runs)).rules
    assert [rule.when.split()[0] for rule in rules] == ["VehicleSpeed", "Raw"]


def test_no_more_rules_than_anybody_can_follow():
    schema, runs = drive(
        *((Signal(f"S{number}", factor=0.1, threshold=1), HILLS + number) for number in range(20))
    )
    assert len(load_rules(rules_from(schema, runs)).rules) == RULES_WANTED


@pytest.mark.parametrize(
    ("signal", "values"),
    [
        (SPEED, np.full(3000, 7)),  # rests
        (SPEED, TIME % 2),  # flickers
        (Signal("Counter"), TIME % 16),  # fires all the time
        (Signal("Gear", labels=((1, "P"), (2, "D"))), np.full(3000, 2)),
        (Signal("Heading", circular=3600, factor=1), HILLS),
    ],
)
def test_nothing_to_watch_gives_no_rule(signal, values):
    schema, runs = drive((signal, values))
    assert rules_from(schema, runs) == ""


def test_a_switch_is_watched_for_the_state_it_is_seldom_in():
    schema, runs = drive((Signal("Gear", labels=((1, "P"), (2, "D"))), np.where(TIME < 100, 1, 2)))
    (rule,) = load_rules(rules_from(schema, runs)).rules
    assert rule.when == "Gear == 1"


def test_a_noisy_signal_gets_a_calmer_rule():
    noise = np.random.default_rng(7).normal(0, 300, 3000)
    schema, runs = drive((SPEED, HILLS + noise))
    rules = load_rules(rules_from(schema, runs))
    assert 1 <= len(evaluate_all(rules, schema, runs)) <= FAULTS_MAX


def test_what_is_hardly_ever_available_is_left_out():
    schema, ((stream_no, records),) = drive((SPEED, HILLS))
    states = np.full(records.states.shape, Availability.STALE, np.uint8)
    states[:100] = Availability.AVAILABLE
    assert rules_from(schema, [(stream_no, Records(records.first_tick, records.counts, states))]) == ""


def test_a_falling_scale_has_its_top_tenth_where_counts_are_low():
    schema, runs = drive((Signal("Depth", factor=-0.1, offset=500, threshold=1), HILLS))
    (rule,) = load_rules(rules_from(schema, runs)).rules
    assert float(rule.when.split()[-1]) > float(rule.clear.split()[-1])


def test_a_name_that_no_rule_can_spell_is_left_out():
    schema, runs = drive((Signal("1st gear", factor=0.1, threshold=1), HILLS), (SPEED, HILLS))
    assert [rule.code for rule in load_rules(rules_from(schema, runs)).rules] == ["VehicleSpeed_HIGH"]
