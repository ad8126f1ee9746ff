"""What the analyses find, on each backend."""

from __future__ import annotations

import pytest

from collector.battery.rows import estimate
from collector.battery.series import Estimate
from collector.store import open_store
from collector.store.health import battery_health_of
from collector.store.ledger import StoreLedger

TIME = "2026-11-20T12:00:00.000Z"


@pytest.fixture
def store(where):
    ledger = StoreLedger(where)
    rows = [
        estimate(
            7,
            "asset:one",
            Estimate(kind, 3, first_tick, first_tick + 99, 0.05, 0.001, 20, {"temperature_c": 21.5}),
            False,
            lambda tick: 1_795_000_000_000_000_000 + tick * 10_000_000,
            certain=False,
        )
        for first_tick in (0, 100)
        for kind in ("resistance", "ripple")
    ]
    with ledger.transaction() as transaction:
        transaction.changes.battery += rows
        transaction.finish(TIME)
    with ledger.transaction() as transaction:  # the same once more
        transaction.changes.battery += rows
        transaction.finish(TIME)
    yield where, ledger
    ledger.close()


def test_estimates_are_kept_once_and_found_by_kind_and_time(store):
    where, _ = store
    reader = open_store(where)
    assert len(battery_health_of(reader)) == 4
    first, second = battery_health_of(reader, "asset:one", "resistance")
    assert first["conditions"] == {"temperature_c": 21.5}
    assert first["at"] < second["at"]
    assert battery_health_of(reader, kind="resistance", start=second["at"]) == [second]
    assert battery_health_of(reader, kind="resistance", end=second["at"]) == [first]
    assert battery_health_of(reader, "asset:two") == []


def test_a_stretch_that_came_out_wrong_marks_what_was_made_of_it(store):
    where, ledger = store
    with ledger.transaction() as transaction:
        transaction.changes.faults_approximate.append(
            {"of_outbox": 7, "of_stream_no": 3, "of_first_tick": 120, "of_end_tick": 130}
        )
        transaction.finish(TIME)
    rows = battery_health_of(open_store(where), kind="ripple")
    assert [row["approximate"] for row in rows] == [False, True]


def test_a_label_that_changes_changes_their_times(store):
    where, ledger = store
    with ledger.transaction() as transaction:
        transaction.changes.times.append(
            {
                "of_outbox": 7,
                "of_stream_no": 3,
                "of_period_ns": 10_000_000,
                "of_offset_ns": 0,
                "uncertain": False,
            }
        )
        transaction.finish(TIME)
    rows = battery_health_of(open_store(where), kind="ripple")
    assert [(row["at"], row["time_uncertain"]) for row in rows] == [
        ("1970-01-01T00:00:00.990Z", False),
        ("1970-01-01T00:00:01.990Z", False),
    ]
