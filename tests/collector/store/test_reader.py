from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import update

from collector.store import StoreError, open_store
from collector.store.reader import PAGE_BATCHES
from collector.store.stored import wall_ns
from collector.store.tables import batches, blobs
from tests.collector.vehicle import SCHEMA, START_TICK, Vehicle

PERIOD_NS = SCHEMA.period_ns
START_NS = START_TICK * PERIOD_NS


def ticks(store, start=None, end=None):
    return [
        run.records.first_tick + i - START_TICK
        for run in store.runs("asset:one", start, end)
        for i in range(len(run.records))
    ]


@pytest.fixture
def filled(bench, connected):
    """60 records in blocks of 10, a keyframe every third."""
    for number in range(6):
        bench.take(connected.drive(10, step=0.2, keyframe=number % 3 == 0))
    return open_store(bench.path)


def test_a_range_has_its_start_and_not_its_end(filled):
    assert ticks(filled) == list(range(60))
    assert ticks(filled, START_NS + 25 * PERIOD_NS, START_NS + 47 * PERIOD_NS) == list(range(25, 47))
    assert ticks(filled, START_NS + 25 * PERIOD_NS - 1, START_NS + 25 * PERIOD_NS + 1) == [25]
    assert ticks(filled, START_NS + 60 * PERIOD_NS) == []
    assert ticks(filled, None, START_NS) == []


def test_a_part_is_the_same_as_in_the_whole(filled):
    whole = np.concatenate([run.records.counts for run in filled.runs("asset:one")])
    part = np.concatenate([run.records.counts for run in filled.runs("asset:one", START_NS + 41 * PERIOD_NS)])
    assert np.array_equal(part, whole[41:])


def test_a_row_that_rotted_costs_its_group_and_nothing_else(bench, filled):
    with bench.ledger.transaction() as transaction:
        transaction._connection.execute(update(batches).where(batches.c.seq == 1).values(content=b"\x11"))
    assert ticks(filled) == [*range(10), *range(30, 60)]
    assert filled.unreadable == 2


def test_runs_know_their_wall_time_and_origin(filled, connected):
    run = next(iter(filled.runs("asset:one", START_NS + 3 * PERIOD_NS)))
    assert wall_ns(run, 0) == START_NS + 3 * PERIOD_NS
    assert (run.vin, run.outbox_id, run.schema, run.facts.stream_no, run.seq) == (
        "asset:one",
        connected.key.outbox_id,
        SCHEMA,
        0,
        0,
    )


def test_many_pages_are_read_one_after_the_other(bench, connected):
    bench.take(*(connected.drive(1) for _ in range(5)))
    with bench.ledger.transaction() as transaction:
        bench.ingest.apply(transaction, [connected.drive(1) for _ in range(PAGE_BATCHES + 5)], 0)
        transaction.finish("now")
    assert ticks(open_store(bench.path)) == list(range(PAGE_BATCHES + 10))


def test_vehicles_streams_and_counts(bench, filled, connected):
    bench.take(Vehicle("asset:two", outbox=2).greeting)
    one, two = filled.vehicles()
    assert (one["vin"], one["model"], one["records"], one["batches"], one["open_faults"]) == (
        "asset:one",
        "Model T",
        60,
        6,
        0,
    )
    assert (two["vin"], two["records"]) == ("asset:two", 0)
    (stream,) = filled.streams("asset:one")
    assert (stream.records, stream.batches, stream.blocks_bytes) == (
        60,
        6,
        sum(len(block.content) for _, block in connected.blocks),
    )


def test_faults_are_found_by_vehicle_severity_and_whether_they_are_open(bench, connected):
    bench.take(connected.drive(temp=46.0), connected.drive(temp=40.0), connected.drive(temp=46.0))
    store = open_store(bench.path)
    assert len(store.faults("asset:one")) == len(store.faults(severity="CRITICAL")) == 2
    assert len(store.faults(only_open=True)) == 1
    assert store.faults("asset:two") == store.faults(severity="INFO") == []


def test_many_faults_are_read_in_pages_in_the_order_in_which_they_were_detected(
    bench, connected, monkeypatch
):
    for number in range(7):
        bench.take(connected.drive(temp=20.0 + 30 * (number % 2)))
    whole = open_store(bench.path).faults()
    monkeypatch.setattr("collector.store.reader.PAGE_ROWS", 2)
    assert len(whole) == 3
    assert open_store(bench.path).faults() == whole


def test_a_damaged_schema_is_named(bench, filled):
    with bench.ledger.transaction() as transaction:
        damaged = (
            update(blobs).where(blobs.c.hash == SCHEMA.hash).values(content=SCHEMA.to_bytes()[:-1] + b" ")
        )
        transaction._connection.execute(damaged)
    store = open_store(bench.path)
    assert store.newest_ns() == {}
    with pytest.raises(StoreError, match=f"schema {SCHEMA.hash.hex()} is damaged"):
        store.streams()


def test_the_three_statements_of_the_readme_run_in_the_shell(bench, connected, shell):
    bench.take(connected.drive(30, temp=46.0))  # 30 records around a fault: a row for each
    for statement, columns, count in (
        (
            "SELECT code, description, detected_at FROM faults WHERE severity = 'CRITICAL' ORDER BY detected_at DESC;",
            3,
            1,
        ),
        ("SELECT timestamp, data FROM telemetry_logs ORDER BY timestamp DESC LIMIT 10;", 2, 10),
        ("SELECT vin, model, firmware_version FROM vehicles;", 3, 1),
    ):
        rows = shell(statement)
        assert len(rows) == count
        assert all(len(row) == columns for row in rows)
    ((latest,),) = shell("SELECT timestamp FROM telemetry_logs ORDER BY timestamp DESC LIMIT 1;")
    assert datetime.fromisoformat(latest) == datetime(2023, 11, 14, 22, 13, 22, 900_000, tzinfo=UTC)
    ((temp,),) = shell("SELECT data->>'Temp' FROM telemetry_logs LIMIT 1;")
    assert abs(float(temp) - 46.0) <= 0.5


@pytest.fixture
def shell(bench, request):
    """What people type, in the database's own shell: psql, and sqlite3 where there is one, else Python's."""

    def typed(statement):
        if "://" in str(bench.path):
            told = request.getfixturevalue("postgres").client(
                "psql", "-XAtq", "-F\x1f", bench.path, "-c", statement
            )
        elif shutil.which("sqlite3"):
            command = ["sqlite3", "-separator", "\x1f", bench.path, statement]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        else:
            with contextlib.closing(sqlite3.connect(bench.path)) as connection:
                return [tuple(map(str, row)) for row in connection.execute(statement)]
        return [tuple(line.split("\x1f")) for line in told.splitlines()]

    return typed


def test_the_latest_rows_come_in_the_order_of_arrival(bench, connected):
    bench.take(connected.drive(30))
    store = open_store(bench.path)
    rows = store.latest(0)
    assert store.latest(rows[1]["id"]) == rows[2:]
    assert store.last_id(1) == rows[1]["id"]
    assert store.last_id(100) == 0
    assert store.latest(0, vin="asset:two") == []


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_an_export_never_keeps_the_write_ahead_log_from_being_checkpointed(bench, connected, monkeypatch):
    monkeypatch.setattr("collector.store.reader.PAGE_BATCHES", 2)
    bench.take(*(connected.drive(1) for _ in range(6)))
    runs = open_store(bench.path).runs("asset:one")
    read = [next(runs), next(runs)]
    bench.take(connected.drive(1))
    with contextlib.closing(sqlite3.connect(bench.path)) as shell:
        assert shell.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    read += runs
    assert [run.records.first_tick - START_TICK for run in read] == list(range(7))


def test_counting_holds_no_transaction_for_longer_than_a_page(bench, connected, monkeypatch):
    monkeypatch.setattr("collector.store.reader.PAGE_COUNTED", 3)
    bench.take(
        *(connected.drive(2) for _ in range(7)), connected.run(), *(connected.drive(2) for _ in range(2))
    )
    store = open_store(bench.path)
    held = []
    fetch = store._fetch
    monkeypatch.setattr(store, "_fetch", lambda statement: held.append(len(rows := fetch(statement))) or rows)
    (vehicle,) = store.vehicles()
    assert (vehicle["batches"], vehicle["records"]) == (9, 18)
    assert [(stream.batches, stream.records) for stream in store.streams()] == [(7, 14), (2, 4)]
    assert len(held) > 2 * 3  # three pages of three blocks, and a last empty one, each time
