"""Each decision of ingest, on a real store: what is applied, what is answered, and what the store holds after it."""

from __future__ import annotations

import contextlib
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codec.schema import Schema
from codec.stream import Clock
from collector.items import (
    Beat,
    Damaged,
    Described,
    Farewell,
    Greeting,
    Hole,
    Noted,
    Position,
    Repeated,
    Stored,
    Welcomed,
)
from collector.rules import evaluate_all, load_rules
from collector.store import open_store
from tests.collector.vehicle import RULES, SCHEMA, Bench, Vehicle, gaps, spoiled, stored, within_bounds

# Positions


def test_a_new_outbox_is_welcomed_with_nothing_stored_and_the_guards_of_the_rules(bench, vehicle):
    guards = RULES.guards()
    assert bench.take(vehicle.greeting) == Welcomed(None, Position(0, 0), guards.to_bytes(), guards.hash)


def test_batches_are_applied_in_order_and_come_back_within_bounds(bench, connected):
    for seq in range(5):
        assert bench.take(connected.drive(step=0.3)) == Stored(Position(0, seq))
    assert within_bounds(connected.sampled, stored(bench, connected))


def test_a_batch_that_came_before_changes_nothing_and_is_acked_again(bench, connected):
    first, second = connected.drive(), connected.drive()
    bench.take(first, second)
    before = stored(bench, connected)
    assert bench.take(first) == bench.take(second) == Repeated(Position(0, 1))
    assert [r.first_tick for _, r in stored(bench, connected)] == [r.first_tick for _, r in before]


def test_a_hole_is_answered_with_what_is_wanted_and_nothing_is_applied(bench, connected):
    first, second, third = (connected.drive() for _ in range(3))
    bench.take(first)
    assert bench.take(third) == Hole(Position(0, 1))
    assert bench.take(second) == Stored(Position(0, 1))
    assert bench.take(third) == Stored(Position(0, 2))


def test_a_stream_is_not_taken_before_the_one_before_it_is_complete(bench, connected):
    first, second = connected.drive(), connected.drive()
    bench.take(first)
    bench.take(connected.run())
    third = connected.drive()
    assert bench.take(third) == Hole(Position(0, 1))
    assert bench.take(second) == Stored(Position(0, 1))
    assert bench.take(third) == Stored(Position(1, 0))
    assert within_bounds(connected.sampled, stored(bench, connected))


def test_a_stream_that_was_lost_whole_is_missed(bench, vehicle):
    streams = [(vehicle.run(), vehicle.drive()) for _ in range(3)]
    bench.take(vehicle.greeting, vehicle.schema, *streams[0])
    assert bench.take(*streams[2]) == Hole(Position(0, 1))
    assert bench.take(streams[1][0]) == Described()
    assert bench.take(streams[2][1]) == Hole(Position(1, 0))
    assert bench.take(streams[1][1], streams[2][1]) == Stored(Position(2, 0))


def test_an_empty_stream_is_passed_by(bench, connected):
    bench.take(connected.drive(), connected.run(), connected.run())
    assert bench.take(connected.drive()) == Stored(Position(2, 0))


def test_a_collector_that_lost_everything_wants_it_from_the_beginning(bench, vehicle):
    vehicle.run()
    vehicle.drive()
    described, batch = vehicle.run(), vehicle.drive()
    bench.take(vehicle.greeting, vehicle.schema, described)
    assert bench.take(batch) == Hole(Position(0, 0))


def test_outboxes_of_one_vehicle_have_positions_of_their_own(bench, connected):
    other = Vehicle(outbox=2)
    bench.take(connected.drive(), other.greeting, other.run())
    assert bench.take(other.drive()) == Stored(Position(0, 0))
    assert bench.take(connected.drive()) == Stored(Position(0, 1))


def test_an_outbox_that_replaces_another_ends_it_with_an_open_gap(bench, connected):
    bench.take(connected.drive())
    bench.take(Greeting(Vehicle(outbox=2).key, replaces=(connected.key.outbox_id,)))
    assert gaps(bench) == [(0, 1, None, None, "outbox_lost")]


def test_outboxes_lost_one_after_the_other_each_leave_a_gap_known_here_or_not(bench, connected):
    bench.take(connected.drive())
    never_called = Vehicle(outbox=2).key.outbox_id
    bench.take(Greeting(Vehicle(outbox=3).key, replaces=(connected.key.outbox_id, never_called)))
    assert gaps(bench) == [(0, 1, None, None, "outbox_lost"), (0, 0, None, None, "outbox_lost")]


# Restart: nothing survives but the file


def test_after_a_restart_the_predictor_is_rebuilt_from_stored_blocks(bench, connected):
    blocks = [connected.drive(step=0.3) for _ in range(3)]
    bench.take(*blocks)
    bench.restart()
    assert bench.take(connected.greeting) == Welcomed(
        Position(0, 2),
        Position(0, 3),
        RULES.guards().to_bytes(),
        RULES.guards().hash,
        bytes([1, 0]) * 8,
        zlib.crc32(blocks[2].content),
    )
    assert bench.take(connected.drive(step=-0.2)) == Stored(Position(0, 3))
    assert within_bounds(connected.sampled, stored(bench, connected))


def test_a_restart_between_two_streams_forgets_neither(bench, connected):
    bench.take(connected.drive(), connected.run())
    bench.restart()
    assert bench.take(connected.drive()) == Stored(Position(1, 0))


def test_a_transaction_that_failed_leaves_no_trace(bench, connected):
    bench.take(connected.drive())
    second, third = connected.drive(), connected.drive()
    with contextlib.suppress(RuntimeError), bench.ledger.transaction() as transaction:
        bench.ingest.apply(transaction, [second, third], 0)
        transaction.finish("now")
        raise RuntimeError
    bench.ingest.forget()
    assert bench.take(second, third) == Stored(Position(0, 2))
    assert within_bounds(connected.sampled, stored(bench, connected))


# Faults


def test_faults_are_stored_with_their_time_peak_and_evidence(bench, connected):
    bench.take(connected.drive(temp=44.0, step=0.2), connected.drive(temp=42.0))
    (fault,) = open_store(bench.path).faults()
    assert (fault["code"], fault["severity"], fault["approximate"], fault["late"]) == (
        "HOT",
        "CRITICAL",
        False,
        False,
    )
    assert (fault["detected_at"], fault["ended_at"]) == (
        "2023-11-14T22:13:20.600Z",
        "2023-11-14T22:13:21.900Z",
    )
    assert fault["peak"] == pytest.approx(47.8, abs=0.5)
    assert fault["evidence"]["at_detection"]["Temp"] == pytest.approx(45.2, abs=0.5)


def test_peaks_and_evidence_are_written_as_people_write_them(bench, vehicle):
    vehicle.signals = Schema(10, (replace(SCHEMA.signals[0], threshold=0.0), *SCHEMA.signals[1:]))
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(temp=45.3), vehicle.drive())
    (fault,) = open_store(bench.path).faults()
    assert 453 * 0.1 != 45.3
    assert fault["peak"] == 45.3
    assert fault["evidence"]["at_detection"] == {"Temp": 45.3}
    assert set(fault["evidence"]["window"]["values"]["Temp"]) == {45.3, 20}


def test_a_fault_goes_on_over_a_restart_and_ends_once(bench, connected):
    bench.take(connected.drive(temp=46.0))
    bench.restart()
    bench.take(connected.drive(temp=46.0), connected.drive(temp=40.0))
    (fault,) = open_store(bench.path).faults()
    assert fault["end_reason"] == "cleared"
    assert (fault["stream_no"], fault["last_tick"] - fault["first_tick"]) == (0, 39)


def test_a_rule_that_changed_ends_its_open_faults_and_says_so(bench, connected):
    bench.take(connected.drive(temp=46.0))
    bench.restart(load_rules('[[rule]]\ncode="HOT"\nwhen="Temp > 40"\nseverity="INFO"\ndescription="warm"'))
    bench.take(connected.drive(temp=46.0))
    old, new = open_store(bench.path).faults()
    assert (old["end_reason"], old["severity"]) == ("rule changed", "CRITICAL")
    assert (new["ended_at"], new["severity"], new["approximate"]) == (None, "INFO", True)


WARM = load_rules('[[rule]]\ncode="HOT"\nwhen="Temp > 40"\nseverity="INFO"\ndescription="warm"')


def test_rules_that_change_while_it_runs_are_in_force_from_the_next_transaction(bench, connected):
    bench.take(connected.drive(temp=46.0))
    bench.ingest.set_rules(WARM)
    connected.guards = WARM.guards()
    connected._encoder.set_guards(WARM.guards())
    assert bench.take(connected.drive(temp=46.0)).guards_wanted == b"", "the store knows the set already"
    old, new = open_store(bench.path).faults()
    assert (old["end_reason"], old["severity"], old["approximate"]) == ("rule changed", "CRITICAL", False)
    assert (new["ended_at"], new["severity"], new["approximate"]) == (None, "INFO", False)
    assert bench.take(connected.greeting).guards_hash == WARM.guards().hash


def test_rules_that_change_end_the_open_faults_of_vehicles_that_say_nothing(bench, connected):
    bench.take(connected.drive(temp=46.0))
    other = Vehicle("asset:other", outbox=2)
    bench.ingest.set_rules(WARM)
    with contextlib.suppress(RuntimeError), bench.ledger.transaction() as transaction:
        bench.ingest.apply(transaction, [other.greeting], 0)
        raise RuntimeError
    bench.ingest.forget()
    assert [fault["end_reason"] for fault in open_store(bench.path).faults()] == [None]
    bench.take(other.greeting)
    assert [fault["end_reason"] for fault in open_store(bench.path).faults()] == ["rule changed"]
    bench.take(other.greeting)
    bench.take(connected.drive(temp=46.0))
    assert [fault["end_reason"] for fault in open_store(bench.path).faults()] == ["rule changed", None]


def test_evidence_is_of_the_seconds_around_the_opening_and_faults_are_counted(bench, connected):
    bench.take(*(connected.drive(10, temp=40.0) for _ in range(4)))
    bench.restart()  # what was before is read from the blocks
    bench.take(connected.drive(10, temp=46.0), connected.drive(30, temp=46.0), connected.drive(10, temp=40.0))
    bench.take(connected.drive(10, temp=46.0))
    first, second = open_store(bench.path).faults()
    window = first["evidence"]["window"]
    assert (window["from_s"], window["step_s"], list(window["values"])) == (-4.0, 0.1, ["Temp"])
    assert np.round(window["values"]["Temp"]).tolist() == [40.0] * 40 + [46.0] * 21
    assert [fault["occurrence"] for fault in (first, second)] == [1, 2]
    again = Vehicle(outbox=2)
    bench.take(again.greeting, again.run(), again.drive(temp=46.0))
    assert max(fault["occurrence"] for fault in open_store(bench.path).faults()) == 3


ROLLING = load_rules(
    """
[[rule]]
code = "SLOW"
when = "mean(Temp, 6s) > 45"
severity = "INFO"
description = "hot for long"
[[rule]]
code = "QUICK"
when = "rate(Temp, 2s) > 4 or std(Temp, 3s) > 6"
severity = "INFO"
description = "heats up"
"""
)


@pytest.mark.parametrize("when_restarted", ["never", "always", "often"])
def test_windows_go_on_over_restarts_exactly(tmp_path, when_restarted):
    """Whatever a state held in memory, the stored blocks have it: faults, peaks and evidence come out the same."""

    def faults_of(name, restarts):
        bench, one = Bench(tmp_path / name, ROLLING), Vehicle(guards=ROLLING.guards())
        bench.take(one.greeting, one.schema, one.run())
        for number in range(40):
            if number == 25:
                bench.take(one.run())
            temp = (40.0, 52.0, 47.0, 44.0)[number // 4 % 4]
            bench.take(one.drive(7 + number % 5, temp=temp, step=0.05, keyframe=number % 6 == 0))
            if restarts(number):
                bench.restart()
        found = open_store(bench.path).faults()
        bench.ledger.close()
        return found

    restarts = {"never": lambda _: False, "always": lambda _: True, "often": lambda number: number % 3 == 1}
    expected = faults_of("expected.db", restarts["never"])
    assert {fault["code"] for fault in expected} == {"SLOW", "QUICK"}
    assert all(fault["approximate"] for fault in expected)
    assert faults_of("restarted.db", restarts[when_restarted]) == expected


def test_rules_read_differently_for_another_model(bench, connected):
    rules = load_rules(
        '[[rule]]\ncode="HOT"\nwhen="Temp > 45"\nseverity="INFO"\ndescription="hot"\n'
        '[[rule.override]]\nmodel="Model S"\nwhen="Temp > 60"\nseverity="WARNING"\n'
    )
    bench.restart(rules)
    greeting = connected.greeting
    bench.take(greeting, connected.drive(temp=46.0))
    bench.take(replace(greeting, model="Model S"), connected.drive(temp=46.0), connected.drive(temp=61.0))
    bench.restart()
    bench.take(connected.drive(temp=61.0))
    found = [(row["severity"], row["end_reason"]) for row in open_store(bench.path).faults()]
    assert found == [("INFO", "rule changed"), ("WARNING", None)]


def test_what_a_backlog_brings_is_marked_late(bench, connected):
    assert bench.take(connected.drive(temp=46.0, late=True)) == Stored(Position(0, 0), late=True)
    store = open_store(bench.path)
    assert [fault["late"] for fault in store.faults()] == [True]
    assert [run.late for run in store.runs(connected.key.vehicle)] == [True]


# Labels, heartbeats, states


def test_a_stream_that_began_without_the_time_is_labelled_when_it_has_it(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(clock=Clock(-(10**18), synchronised=False)))
    bench.take(vehicle.drive())
    vehicle._encoder._clock = Clock(5000, synchronised=True)
    bench.take(vehicle.drive(keyframe=True))
    labels = {(run.offset_ns, run.synchronised) for run in open_store(bench.path).runs("asset:one")}
    assert labels == {(5000, True)}


def test_one_row_a_second_is_made_for_readers(bench, connected):
    bench.take(connected.drive(25, temp=20.0, step=0.1), connected.drive(10))
    rows = open_store(bench.path).latest(0)
    assert [row["timestamp"][-10:] for row in rows] == [
        "13:20.000Z",
        "13:21.000Z",
        "13:22.000Z",
        "13:23.000Z",
    ]
    assert rows[0]["vin"] == "asset:one"
    data = json.loads(rows[0]["data"])
    assert data == {"Temp": pytest.approx(20.0, abs=0.5), "Speed": pytest.approx(55.0, abs=2.0), "Gear": "D"}


def test_a_heartbeat_shows_now_and_stores_no_record(bench, connected):
    other = Vehicle()
    other.run()
    block = other.drive(1, temp=30.0).content
    beat = Beat(connected.key, 0, 0, block, b"", {"cpu_percent": 3.0})
    assert bench.take(beat) == Noted()
    assert isinstance(bench.take(replace(beat, record=b"nonsense")), Noted)
    bench.take(beat)
    (row,) = open_store(bench.path).vehicles()
    assert row["heartbeat"]["data"]["Temp"] == pytest.approx(30.0, abs=0.5)
    assert row["heartbeat"]["health"] == {"cpu_percent": 3.0}
    assert row["records"] == 0


def test_a_vehicle_is_online_until_it_says_goodbye(bench, connected):
    store = open_store(bench.path)
    assert [row["state"] for row in store.vehicles()] == ["online"]
    bench.take(Farewell(connected.key, "parked"))
    assert [row["state"] for row in store.vehicles()] == ["parked"]


# Laws: whatever the order, the repeats and the restarts, the store ends up with what was sampled


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_delivery_that_goes_on_from_what_is_wanted_ends_with_everything_once(data, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("law") / "store.db")
    vehicle = Vehicle()
    bench.take(vehicle.greeting, vehicle.schema)
    script: list = []  # (position, items): a batch, with the description of its stream where it is the first
    for _ in range(data.draw(st.integers(1, 3))):
        described = vehicle.run()
        for _ in range(data.draw(st.integers(1, 4))):
            batch = vehicle.drive(
                data.draw(st.integers(1, 15)),
                temp=data.draw(st.sampled_from([20.0, 44.0, 46.0])),
                step=data.draw(st.sampled_from([0.0, 0.3, -0.3])),
                keyframe=data.draw(st.booleans()),
            )
            script.append((Position(vehicle.stream_no, batch.seq), [described, batch]))
    at = 0
    while at < len(script):
        match data.draw(st.sampled_from(["send", "send", "send", "again", "skip", "spoil", "restart"])):
            case "send":
                outcome = bench.take(*script[at][1])
                at += 1
            case "again":
                outcome = bench.take(*script[data.draw(st.integers(0, at))][1])
            case "skip":
                outcome = bench.take(*script[data.draw(st.integers(at, len(script) - 1))][1])
            case "spoil":
                described, batch = script[at][1]
                outcome = bench.take(described, spoiled(batch))
            case "restart":
                bench.restart()
                continue
        match outcome:
            case Hole(wanted):
                at = next(i for i, (position, _) in enumerate(script) if position >= wanted)
            case Damaged(resend):
                for seq in range(resend.first_seq, resend.last_seq + 1):
                    i = next(
                        i
                        for i, (position, _) in enumerate(script)
                        if position == Position(resend.stream_no, seq)
                    )
                    outcome = bench.take(*script[i][1])
                at = i + 1
            case Stored(position) | Repeated(position):
                at = next((i for i, (one, _) in enumerate(script) if one > position), len(script))
    assert within_bounds(vehicle.sampled, stored(bench, vehicle))
    assert gaps(bench) == []
    expected = [span.verdict for span in evaluate_all(RULES, SCHEMA, vehicle.sampled)]
    names = ("code", "stream_no", "first_tick", "detected_tick", "last_stream_no", "last_tick")
    assert [tuple(fault[name] for name in names) for fault in open_store(bench.path).faults()] == expected
    bench.ledger.close()
