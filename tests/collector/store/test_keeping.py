"""What is kept, for how long, and what docs/store.md says of backups and of roles, done."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, insert, select

from collector.config import Config
from collector.items import Farewell, Hole, Position, Stored
from collector.store import address_of, keeping, open_store
from collector.store.days import AHEAD_DAYS
from collector.store.keeping import Keep, tidy
from collector.store.tables import acknowledgements, metadata, rollups, telemetry_logs
from collector.store.webhooks import WebhookStore
from collector.webhooks.plan import Standing
from tests.collector.vehicle import Bench, Vehicle, stored, within_bounds

PAGE = Path(__file__).resolve().parents[3] / "docs" / "store.md"
DRIVEN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def counted(bench):
    with bench.ledger.transaction() as transaction:
        return [
            transaction._connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (telemetry_logs, rollups)
        ]


def leave(bench, vehicle):
    bench.take(vehicle.drive(900), Farewell(vehicle.key, "offline"))


def test_what_is_too_old_goes_and_the_blocks_stay(bench, connected):
    leave(bench, connected)
    rows, minutes = counted(bench)
    assert rows
    assert minutes
    where = address_of(bench.path)
    tidy(where, Keep(rows=10, rollups=30), DRIVEN + 9 * DAY)
    assert counted(bench) == [rows, minutes]
    tidy(where, Keep(rows=10, rollups=30), DRIVEN + 12 * DAY)
    assert counted(bench) == [0, minutes]
    tidy(where, Keep(), DRIVEN + 400 * DAY)
    assert counted(bench) == [0, minutes]
    tidy(where, Keep.of(Config()), DRIVEN + 2000 * DAY)
    assert counted(bench) == [0, 0]
    assert sum(len(run.records) for run in open_store(bench.path).runs("asset:one")) == 900


# Tables of which rows go by themselves: the key of Keep, and what tells their age.
AGED = {
    "faults": ("faults", "detected_at"),
    "diagnoses": ("diagnoses", "detected_at"),
    "anomalies": ("anomalies", "started_at"),
    "battery_health": ("battery", "at"),
    "vehicle_health": ("health", "at"),
    "notices": ("notices", "at"),
    "dead_letters": ("dead_letters", "at"),
    "quarantine": ("quarantine", "received_at"),
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def put(bench, name, **values):
    """A row of a table, whatever else must stand in it. `days`: how old it is."""
    table = metadata.tables[name]
    age = values.pop("days")
    at = (NOW - age * DAY).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    usual = {"BIGINT": 1, "INTEGER": 1, "FLOAT": 1.0, "BOOLEAN": False, "BLOB": b"x"}
    row = {
        column.name: usual.get(str(column.type).split("(")[0], "x")
        for column in table.c
        if not column.nullable and column.name != "id"
    }
    row |= {key: "{}" for key in ("evidence", "causes", "conditions") if key in table.c}
    row |= {key: at for key in ("at", "detected_at", "started_at", "received_at") if key in table.c}
    row |= {"vin": "asset:one"} if "vin" in table.c else {}
    row |= {key: age for key in ("first_tick", "tick", "seq") if key in table.c}
    with bench.ledger.transaction() as transaction:
        transaction.execute(insert(table), row | values)


def ages(bench, name):
    """Days, oldest first."""
    column = metadata.tables[name].c[AGED[name][1]]
    with bench.ledger.transaction() as transaction:
        found = transaction._connection.execute(select(column)).scalars().all()
    return sorted((round((NOW - datetime.fromisoformat(at)) / DAY) for at in found), reverse=True)


@pytest.mark.parametrize("name", AGED)
def test_each_table_has_a_limit_of_its_own(bench, connected, name):
    for other in AGED:
        also = {"ended_at": "2026-01-01T00:00:00.000Z"} if "ended_at" in metadata.tables[other].c else {}
        for age in (50, 31, 29):
            put(bench, other, days=age, **also)
    before = {other: ages(bench, other) for other in AGED}
    gone = tidy(address_of(bench.path), Keep(**{AGED[name][0]: 30}), NOW)
    assert gone == {name: before[name].index(29)}
    left = before[name][before[name].index(29) :]
    assert {other: ages(bench, other) for other in AGED} == before | {name: left}


@pytest.mark.parametrize("name", ["faults", "diagnoses", "anomalies"])
def test_what_is_open_stays_however_old_it_is(bench, connected, name):
    put(bench, name, days=500)
    put(bench, name, days=400, ended_at="2025-05-01T00:00:00.000Z")
    tidy(
        address_of(bench.path),
        Keep.of(Config(keep_faults_days=1, keep_diagnoses_days=1, keep_anomalies_days=1)),
        NOW,
    )
    assert ages(bench, name) == [500]


def test_the_newest_state_of_a_vehicle_stays(bench, connected):
    for age in (500, 400, 300):
        put(bench, "vehicle_health", days=age, vin="asset:other")
    put(
        bench,
        "vehicles",
        days=0,
        vin="asset:other",
        first_seen="2025-01-01T00:00:00.000Z",
        last_seen="2025-01-01T00:00:00.000Z",
    )
    tidy(address_of(bench.path), Keep(health=1), NOW)
    assert 300 in ages(bench, "vehicle_health")
    assert not {400, 500} & set(ages(bench, "vehicle_health"))


def test_what_was_said_of_a_fault_goes_with_it(bench, connected):
    ended = "2026-01-01T00:00:00.000Z"
    for age in (50, 10):
        put(bench, "faults", days=age, ended_at=ended)
        put(bench, "acknowledgements", days=age)
    tidy(address_of(bench.path), Keep(faults=30), NOW)
    with bench.ledger.transaction() as transaction:
        left = transaction._connection.execute(select(acknowledgements.c.first_tick)).scalars().all()
    assert left == [10]
    assert [row["acknowledged_by"] for row in open_store(bench.path).faults()] == ["x"]


def test_a_number_of_occurrences_outlives_its_faults(bench, connected):
    bench.take(
        connected.drive(20, temp=50.0),
        connected.drive(20),
        connected.drive(20, temp=50.0),
        connected.drive(20),
    )
    assert tidy(address_of(bench.path), Keep(faults=30), NOW) == {"faults": 2}
    other = Vehicle(outbox=2)
    bench.take(other.greeting, other.schema, other.run(), other.drive(20, temp=50.0))
    assert [row["occurrence"] for row in open_store(bench.path).faults()] == [3]


def test_a_notice_stays_until_every_webhook_that_is_served_has_told_it(bench, connected):
    for age in (100, 99, 98, 10):
        put(bench, "notices", days=age)
    where, now_ns = address_of(bench.path), round(NOW.timestamp() * 1e9)
    serving = WebhookStore(bench.path, "here")
    serving.claim("pager", now_ns)
    serving.keep("pager", Standing(2, held=(2,)), None, now_ns)
    tidy(where, Keep(notices=90), NOW)
    assert ages(bench, "notices") == [99, 98, 10]
    serving.keep("pager", Standing(4), None, now_ns)
    tidy(where, Keep(notices=90), NOW)
    assert ages(bench, "notices") == [10]
    serving.keep("pager", Standing(0), None, now_ns)
    serving.close()
    tidy(
        where, Keep(notices=5), NOW + 100 * DAY
    )  # nobody has served it for so long: it is no webhook any more
    assert ages(bench, "notices") == []


def test_many_rows_go_in_small_transactions(bench, connected, monkeypatch):
    monkeypatch.setattr(keeping, "DELETED_MAX", 3)
    for age in range(40, 50):
        put(bench, "dead_letters", days=age)
    assert tidy(address_of(bench.path), Keep(dead_letters=30), NOW) == {"dead_letters": 10}


def test_the_page_says_of_every_table_how_long_it_is_kept():
    (kept,) = re.findall(r"## How long things are kept\n(.*?)\n## ", PAGE.read_text(), flags=re.DOTALL)
    assert [name for name in metadata.tables if f"`{name}`" not in kept] == []
    for key in (one.name for one in fields(Keep)):
        assert f"| `keep_{key}_days` | {getattr(Config(), f'keep_{key}_days')} |" in kept


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_days_are_made_ahead_and_take_over_what_came_before_them(bench, connected):
    bench.take(connected.drive(300))
    rows, _ = counted(bench)
    assert days(bench) == {"telemetry_logs_other": rows}
    tidy(address_of(bench.path), Keep(), DRIVEN)
    assert days(bench) == {"telemetry_logs_20231114": rows}
    bench.take(connected.drive(300))
    assert days(bench) == {"telemetry_logs_20231114": rows + 30}
    with psycopg.connect(bench.path) as connection:
        made = connection.execute("SELECT count(*) FROM pg_partition_tree('rollups') WHERE isleaf").fetchone()
    assert made == (AHEAD_DAYS + 2 + 1,)


def days(bench):
    """Rows by partition."""
    with psycopg.connect(bench.path) as connection:
        found = connection.execute("SELECT tableoid::regclass::text, count(*) FROM telemetry_logs GROUP BY 1")
        return dict(found.fetchall())


# Backups and roles


@pytest.fixture
def restored(bench, connected, tmp_path, request):
    """A store as it was after two blocks; the vehicle has been told that three are durable."""
    bench.take(connected.drive(temp=46.0), connected.drive())
    if "://" not in str(bench.path):
        with (
            contextlib.closing(sqlite3.connect(bench.path)) as source,
            contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy,
        ):
            source.backup(copy)
        bench.take(connected.drive())
        yield Bench(tmp_path / "copy.db")
        return
    server = request.getfixturevalue("postgres")
    dump, copy = server.folder / "fleet.dump", server.database()
    server.client("pg_dump", "--format", "custom", "--file", dump, bench.path)
    bench.take(connected.drive())
    server.client("pg_restore", "--clean", "--if-exists", "--no-owner", "--dbname", copy, dump)
    one = Bench(copy)
    yield one
    one.ledger.close()
    server.take_back(copy)


def test_a_restored_store_has_all_of_its_moment_and_asks_for_the_rest(restored, connected):
    assert within_bounds(connected.sampled[:2], stored(restored, connected))
    assert len(open_store(restored.path).faults()) == 1
    last = connected.drive()
    assert restored.take(connected.greeting).wanted == Position(0, 2)
    assert isinstance(restored.take(connected.gap(3, 3, 0)), Hole)
    assert restored.take(last) == Hole(Position(0, 2))
    restored.ledger.close()


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_the_role_for_bi_tools_reads_the_views_and_nothing_else(bench, connected, postgres):
    bench.take(connected.drive(700, temp=46.0))
    (statements,) = re.findall(r"```sql\n(CREATE ROLE bi.*?)```", PAGE.read_text(), flags=re.DOTALL)
    with psycopg.connect(bench.path, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS bi")
        connection.execute(statements)
    guest = re.sub(r"//\w+@", "//bi@", bench.path)
    with psycopg.connect(guest, autocommit=True) as connection:
        for view in ("signal_minutes", "fault_list", "latest_rows"):
            assert connection.execute(f"SELECT * FROM {view}").fetchall()
        for denied in ("SELECT * FROM batches", "DELETE FROM vehicles", "SELECT * FROM outboxes"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(denied)
    assert isinstance(bench.take(connected.drive()), Stored)
    with psycopg.connect(bench.path, autocommit=True) as connection:
        connection.execute("DROP OWNED BY bi; DROP ROLE bi")
