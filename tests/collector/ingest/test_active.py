"""A stream as it is stored, with blocks that claimed ticks that they had not: what comes after them, and what is left when the right ones came."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from collector.items import Damaged, Repeated, Resend, Stored
from collector.store import open_store
from collector.store.tables import rollups
from tests.collector.ingest.test_materialised import left, minutes, of_the_stored_records, rows
from tests.collector.vehicle import SCHEMA, START_TICK, Vehicle, gaps, spoiled

SECOND = SCHEMA.rate_hz


@pytest.fixture
def forger(connected):
    """Encodes as the vehicle does, but for what it is told otherwise. It is to drive what the vehicle drove before."""
    other = Vehicle()
    other.run()
    return other


def doubtful(bench):
    return [(run.seq, run.doubtful) for run in open_store(bench.path).runs("asset:one")]


def given(bench):
    """Ticks that a reader gets, in its order."""
    runs = open_store(bench.path).runs("asset:one")
    return [tick - START_TICK for run in runs for tick in range(run.records.first_tick, run.records.end_tick)]


@pytest.mark.parametrize("ahead", [1 << 20, 1 << 40])
def test_a_keyframe_from_far_ahead_costs_the_collector_nothing(bench, connected, forger, ahead):
    bench.take(connected.drive(20))
    forger.drive(20)
    forger.tick += ahead
    bench.take(forger.drive(20, keyframe=True))
    right = connected.drive(20, keyframe=True)
    following = connected.drive(20, keyframe=True)
    assert isinstance(bench.take(following), Damaged)
    assert bench.take(following).resend == Resend(0, 1, 1)
    assert isinstance(bench.take(right), Repeated)
    bench.take(left(connected))
    assert minutes(bench) == of_the_stored_records(bench)
    assert [tick for tick, _ in rows(bench)] == list(range(0, 60, SECOND))


def test_a_keyframe_that_begins_before_the_group_before_it_is_the_one_that_is_wrong(bench, connected, forger):
    bench.take(*(connected.drive(20, keyframe=True) for _ in range(3)))
    for _ in range(3):
        forger.drive(3, keyframe=True)
    connected.drive(20, keyframe=True)
    wrong = forger.drive(20, keyframe=True)
    assert isinstance(bench.take(wrong), Damaged)
    assert bench.take(wrong).quarantined
    bench.take(connected.drive(20, keyframe=True), left(connected))
    assert gaps(bench) == [(0, 3, 3, 20, "quarantine")]
    assert [tick for tick, _ in rows(bench)] == [*range(0, 60, SECOND), 80, 90]


def test_a_fault_that_opened_in_what_a_block_only_claimed_is_over(bench, connected, forger):
    bench.take(connected.drive(100))
    forger.drive(100)
    connected.drive(20)
    bench.take(forger.drive(300, temp=20.0, step=0.1))  # hot from 250 on
    assert open_store(bench.path).faults(only_open=True)
    keyframe = connected.drive(20, keyframe=True)
    bench.take(keyframe)
    assert isinstance(bench.take(keyframe), Stored)
    assert isinstance(bench.take(connected.drive(20)), Stored)
    (fault,) = open_store(bench.path).faults()
    assert (fault["end_reason"], fault["approximate"]) == ("came out wrong", True)
    assert given(bench) == list(range(160))


def test_a_fault_that_opened_late_in_a_block_that_is_replaced_by_a_shorter_one_is_over(
    bench, connected, forger
):
    first, right = connected.drive(100), connected.drive(20)
    forger.drive(100)
    bench.take(first, forger.drive(300, temp=20.0, step=0.1))
    following = connected.drive(20)
    assert bench.take(following).resend == Resend(0, 0, 2)
    assert isinstance(bench.take(first, right, following), Stored)
    (fault,) = open_store(bench.path).faults()
    assert fault["end_reason"] == "came out wrong"


def test_what_a_block_claimed_hides_no_later_loss_and_is_marked(bench, connected, forger):
    bench.take(connected.drive(100))
    forger.drive(100)
    connected.drive(20)
    bench.take(forger.drive(400, temp=40.0))
    connected.drive(100)
    bench.take(connected.gap(2, 2, end_record=220))
    keyframe = connected.drive(100, keyframe=True)
    bench.take(keyframe, keyframe)
    connected.drive(150)
    bench.take(connected.gap(4, 4, end_record=470), connected.drive(100, keyframe=True))
    assert gaps(bench)[1] == (0, 4, 4, 150, "quota")
    assert doubtful(bench) == [(0, True), (1, True), (3, False), (5, False)]
    assert given(bench) == [*range(320), *range(470, 570)]


def test_blocks_in_what_an_earlier_one_claimed_have_their_rows(bench, connected, forger):
    """A gap cut its group short, and the keyframe after it was stored far ahead: nobody sees the overlap."""
    bench.take(connected.drive(100))
    forger.drive(100)
    connected.drive(20)
    bench.take(forger.drive(400, temp=30.0))
    connected.drive(20)
    bench.take(connected.gap(2, 2, end_record=140))
    forger.drive(20)
    forger.tick += 1000
    keyframe = connected.drive(20, keyframe=True)
    bench.take(forger.drive(20, keyframe=True))
    following = connected.drive(100)
    assert isinstance(bench.take(following), Damaged)
    assert isinstance(bench.take(keyframe, following), Stored)
    bench.take(connected.drive(20))
    shown = {tick: data["Temp"] for tick, data in rows(bench) if 140 <= tick < 280}
    assert list(shown) == list(range(140, 280, SECOND))
    assert given(bench) == list(range(280))
    assert all(abs(temp - 20) <= 0.5 for temp in shown.values())


def test_what_another_outbox_has_is_asked_again_of_a_block_that_is_replaced(bench, connected, forger):
    name = replace(connected.key, outbox_id=b"2" * 16)
    described = replace(Vehicle().run(), key=name)
    bench.take(connected.drive(100), connected.drive(100))
    bench.take(
        replace(connected.greeting, key=name),
        described,
        replace(connected.gap(0, 1, end_record=200), key=name),
    )
    right = replace(connected.drive(100, keyframe=True), key=name)
    forger._encoder.next_seq, forger._encoder._coding.record_count = 2, 120
    forger.tick += 120
    bench.take(replace(forger.drive(100, keyframe=True), key=name))
    following = replace(connected.drive(100, keyframe=True), key=name)
    bench.take(following, following, right)
    assert [tick for tick, _ in rows(bench)] == list(range(0, 400, SECOND))
    runs = [
        (run.records.first_tick - START_TICK, len(run.records))
        for run in open_store(bench.path).runs("asset:one")
    ]
    assert sorted(runs) == [(0, 100), (100, 100), (200, 100), (300, 100)]


def test_a_minute_is_written_though_only_what_another_outbox_has_came_after_it(bench, connected):
    name = replace(connected.key, outbox_id=b"2" * 16)
    described = replace(Vehicle().run(), key=name)
    items = [
        connected.drive(300),
        connected.drive(300),
        connected.drive(900, keyframe=True),
        connected.drive(20, keyframe=True),
    ]
    bench.take(items[0])
    bench.take(*(replace(item, key=name) for item in (connected.greeting, described, *items[:3])))
    bench.take(*items[1:3])
    bench.restart()
    bench.take(connected.greeting, *items[3:], left(connected), replace(left(connected), key=name))
    with bench.ledger.transaction() as transaction:
        counted = select(rollups.c.outbox, func.sum(rollups.c.count)).where(rollups.c.signal == "Temp")
        found = transaction._connection.execute(counted.group_by(rollups.c.outbox)).all()
    assert {outbox: int(count) for outbox, count in found} == {1: 320, 2: 1200}


def test_a_count_that_a_wrong_keyframe_gave_hides_no_gap_and_makes_none(bench, connected, forger):
    bench.take(connected.drive(20))
    forger.drive(20)
    right = connected.drive(20, keyframe=True)
    forger._encoder._coding.record_count = 4_000_000
    bench.take(forger.drive(20, keyframe=True))
    connected.drive(30)
    bench.take(connected.gap(2, 2, end_record=70))
    bench.take(connected.drive(20, keyframe=True), right)
    connected.drive(40)
    bench.take(connected.gap(4, 4, end_record=130), connected.drive(20, keyframe=True))
    assert gaps(bench) == [(0, 2, 2, 30, "quota"), (0, 4, 4, 40, "quota")]


def test_a_gap_is_no_longer_than_its_ticks_whatever_a_wrong_keyframe_says(bench, connected, forger):
    bench.take(connected.drive(20))
    forger.drive(20)
    lost = connected.drive(30)
    forger.drive(30)
    bench.take(spoiled(lost), spoiled(lost))
    forger._encoder._coding.record_count = 1 << 60
    bench.take(forger.drive(20, keyframe=True))
    assert gaps(bench) == [(0, 1, 1, 30, "quarantine")]
