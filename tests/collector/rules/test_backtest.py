from __future__ import annotations

import pytest

from benchmarks.sampled import our_drives
from collector.config import PROFILES
from collector.rules import evaluate_all, load_rules
from collector.rules.backtest import NS, Compared, Raised, backtest, compare, warm_up_s
from collector.store import open_store
from tests.collector.vehicle import RULES, START_TICK

WARM = load_rules('[[rule]]\ncode="HOT"\nwhen="Temp > 40"\nfor_s=1\nseverity="INFO"\ndescription="warm"')


def raised(code, started_s, ended_s=None):
    ended_ns = None if ended_s is None else ended_s * NS
    return Raised(code, "INFO", started_s * NS, started_s * NS, ended_ns, None, approximate=False, paged=True)


def test_the_rules_in_force_would_have_raised_what_they_did(bench, connected):
    bench.take(*(connected.drive(temp=temp) for temp in (40.0, 46.0, 44.0, 41.0, 46.0)))
    store = open_store(bench.path)
    first, second = backtest(RULES, store.runs(connected.key.vehicle), store.guards)
    assert (first.detected_ns, first.ended_ns) == ((START_TICK + 20) * NS // 10, (START_TICK + 59) * NS // 10)
    assert (second.ended_ns, second.approximate) == (None, False)


def test_other_rules_wait_as_they_would_have_and_say_that_no_guard_was_there(bench, connected):
    bench.take(*(connected.drive(temp=temp) for temp in (38.0, 46.0, 30.0)))
    store = open_store(bench.path)
    (one,) = backtest(WARM, store.runs(connected.key.vehicle), store.guards)
    assert (one.started_ns, one.detected_ns) == ((START_TICK + 20) * NS // 10, (START_TICK + 30) * NS // 10)
    assert one.approximate
    after = backtest(WARM, store.runs(connected.key.vehicle), store.guards, one.ended_ns + 1)
    assert after == []


def test_a_range_begins_early_enough_for_waits_and_windows():
    rules = load_rules(
        '[[rule]]\ncode="A"\nwhen="mean(x, 30s) > 1"\nfor_s=20\nseverity="INFO"\ndescription="d"\n'
        '[[rule]]\ncode="B"\nwhen="x > 1"\nfor_s=40\nseverity="INFO"\ndescription="d"\n'
    )
    assert warm_up_s(rules) == 110


def test_occurrences_are_the_same_where_they_meet():
    mine = [raised("A", 0, 10), raised("A", 20, 30), raised("B", 5)]
    then = [raised("A", 9, 12), raised("A", 40, 50), raised("C", 0, 60)]
    assert compare(mine, then, 65 * NS) == [
        Compared("A", "INFO", 2, 2, 0, 20.0, 10.0, 2, 1, 1),
        Compared("B", "INFO", 1, 1, 0, 60.0, 60.0, 0, 0, 0),
        Compared("C", "INFO", 0, 0, 0, 0.0, 0.0, 1, 0, 1),
    ]


@pytest.fixture(scope="module")
def drives():
    return {drive.name: drive for drive in our_drives()}


@pytest.mark.parametrize("name", ["city", "highway", "aggressive", "charging", "overheating"])
def test_a_fleet_is_not_woken_by_what_the_demo_calls_critical(drives, name):
    """Any day's drive pages nobody; a battery that overheats is to be looked at."""
    drive = drives[name]
    runs = [(0, run) for run in drive.runs]
    fleet = {
        (one.code, one.severity) for one in evaluate_all(load_rules(PROFILES["fleet"]), drive.schema, runs)
    }
    demo = {one.code for one in evaluate_all(load_rules(PROFILES["demo"]), drive.schema, runs)}
    assert not any(severity == "CRITICAL" for _, severity in fleet)
    assert (
        ("BATTERY_OVERTEMP" in demo) == (("BATTERY_OVERTEMP", "WARNING") in fleet) == (name == "overheating")
    )
