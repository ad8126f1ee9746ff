"""Rows and minutes on a real store: what is in it is what the stored records come to, whatever happened on the way."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from collector.ingest.ingest import Ingest
from collector.ingest.materialise import Materialise
from collector.ingest.minutes import Minutes
from collector.items import Damaged, Farewell, Position, Repeated, Resend, Stored
from collector.store import open_store
from collector.store.tables import rollups, telemetry_logs
from tests.collector.vehicle import RULES, SCHEMA, START_TICK, Vehicle

SECOND = SCHEMA.rate_hz
from sqlalchemy import select  # noqa: E402


def minutes(bench):
    with bench.ledger.transaction() as transaction:
        found = transaction._connection.execute(select(rollups)).all()
    return {
        (row.stream_no, row.tick, row.signal): (
            row.timestamp,
            row.min,
            row.max,
            round(row.mean, 9),
            row.count,
        )
        for row in found
    }


def of_the_stored_records(bench):
    from collector import times

    wanted = {}
    by_stream = {}
    for run in open_store(bench.path).runs("asset:one"):
        by_stream.setdefault((run.facts.stream_no, run.offset_ns), []).append(run.records)
    for (stream_no, offset_ns), runs in by_stream.items():
        made = Minutes(SCHEMA, stream_no)
        ended = [one for run in runs for summaries in made.take(run) for one in summaries]
        for one in (*ended, *made.so_far()):
            at = times.to_text(one.tick * SCHEMA.period_ns + offset_ns)
            wanted[stream_no, one.tick, one.signal] = (at, one.low, one.high, round(one.mean, 9), one.count)
    return wanted


def rows(bench):
    with bench.ledger.transaction() as transaction:
        wanted = select(telemetry_logs.c.tick, telemetry_logs.c.data).order_by(telemetry_logs.c.tick)
        return [
            (row.tick - START_TICK, json.loads(row.data)) for row in transaction._connection.execute(wanted)
        ]


def left(vehicle):
    return Farewell(vehicle.key, "offline")


def test_a_minute_is_there_when_it_is_over_and_what_is_left_of_it_when_the_vehicle_leaves(bench, connected):
    bench.take(connected.drive(35 * SECOND, step=0.01))
    assert minutes(bench) == {}
    bench.take(connected.drive(20 * SECOND, step=-0.01))
    assert {tick for _, tick, _ in minutes(bench)} == {
        min(tick for _, tick, _ in of_the_stored_records(bench))
    }
    bench.take(left(connected))
    assert minutes(bench) == of_the_stored_records(bench)
    bench.take(connected.drive(SECOND))
    assert minutes(bench).items() < of_the_stored_records(bench).items()  # what is there is right
    bench.take(connected.drive(90 * SECOND), left(connected), left(connected))
    assert minutes(bench) == of_the_stored_records(bench)


def test_a_restart_in_the_middle_of_a_minute_changes_nothing(bench, connected):
    bench.take(connected.drive(30 * SECOND, step=0.01))
    bench.restart()
    bench.take(connected.drive(25 * SECOND), left(connected))
    bench.restart()
    bench.take(connected.drive(SECOND))
    assert minutes(bench).items() < of_the_stored_records(bench).items()  # what is there is right
    bench.take(connected.drive(45 * SECOND, keyframe=True), connected.drive(10), left(connected))
    assert minutes(bench) == of_the_stored_records(bench)


def test_a_stream_that_ends_leaves_its_last_minute_even_if_nobody_was_here(bench, connected):
    bench.take(connected.drive(30 * SECOND, step=0.01))
    bench.restart()
    bench.take(connected.greeting, connected.run(), connected.drive(5 * SECOND), left(connected))
    assert minutes(bench) == of_the_stored_records(bench)
    assert {stream_no for stream_no, _, _ in minutes(bench)} == {0, 1}


def test_duplicates_and_gaps_count_once_and_not_at_all(bench, connected):
    first, lost, last = (connected.drive(20 * SECOND, keyframe=True) for _ in range(3))
    bench.take(first, first, connected.gap(1, 1, end_record=2 * 20 * SECOND), last, first, left(connected))
    assert minutes(bench) == of_the_stored_records(bench)
    assert sum(count for *_, count in minutes(bench).values()) == 3 * 2 * 20 * SECOND
    assert lost


def test_a_group_that_is_replaced_makes_its_minutes_again(bench, connected):
    other = Vehicle()
    other.run()
    items = [connected.drive(40 * SECOND), connected.drive(40 * SECOND), connected.drive(20)]
    other.drive(40 * SECOND)
    bench.take(items[0], other.drive(90 * SECOND, temp=50.0))
    assert bench.take(items[2]).resend == Resend(0, 0, 2)
    assert isinstance(bench.take(*items), Stored)
    bench.take(left(connected))
    assert minutes(bench) == of_the_stored_records(bench)


def test_a_block_that_claimed_the_ticks_of_those_after_it_costs_these_neither_rows_nor_minutes(
    bench, connected
):
    """It passed its one byte of digest. What follows begins in the minutes that it filled."""
    other = Vehicle()
    other.run()
    right = [connected.drive(40 * SECOND), connected.drive(5 * SECOND)]
    other.drive(40 * SECOND)
    bench.take(right[0], other.drive(150 * SECOND, temp=30.0))
    keyframe = connected.drive(30 * SECOND, temp=25.0, keyframe=True)
    assert isinstance(bench.take(keyframe), Damaged)
    assert bench.take(keyframe).resend == Resend(0, 0, 1)
    bench.take(connected.drive(100 * SECOND), connected.drive(100 * SECOND))
    assert bench.take(*right) == Repeated(Position(0, 4))
    bench.take(left(connected))
    assert minutes(bench) == of_the_stored_records(bench)
    assert [tick for tick, _ in rows(bench)] == list(range(0, 275 * SECOND, SECOND))
    hot = [tick for tick, data in rows(bench) if abs(data["Temp"] - 25) <= 0.5]
    cool = [tick for tick, data in rows(bench) if abs(data["Temp"] - 20) <= 0.5]
    assert hot == list(range(45 * SECOND, 75 * SECOND, SECOND))
    assert len(cool) == 245


def test_a_group_is_replaced_of_which_another_outbox_has_the_beginning(bench, connected):
    """A restored image goes on under a new name from what was acknowledged under the former one."""
    name = replace(connected.key, outbox_id=b"2" * 16)
    other = Vehicle()
    wrong = [replace(other.run(), key=name), *(other.drive(40 * SECOND, temp=temp) for temp in (20, 20, 30))]
    right = [connected.drive(40 * SECOND), connected.drive(40 * SECOND), connected.drive(40 * SECOND)]
    bench.take(*right[:2])
    bench.take(*(replace(item, key=name) for item in (connected.greeting, *wrong)))
    keyframe = replace(connected.drive(keyframe=True), key=name)
    assert bench.take(keyframe).resend == Resend(0, 0, 2)
    assert bench.take(*(replace(item, key=name) for item in right)) == Repeated(Position(0, 3))
    assert [tick for tick, _ in rows(bench)] == list(range(0, 122 * SECOND, SECOND))
    assert all(abs(data["Temp"] - 20) <= 0.5 for _, data in rows(bench))


def test_a_minute_that_a_restart_and_a_gap_left_behind_is_written(bench, connected):
    bench.take(connected.drive(30 * SECOND))
    bench.restart()
    connected.drive(200 * SECOND)
    bench.take(connected.gap(1, 1, end_record=230 * SECOND), connected.drive(keyframe=True), left(connected))
    assert minutes(bench) == of_the_stored_records(bench)


@pytest.mark.parametrize("rate_hz", [0, 0.5, 1, 5, 10, 1000])
def test_so_many_rows_a_second_are_made(bench, connected, rate_hz):
    bench.ingest = Ingest(RULES, materialise=Materialise(rate_hz, 0, 0))
    bench.take(connected.drive(7), connected.drive(33), connected.drive(10 * SECOND, temp=46.0))
    assert len(rows(bench)) == min(rate_hz, SECOND) * 14


def test_around_a_fault_every_record_is_a_row_and_each_is_there_once(bench, connected):
    bench.ingest = Ingest(RULES, materialise=Materialise(1, 2.0, 1.0))
    opens, ends = 100, 200
    bench.take(*(connected.drive(20) for _ in range(5)))
    bench.take(*(connected.drive(20, temp=46.0) for _ in range(2)))
    bench.restart()
    bench.ingest = Ingest(RULES, materialise=Materialise(1, 2.0, 1.0))
    bench.take(*(connected.drive(20, temp=46.0) for _ in range(3)), *(connected.drive(20) for _ in range(5)))
    ticks = [tick for tick, _ in rows(bench)]
    around = {*range(opens - 20, opens + 11), *range(ends - 1 - 20, ends + 10)}
    assert ticks == sorted(around | set(range(0, 300, SECOND)))
    assert next(data for tick, data in rows(bench) if tick == opens)["Temp"] > 45


def test_an_overlap_with_what_was_full_rate_already_is_no_error(bench, connected):
    for temp in (46.0, 40.0, 46.0, 40.0):
        bench.take(connected.drive(15, temp=temp))
    ticks = [tick for tick, _ in rows(bench)]
    assert ticks == list(range(60))


def test_a_fault_that_opens_where_a_block_was_overrun_makes_no_rows_of_what_it_claimed(bench, connected):
    other = Vehicle()
    other.run()
    first = connected.drive(40 * SECOND)
    connected.drive(5 * SECOND)
    other.drive(40 * SECOND)
    bench.take(first, other.drive(80 * SECOND, temp=30.0))
    keyframe = connected.drive(10 * SECOND, temp=50.0, keyframe=True)
    bench.take(keyframe, keyframe, connected.drive(10 * SECOND))
    shown = {tick: data["Temp"] for tick, data in rows(bench) if tick >= 55 * SECOND}
    assert shown
    assert all(abs(temp - 20) <= 0.5 for temp in shown.values())
