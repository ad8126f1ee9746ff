from __future__ import annotations

import sqlite3

import pytest

from collector.items import OutboxKey
from collector.store.address import Address
from collector.store.engine import explained, open_engine
from collector.store.errors import StoreBusy, StoreError, StoreUnavailable
from collector.store.ledger import StoreLedger
from collector.store.tables import SCHEMA_VERSION


@pytest.fixture
def address(tmp_path):
    return Address(tmp_path / "s.db")


def test_a_store_is_made_with_a_write_ahead_log_and_full_durability(address):
    engine = open_engine(address, write=True)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA user_version").scalar_one() == SCHEMA_VERSION


def test_a_reader_makes_nothing_and_changes_nothing(address):
    with pytest.raises(StoreError, match="there is no store"):
        open_engine(address, write=False)
    open_engine(address, write=True)
    reader = open_engine(address, write=False)
    with pytest.raises(StoreUnavailable, match="readonly"), explained(address), reader.begin() as connection:
        connection.exec_driver_sql("DELETE FROM batches")


@pytest.mark.parametrize("write", [True, False])
def test_a_schema_that_is_no_text_any_more_is_damage(address, write):
    """SQLite quotes it where it says what is wrong, and Python cannot read that."""
    open_engine(address, write=True).dispose()
    with sqlite3.connect(address.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = address.path.read_bytes()
    at = (
        content.index(b"indexbatches") + len(b"index")
        if b"indexbatches" in content
        else content.index(b"tablebatches") + len(b"table")
    )
    address.path.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
    with pytest.raises(StoreError, match=r"s.db: malformed database schema \(\\x.*set the file aside"):
        open_engine(address, write=write)


def test_a_column_whose_name_is_damaged_is_damage_and_does_not_pass_by_itself(address):
    open_engine(address, write=True).dispose()
    with sqlite3.connect(address.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = address.path.read_bytes()
    at = content.index(b"rule_state")
    address.path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    ledger = StoreLedger(address)
    with (
        pytest.raises(
            StoreError, match=r"s.db: no such column: outboxes.rule_state .*set the file aside"
        ) as caught,
        ledger.transaction() as transaction,
    ):
        transaction.open_outbox(OutboxKey("asset:a", bytes(16)), "2026-01-01 00:00:00")
    assert not isinstance(caught.value, StoreUnavailable)


@pytest.mark.parametrize("write", [True, False])
def test_what_is_no_store_is_left_alone_and_named(tmp_path, write):
    text = tmp_path / "text.db"
    text.write_text("no database" * 100)
    with pytest.raises(StoreError, match=r"text.db: file is not a database; set the file aside"):
        open_engine(Address(text), write=write)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(StoreError, match="no collector's store"):
        open_engine(Address(other), write=write)
    with pytest.raises(StoreError, match="is a folder"):
        open_engine(Address(tmp_path), write=write)


def test_a_store_of_a_newer_collector_is_refused(address):
    open_engine(address, write=True)
    connection = sqlite3.connect(address.path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="made by a newer collector"):
        open_engine(address, write=True)


def test_a_folder_that_is_missing_is_said(tmp_path):
    with pytest.raises(StoreUnavailable, match="does its folder exist"):
        open_engine(Address(tmp_path / "nowhere" / "s.db"), write=True)


def test_a_lock_shows_before_any_work_is_done(address):
    engine = open_engine(address, write=True)
    holder = sqlite3.connect(address.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="locked"), explained(address), engine.begin():
        raise AssertionError("not reached")
    holder.close()
