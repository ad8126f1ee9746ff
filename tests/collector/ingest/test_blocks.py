"""Gaps, damage and what is unknown, on a real store: what is applied, what is answered, what the store holds after it."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, update

from codec.block import KEYFRAME, NAMED
from codec.errors import DamagedBlock
from collector.ingest.ingest import Ingest
from collector.ingest.materialise import Materialise
from collector.items import (
    BlobItem,
    Damaged,
    Described,
    Failed,
    Hole,
    Ignored,
    Lacking,
    Position,
    Repeated,
    Resend,
    Stored,
)
from collector.rules import load_rules
from collector.store import open_store
from collector.store.tables import batches, telemetry_logs
from protos import telemetry_pb2 as pb
from tests.collector import vehicle as vehicle_module
from tests.collector.vehicle import SCHEMA, START_TICK, Bench, Vehicle, gaps, spoiled, stored, within_bounds

# Gaps


def test_a_gap_takes_the_place_of_batches_and_counts_their_records(bench, connected):
    bench.take(connected.drive(20))
    connected.drive(30)
    connected.drive(40)
    assert bench.take(connected.gap(1, 2, 90)) == Stored(Position(0, 2))
    assert bench.take(connected.drive(keyframe=True)) == Stored(Position(0, 3))
    assert gaps(bench) == [(0, 1, 2, 70, "quota")]


def test_a_gap_that_came_twice_or_grew_is_counted_once(bench, connected):
    bench.take(connected.drive(20))
    connected.drive(30)
    connected.drive(40)
    assert bench.take(connected.gap(1, 1, 50)) == Stored(Position(0, 1))
    assert bench.take(connected.gap(1, 1, 50)) == Repeated(Position(0, 1))
    assert bench.take(connected.gap(0, 2, 90)) == Stored(Position(0, 2))
    assert gaps(bench) == [(0, 1, 1, 30, "quota"), (0, 2, 2, 40, "quota")]


def test_a_gap_beyond_a_hole_is_a_hole(bench, connected):
    assert bench.take(connected.gap(3, 4, 90)) == Hole(Position(0, 0))


def test_a_gap_may_be_all_that_is_left_of_a_stream(bench, connected):
    connected.drive(30)
    described = connected.run()
    assert bench.take(replace(connected.gap(0, 0, 30), stream_no=0)) == Stored(Position(0, 0))
    assert bench.take(described, connected.drive()) == Stored(Position(1, 0))


# Damage


def seconds(bench):
    with bench.ledger.transaction() as transaction:
        columns = telemetry_logs.c
        return transaction._connection.execute(
            select(columns.stream_no, columns.tick, columns.timestamp, columns.data).order_by(
                "stream_no", "tick"
            )
        ).all()


def test_a_damaged_block_is_asked_for_once_more_with_its_group(bench, connected):
    bench.take(connected.drive(), connected.drive(keyframe=True))
    group = [connected.drive(), connected.drive()]
    outcome = bench.take(group[0], spoiled(group[1]))
    assert isinstance(outcome, Damaged)
    assert outcome.resend == Resend(0, 1, 3)


def test_what_was_on_its_way_meanwhile_is_left_alone_and_then_wanted(bench, connected):
    first, second, third = (connected.drive() for _ in range(3))
    bench.take(first, spoiled(second))
    assert bench.take(third) == Ignored()
    assert bench.take(first) == Repeated(Position(0, 0))
    assert bench.take(second) == Stored(Position(0, 1))
    assert bench.take(third) == Stored(Position(0, 2))
    assert within_bounds(connected.sampled, stored(bench, connected))


def test_a_block_that_fails_twice_is_quarantined_and_the_next_keyframe_closes_the_gap(bench, connected):
    first, bad, lost = connected.drive(20), connected.drive(30), connected.drive(40)
    bench.take(first, spoiled(bad), first)
    outcome = bench.take(spoiled(bad))
    assert isinstance(outcome, Stored)
    assert outcome.stored == Position(0, 1)
    assert outcome.quarantined
    assert bench.take(lost).stored == Position(0, 2)
    assert gaps(bench) == [(0, 1, 2, None, "quarantine")]
    assert bench.take(connected.drive(keyframe=True)) == Stored(Position(0, 3))
    assert gaps(bench) == [(0, 1, 2, 70, "quarantine")]


def test_a_damaged_keyframe_is_asked_for_alone(bench, connected):
    bench.take(connected.drive())
    outcome = bench.take(spoiled(connected.drive(keyframe=True)))
    assert outcome.resend == Resend(0, 1, 1)


def test_a_quarantine_survives_a_restart(bench, connected):
    first, bad, lost = connected.drive(20), connected.drive(30), connected.drive(40)
    bench.take(first, spoiled(bad), spoiled(bad))
    bench.restart()
    assert bench.take(lost).stored == Position(0, 2)
    bench.take(connected.drive(keyframe=True))
    assert gaps(bench) == [(0, 1, 2, 70, "quarantine")]


def test_a_new_conversation_asks_again(bench, connected):
    first, bad = connected.drive(), connected.drive()
    bench.take(first, spoiled(bad), connected.greeting)
    assert isinstance(bench.take(spoiled(bad)), Damaged)


def test_a_stored_row_that_rotted_is_asked_for_and_replaced(bench, connected):
    items = [connected.drive(step=0.2) for _ in range(3)]
    bench.take(*items[:2])
    with bench.ledger.transaction() as transaction:
        transaction._connection.execute(update(batches).where(batches.c.seq == 1).values(content=b"\0"))
    bench.restart()
    bench.take(connected.greeting)
    assert bench.take(items[2]).resend == Resend(0, 0, 2)
    assert bench.take(*items) == Stored(Position(0, 2))
    assert within_bounds(connected.sampled, stored(bench, connected))


def test_a_group_that_came_out_wrong_is_replaced_and_its_faults_become_approximate(bench, connected):
    """A wrong block can pass its one byte of digest; the next keyframe's four bytes tell."""
    other = Vehicle()
    other.run()
    wrong = [other.drive(temp=46.0), other.drive(temp=46.0)]
    right = [connected.drive(temp=20.0), connected.drive(temp=20.0)]
    assert bench.take(*wrong) == Stored(Position(0, 1))
    outcome = bench.take(connected.drive(keyframe=True))
    assert (outcome.stored, outcome.resend) == (Position(0, 2), Resend(0, 0, 1))
    assert bench.take(*right) == Repeated(Position(0, 2))
    assert within_bounds(connected.sampled, stored(bench, connected))
    store = open_store(bench.path)
    assert [fault["approximate"] for fault in store.faults()] == [True]
    assert doubtful(bench, connected) == [False, False, False]


def test_a_block_that_passed_with_other_records_leaves_nothing_behind(bench, connected, tmp_path):
    """It was stored for ticks that it does not have; the count of the stream was wrong with it."""
    # Rows around the fault that it seemed to show are right, and stay as the fault does.
    bench.ingest = Ingest(bench.rules, materialise=Materialise(1, 0, 0))
    other = Vehicle()
    other.run()
    items = [connected.drive(), connected.drive(20), connected.drive(20)]
    other.drive()
    bench.take(items[0], other.drive(60, temp=50.0))
    assert bench.take(items[2]).resend == Resend(0, 0, 2)
    assert bench.take(*items) == Stored(Position(0, 2))
    assert within_bounds(connected.sampled, stored(bench, connected))
    connected.drive(20)
    bench.take(connected.gap(3, 3, end_record=80))
    assert gaps(bench) == [(0, 3, 3, 20, "quota")]
    store = open_store(bench.path)
    assert [fault["approximate"] for fault in store.faults()] == [True]
    undisturbed = Bench(tmp_path / "undisturbed.db")
    undisturbed.take(connected.greeting, connected.schema, Vehicle().run(), *items)
    assert seconds(bench) == seconds(undisturbed)
    undisturbed.ledger.close()


def test_a_group_that_came_out_too_long_or_too_short_counts_as_what_it_was(bench, connected):
    other = Vehicle()
    other.run()
    bench.take(other.drive(10))
    right, keyframe = connected.drive(30), connected.drive(20, keyframe=True)
    assert bench.take(keyframe).resend == Resend(0, 0, 0)
    assert bench.take(right) == Repeated(Position(0, 1))
    assert within_bounds(connected.sampled, stored(bench, connected))
    connected.drive(20)
    bench.take(connected.gap(2, 2, end_record=70))
    assert gaps(bench) == [(0, 2, 2, 20, "quota")]


def test_what_was_sent_again_is_checked_at_a_keyframe_on_the_way_too(bench, connected):
    """It was taken for no keyframe when it came first, so that the groups before and after it looked like one."""
    other = Vehicle()
    other.run()
    first, keyframe = connected.drive(), connected.drive(keyframe=True)
    copies = {0: other.drive(temp=46.0).content, 1: keyframe.content}
    bench.take(first, keyframe)
    (outbox,) = bench.ingest.outboxes.values()
    with bench.ledger.transaction() as transaction:
        stream = outbox.activate(0, transaction)
        with pytest.raises(DamagedBlock, match="another group"):
            stream.decode_group(copies, 0, 1, transaction)
        copies[0] = first.content
        assert len(stream.decode_group(copies, 0, 1, transaction)) == 2


def test_what_was_sent_again_and_overlaps_is_no_group(bench, connected):
    other = Vehicle()
    other.run()
    first, second = connected.drive(20), connected.drive(20, keyframe=True)
    copies = {0: other.drive(30).content, 1: second.content}
    bench.take(first, second)
    (outbox,) = bench.ingest.outboxes.values()
    with bench.ledger.transaction() as transaction:
        stream = outbox.activate(0, transaction)
        with pytest.raises(DamagedBlock, match="the one before ended"):
            stream.decode_group(copies, 0, 1, transaction)


def test_a_keyframe_that_came_as_none_first_is_not_held_against_what_was_stored_before(bench, connected):
    """Its group came right with it."""
    other = Vehicle()
    other.run()
    first, second = connected.drive(100), connected.drive(20)
    other.drive(100)
    bench.take(first, other.drive(40, temp=30.0))
    keyframe = connected.drive(20, keyframe=True)
    looks_like_none = bytes([keyframe.content[0] & ~(KEYFRAME | NAMED)]) + keyframe.content[1:]
    assert bench.take(replace(keyframe, content=looks_like_none)).resend == Resend(0, 0, 2)
    assert bench.take(first, second, keyframe).resend is None
    assert doubtful(bench, connected) == [False, False, False]


def test_what_builds_on_a_block_that_was_wrong_is_made_again_whatever_its_bytes(bench, connected):
    """It fitted its byte of digest on top of the wrong one, too."""
    other = Vehicle()
    other.run()
    right = [connected.drive(20), connected.drive(20, temp=30.0), connected.drive(20, temp=30.0)]
    other.drive(20)
    bench.take(right[0], other.drive(20, temp=34.5), other.drive(20, temp=34.5))
    stored_as = right[2]
    with (
        bench.ledger.transaction() as transaction
    ):  # as if the right bytes had been read as the wrong records
        row = {"content": stored_as.content, "crc": zlib.crc32(stored_as.content)}
        transaction._connection.execute(update(batches).where(batches.c.seq == 2).values(**row))
    assert bench.take(connected.drive(20, keyframe=True)).resend == Resend(0, 0, 2)
    bench.take(*right)
    with bench.ledger.transaction() as transaction:
        found = transaction._connection.execute(
            select(telemetry_logs.c.data).where(telemetry_logs.c.tick >= START_TICK + 40)
        )
        temps = [json.loads(row.data)["Temp"] for row in found]
    assert all(min(abs(temp - 30), abs(temp - 20)) <= 0.5 for temp in temps)


def test_a_quarantine_settles_the_repair_that_waited_for_it(bench, connected):
    """What builds on a quarantined block goes the same way, though it was taken for a keyframe before."""
    first, keyframe, after = connected.drive(), connected.drive(keyframe=True), connected.drive()
    bench.take(first, spoiled(keyframe), spoiled(keyframe))
    looks_like_a_keyframe = bytes([after.content[0] | 0x10]) + after.content[1:]
    assert isinstance(bench.take(replace(after, content=looks_like_a_keyframe)), Damaged)
    assert bench.take(after).quarantined
    connected.drive()
    assert bench.take(connected.drive()) == Hole(Position(0, 3))


def test_a_fault_that_began_in_what_came_out_wrong_is_approximate_when_it_ends_too(bench, connected):
    other = Vehicle()
    other.run()
    right = connected.drive(temp=20.0)
    bench.take(other.drive(temp=46.0))
    bench.take(connected.drive(temp=50.0, keyframe=True))
    bench.take(right)
    bench.take(connected.drive(temp=20.0))
    (fault,) = open_store(bench.path).faults()
    assert fault["ended_at"]
    assert fault["approximate"]


def test_what_was_asked_for_again_and_never_came_stays_marked(bench, connected):
    """The conversation ended in between, or the collector; so may the vehicle."""
    other = Vehicle()
    other.run()
    bench.take(other.drive(temp=46.0), other.drive(temp=46.0))
    connected.drive(temp=20.0)
    connected.drive(temp=20.0)
    assert bench.take(connected.drive(keyframe=True)).resend == Resend(0, 0, 1)
    assert doubtful(bench, connected) == [True, True, False]
    assert [fault["approximate"] for fault in open_store(bench.path).faults()] == [True]
    bench.take(connected.greeting)
    bench.restart()
    bench.take(connected.drive(), connected.drive(keyframe=True))
    assert doubtful(bench, connected) == [True, True, False, False, False]
    (stream,) = open_store(bench.path).streams()
    assert (stream.doubtful, stream.records) == (40, 100)


def test_two_groups_that_are_asked_for_at_once_are_both_replaced(bench, connected):
    first, second = Vehicle(), Vehicle()
    first.run()
    second.run()
    second.drive(temp=20.0)
    right = [connected.drive(temp=20.0), connected.drive(keyframe=True), connected.drive(keyframe=True)]
    assert bench.take(first.drive(temp=46.0), second.drive(temp=47.0, keyframe=True)).resend == Resend(
        0, 0, 0
    )
    assert bench.take(right[2]).resend == Resend(0, 1, 1)
    assert bench.take(*right[:2]) == Repeated(Position(0, 2))
    assert within_bounds(connected.sampled, stored(bench, connected))
    assert doubtful(bench, connected) == [False, False, False]


def test_what_a_quarantined_block_builds_on_is_doubtful_where_it_came_in_two_versions(bench, connected):
    other = Vehicle()
    other.run()
    bench.take(other.drive(temp=46.0))
    first, second = connected.drive(temp=20.0), connected.drive(temp=20.0)
    assert bench.take(second).resend == Resend(0, 0, 1)
    assert bench.take(spoiled(first), second).quarantined
    assert doubtful(bench, connected) == [True]


def test_what_a_quarantined_block_builds_on_is_not_doubtful_where_it_came_twice_alike(bench, connected):
    first, bad = connected.drive(), connected.drive()
    assert bench.take(first, spoiled(bad), first, spoiled(bad)).quarantined
    assert doubtful(bench, connected) == [False]


def doubtful(bench, vehicle):
    return [run.doubtful for run in open_store(bench.path).runs(vehicle.key.vehicle)]


def test_a_group_that_stays_wrong_is_marked_and_not_asked_for_again(bench, connected):
    other = Vehicle()
    other.run()
    wrong = [other.drive(temp=46.0), other.drive(temp=46.0)]
    connected.drive(temp=20.0)
    connected.drive(temp=20.0)
    bench.take(*wrong)
    bench.take(connected.drive(keyframe=True))
    bench.take(*wrong)
    assert doubtful(bench, connected) == [True, True, False]
    assert bench.take(connected.drive(keyframe=True)).resend is None


def test_the_next_stream_tells_of_the_end_of_this_one(bench, connected):
    other = Vehicle()
    other.run()
    bench.take(other.drive(temp=46.0))
    connected.drive(temp=20.0)
    assert bench.take(connected.run()) == Described(Resend(0, 0, 0))


def test_a_block_of_the_past_is_damage(bench, connected):
    bench.take(connected.drive())
    connected.tick -= 5
    other = Vehicle()
    other.run()
    other.drive()
    other._encoder._coding.end_tick -= 5
    other.tick -= 5
    assert isinstance(bench.take(other.drive(keyframe=True)), Damaged)


# Unknown is not damaged


def test_a_schema_that_is_not_here_is_asked_for(bench, vehicle):
    described = vehicle.run()
    bench.take(vehicle.greeting)
    assert bench.take(described) == Lacking(pb.BLOB_KIND_SCHEMA, SCHEMA.hash, Position(0, 0))
    assert bench.take(vehicle.schema, described) == Described()


def test_a_block_version_of_the_future_is_neither_acked_nor_quarantined(bench, connected):
    batch = connected.drive()
    future = replace(batch, content=bytes([batch.content[0] & 0xF0 | 2]) + batch.content[1:])
    assert bench.take(future) == Failed("block version 2 is newer than this collector: upgrade it")
    assert gaps(bench) == []
    assert bench.take(batch) == Stored(Position(0, 0))


def test_a_guard_set_that_is_not_here_is_asked_for_and_faults_are_approximate(bench):
    guards = load_rules('[[rule]]\ncode="X"\nwhen="Speed > 7"\nseverity="INFO"\ndescription="x"').guards()
    vehicle = Vehicle(guards=guards)
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    assert bench.take(vehicle.drive(temp=46.0)).guards_wanted == guards.hash
    assert [fault["approximate"] for fault in open_store(bench.path).faults()] == [True]
    bench.take(BlobItem(vehicle.key, pb.BLOB_KIND_GUARDS, guards.hash, guards.to_bytes()))
    assert bench.take(vehicle.drive(keyframe=True)).guards_wanted == b""


def test_a_fault_that_was_taken_back_and_opened_again_at_the_same_tick_is_open(bench, connected, monkeypatch):
    """A block claimed the ticks of the keyframe after it; both say that the fault begins there."""
    forger = Vehicle()
    forger.run()
    for one in (connected, forger):
        first = one.drive(100)
    bench.take(first)
    connected.drive(20)
    honest = vehicle_module.ramp

    def ramp(first_tick, count, **how):
        records = honest(first_tick, count, **how)
        records.counts[:, 0] = np.where(np.arange(count) < 20, 200, 500)
        return records

    monkeypatch.setattr(vehicle_module, "ramp", ramp)
    bench.take(forger.drive(300))
    monkeypatch.undo()
    right = connected.drive(20, temp=50.0, keyframe=True)
    bench.take(right)
    assert isinstance(bench.take(right), Stored)
    (fault,) = open_store(bench.path).faults()
    assert (fault["first_tick"], fault["ended_at"]) == (START_TICK + 120, None)
    assert [one["kind"] for one in open_store(bench.path).notices()] == ["opened"]
