"""Revisions: what they make is what `tables` says, whichever version a store begins at."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from collector.__main__ import main
from collector.store import StoreError, address_of, open_store
from collector.store.engine import open_engine
from collector.store.migrate import FOLDER, revision, statements
from collector.store.tables import SCHEMA_VERSION, metadata
from collector.store.types import JsonText, WallTime

VERSION_1 = Path(__file__).with_name("version_1.sql")
PARTITIONED = {"telemetry_logs", "rollups"}


def test_revisions_are_numbered_one_after_the_other_and_the_last_is_the_schema_s_version():
    chain = list(reversed(list(ScriptDirectory(str(FOLDER)).walk_revisions())))
    assert [one.revision for one in chain] == [revision(number) for number in range(1, SCHEMA_VERSION + 1)]


def differences(engine):
    with engine.connect() as connection:
        found = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": is_another_type}), metadata
        )
    return [one for one in found if not is_of_a_partition(one)]


def is_another_type(_context, _found, _wanted, found_type, wanted_type):
    """None: compare them as usual. Ours look like themselves to nobody else."""
    ours = {WallTime: "TIMESTAMP", JsonText: "JSON"}.get(type(wanted_type))
    return None if ours is None or found_type.__visit_name__ == "TEXT" else found_type.__visit_name__ != ours


def is_of_a_partition(difference):
    """Partitions are tables of their own to Alembic, and a partitioned table's key has its time in it."""
    if isinstance(difference, list):  # a column that reads differently
        return False
    kind, what = difference[0], difference[1]
    if kind == "remove_table":
        return any(what.name.startswith(f"{name}_") for name in PARTITIONED)
    if kind == "remove_index":
        return any(what.table.name.startswith(f"{name}_") for name in PARTITIONED)
    return kind in {"remove_constraint", "add_constraint"} and what.table.name in PARTITIONED


def test_the_revisions_make_what_the_tables_say(where):
    assert differences(open_engine(address_of(where), write=True)) == []


def test_a_file_of_the_first_version_is_brought_up_to_date_in_place(tmp_path, capsys):
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1.read_text())
    connection.execute(
        "INSERT INTO vehicles VALUES ('asset:one', 'T', '', '', 'offline', 'then', 'then', NULL)"
    )
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="made by an older collector"):
        open_store(path)
    assert main(["schema", "upgrade", "--store", str(path)]) == 0
    assert "from version 1" in capsys.readouterr().out
    assert [row["vin"] for row in open_store(path).vehicles()] == ["asset:one"]
    assert differences(open_engine(address_of(path), write=True)) == []


def test_a_writer_of_a_file_brings_it_up_to_date_by_itself(tmp_path):
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1.read_text())
    connection.close()
    open_engine(address_of(path), write=True)
    assert open_store(path).vehicles() == []


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_schema_is_printed_as_sql_that_makes_a_store(dialect, capsys, tmp_path, request):
    assert main(["schema", "--dialect", dialect]) == 0
    printed = capsys.readouterr().out
    assert printed == statements(dialect)
    if dialect == "sqlite":
        connection = sqlite3.connect(tmp_path / "s.db")
        connection.executescript(printed)
        connection.close()
        return
    server = request.getfixturevalue("postgres")
    url, file = server.database(), server.folder / "schema.sql"
    file.write_text(printed)
    server.client("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, "-f", file)
    open_engine(address_of(url), write=True)
    assert open_store(url).vehicles() == []
