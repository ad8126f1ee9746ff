"""What is kept, for how long, and what docs/store.md says of backups and of roles, done."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select

from collector.items import Farewell, Hole, Position, Stored
from collector.store import address_of, open_store
from collector.store.keeping import AHEAD_DAYS, Keep, tidy
from collector.store.tables import rollups, telemetry_logs
from tests.collector.vehicle import Bench, stored, within_bounds

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
    tidy(where, Keep(rows_days=10, rollups_days=30), DRIVEN + 9 * DAY)
    assert counted(bench) == [rows, minutes]
    tidy(where, Keep(rows_days=10, rollups_days=30), DRIVEN + 12 * DAY)
    assert counted(bench) == [0, minutes]
    tidy(where, Keep(rows_days=0, rollups_days=0), DRIVEN + 400 * DAY)
    assert counted(bench) == [0, minutes]
    tidy(where, Keep(), DRIVEN + 2000 * DAY)
    assert counted(bench) == [0, 0]
    assert sum(len(run.records) for run in open_store(bench.path).runs("asset:one")) == 900


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

PAGE = Path(__file__).resolve().parents[3] / "docs" / "store.md"


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
