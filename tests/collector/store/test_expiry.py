"""Blocks that are too old: whole groups go, and everything that was made with them stays right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from codec.schema import Schema
from codec.stream import Clock, is_keyframe
from collector import config
from collector.detectors.settings import WINDOW_S_MAX
from collector.items import Farewell, Forked, Position, Repeated, Stored
from collector.rules import parser
from collector.store import address_of, expiry, open_store
from collector.store.keeping import Keep, tidy
from collector.store.tables import blobs
from tests.collector.vehicle import NOW_NS, SCHEMA, START_TICK, Bench, Vehicle, gaps, stored, within_bounds

DRIVEN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = 36_000  # records
BLOCK = 1500
KEEP = Keep(blocks=30)


@pytest.fixture
def drive(bench, connected):
    """Hours of driving, in groups of two blocks of 150 s."""

    def by(hours):
        items = []
        for _ in range(12 * hours):
            items += [connected.drive(BLOCK, keyframe=True), connected.drive(BLOCK)]
        bench.take(*items)
        return items

    return by


def expire(bench, after, keep=KEEP):
    return tidy(address_of(bench.path), keep, DRIVEN + after).get("batches", 0)


def records_of(bench, vehicle):
    return sum(len(records) for _, records in stored(bench, vehicle))


def test_without_a_limit_they_stay(bench, drive, connected):
    drive(2)
    assert expire(bench, 40_000 * DAY, Keep(rows=1, rollups=1, faults=1)) == 0
    assert within_bounds(connected.sampled, stored(bench, connected))


def test_whole_groups_go_and_what_is_left_reads_as_it_did(bench, drive, connected, monkeypatch):
    monkeypatch.setattr(expiry, "DELETED_MAX", 7)  # no whole number of groups
    drive(4)
    before, began = stored(bench, connected), connected.sampled[0][1].first_tick
    assert expire(bench, 30 * DAY + timedelta(minutes=94)) == 36
    after = stored(bench, connected)
    assert after[0][1].first_tick == began + HOUR * 3 // 2
    assert within_bounds(connected.sampled[36:], after)
    assert all(
        (one.counts == other.counts).all() for (_, one), (_, other) in zip(before[36:], after, strict=True)
    )
    assert expire(bench, 30 * DAY + timedelta(minutes=94)) == 0
    store = open_store(bench.path)
    (stream,) = store.streams()
    assert (stream.records, stream.expired) == (HOUR * 5 // 2, HOUR * 3 // 2)
    assert store.expired_ns("asset:one") == (began + HOUR * 3 // 2) * 100_000_000
    assert (store.unreadable, gaps(bench)) == (0, [])
    vehicle = store.vehicle("asset:one")
    assert vehicle.stored().startswith(
        "stored are 2023-11-14T23:43:20.000Z to 2023-11-15T02:13:20.000Z; those before"
    )
    with pytest.warns(UserWarning, match="those before 2023-11-14T23:43:20.000Z have expired"):
        assert vehicle.frame(["Temp"], "2023-11-14T22:20", "2023-11-14T22:30").empty


def test_what_ingest_goes_on_from_stays_and_it_goes_on(bench, drive, connected):
    drive(4)
    expire(bench, 4000 * DAY)
    assert records_of(bench, connected) == 2 * HOUR
    bench.restart()
    assert bench.take(connected.greeting).wanted == Position(0, 96)
    assert bench.take(connected.drive(50, temp=46.0)) == Stored(Position(0, 96))
    bench.take(Farewell(connected.key, "offline"))
    assert len(open_store(bench.path).faults()) == 1
    assert within_bounds(connected.sampled[-49:], stored(bench, connected))


def test_it_stays_for_longer_than_anything_looks_back():
    windows = (WINDOW_S_MAX, parser.WINDOW_S_MAX, config.AROUND_FAULTS_S_MAX)
    assert 2 * max(windows) <= expiry.STAYS_S


def test_what_expired_and_is_sent_again_is_known(bench, drive, connected):
    first, *_ = drive(3)
    expire(bench, 4000 * DAY)
    bench.restart()
    assert bench.take(first) == Repeated(Position(0, 71))
    assert records_of(bench, connected) == 2 * HOUR


def test_a_finished_stream_goes_whole_and_a_twin_of_it_is_still_told(bench, drive, connected):
    drive(1)
    bench.take(connected.run(), connected.drive())
    assert expire(bench, 4000 * DAY) == 24
    assert [no for no, _ in stored(bench, connected)] == [1]
    ended, _ = open_store(bench.path).streams()
    assert (ended.records, ended.expired, ended.batches) == (0, HOUR, 0)
    twin = Vehicle()
    assert bench.take(twin.greeting, twin.run(stream_id=7)) == Forked()
    assert isinstance(bench.take(connected.drive()), Stored)


def test_another_outbox_that_brings_an_expired_stream_brings_nothing_new(bench, vehicle):
    """A card that was restored from a copy: in a new outbox its streams keep their names."""
    described, first = vehicle.run(), vehicle.drive(BLOCK, temp=46.0)
    bench.take(vehicle.greeting, vehicle.schema, described, first, vehicle.run(), vehicle.drive())
    assert expire(bench, 4000 * DAY) == 1
    restored = Vehicle(outbox=2)
    moved = [replace(one, key=restored.key) for one in (described, first)]
    assert bench.take(restored.greeting, *moved) == Stored(Position(0, 0))
    assert [no for no, _ in stored(bench, vehicle)] == [1]
    assert len(open_store(bench.path).faults()) == 1


def test_a_gap_goes_with_the_blocks_before_it(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(BLOCK))
    lost = vehicle.drive(BLOCK)
    bench.take(vehicle.gap(lost.seq, lost.seq, 2 * BLOCK), vehicle.run(), vehicle.drive(BLOCK))
    noted = datetime.fromtimestamp(NOW_NS / 1e9, UTC) - DRIVEN
    expire(bench, noted + 29 * DAY)
    assert [records for *_, records, _ in gaps(bench)] == [BLOCK]
    expire(bench, noted + 31 * DAY)
    assert gaps(bench) == []
    assert isinstance(bench.take(vehicle.drive()), Stored)


def test_a_schema_that_is_damaged_holds_up_its_own_outbox_alone(bench, vehicle):
    other = Vehicle("asset:two", outbox=2)
    other.signals = Schema(10, (replace(SCHEMA.signals[0], threshold=0.0), *SCHEMA.signals[1:]))
    for one in (vehicle, other):
        bench.take(one.greeting, one.schema, one.run(), one.drive(BLOCK), one.run(), one.drive(BLOCK))
    with bench.ledger.transaction() as transaction:
        transaction.execute(
            update(blobs).where(blobs.c.hash == other.signals.hash).values(content=b"no schema")
        )
    assert expire(bench, 60 * DAY) == 1
    assert [no for no, _ in stored(bench, vehicle)] == [1]


def boot(bench, vehicle, clock):
    """A boot of its own: streams of one have one clock."""
    bench.take(replace(vehicle.run(clock=clock), boot_id=bytes([vehicle.stream_no]) * 16))
    bench.take(vehicle.drive(BLOCK), vehicle.drive(BLOCK))


def test_a_clock_that_was_never_set_makes_nothing_old(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema)
    set_, never = Clock(0, synchronised=True), Clock(-1_700_000_000 * 10**9, synchronised=False)
    for clock in (never, never, set_, never, set_, never):
        boot(bench, vehicle, clock)
        assert expire(bench, DAY) == 0
    assert expire(bench, 60 * DAY) == 10  # each with what came after it; nothing came after the last
    assert [no for no, _ in stored(bench, vehicle)] == [5, 5]


def test_a_clock_far_ahead_holds_nothing_up(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema)
    for clock in (Clock(10**18, synchronised=True), Clock(0, synchronised=True), Clock(0, synchronised=True)):
        boot(bench, vehicle, clock)
    assert expire(bench, 60 * DAY) == 4
    assert [no for no, _ in stored(bench, vehicle)] == [2, 2]


STAYS_S = 600
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("drive"), st.integers(1, 5)),  # a group of so many blocks
        st.tuples(st.just("run"), st.none()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("expire"), st.integers(0, 9000)),  # everything before so many seconds of the drive
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_whenever_blocks_go_what_is_left_is_the_end_of_it_and_it_goes_on(tmp_path_factory, steps):
    bench, vehicle = Bench(tmp_path_factory.mktemp("expiry") / "s.db"), Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(BLOCK))
    before = due = START_TICK  # what was asked to go, and what of it had to
    for step, how in steps:
        match step:
            case "drive":
                group = [vehicle.drive(BLOCK, keyframe=at == 0) for at in range(how)]
                assert bench.take(*group) == Stored(Position(vehicle.stream_no, group[-1].seq))
            case "run":
                bench.take(vehicle.run(), vehicle.drive(BLOCK))
            case "restart":
                bench.restart()
            case _:
                with mock.patch.object(expiry, "STAYS_S", STAYS_S):
                    expire(bench, 30 * DAY + timedelta(seconds=how))
                before = max(before, START_TICK + how * 10)
                due = max(due, min(START_TICK + how * 10, vehicle.tick - STAYS_S * 10))
                is_the_end_of_it(bench, vehicle, before, due)
    bench.ledger.close()


def is_the_end_of_it(bench, vehicle, before, due):
    """What is left is the end of what was driven, from a keyframe on: nothing that is younger than `before` has gone, and no group
    that ended before `due` is left.
    """
    left, store = stored(bench, vehicle), open_store(bench.path)
    gone = len(vehicle.blocks) - len(left)
    assert within_bounds(vehicle.sampled[gone:], left)
    assert [(one.facts.stream_no, one.seq) for one in store.runs("asset:one")] == [
        (stream_no, block.seq) for stream_no, block in vehicle.blocks[gone:]
    ]
    assert store.unreadable == 0
    assert sum(one.expired for one in store.streams()) == gone * BLOCK
    begins = [is_keyframe(block.content) for _, block in vehicle.blocks]
    assert begins[gone]
    assert all(records.end_tick <= before for _, records in vehicle.sampled[:gone])
    over = [at for at, (_, records) in enumerate(vehicle.sampled) if begins[at] and records.first_tick <= due]
    assert gone >= over[-1]
