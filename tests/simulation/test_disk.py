"""The file layer of the simulation loses what a power cut may lose, and nothing else; on a real SQLite."""

from __future__ import annotations

import contextlib
import random
import sqlite3

import pytest

from tests.simulation.disk import FULL, Disk, simulated_disks


@pytest.fixture
def disk(tmp_path):
    with simulated_disks(random.Random(1)) as disks:
        made = disks[str(tmp_path / "disk")] = Disk(tmp_path / "disk")
        yield made


def database(disk, synchronous="FULL"):
    db = sqlite3.connect(disk.folder / "a.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
    return db


def die(disk, db, rng=None):
    """SIGKILL, or with `rng` a power cut."""
    disk.frozen = True
    db.close()
    if rng is not None:
        disk.lose_power(rng)
    disk.frozen = False


def rows(disk):
    with contextlib.closing(database(disk)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in db.execute("SELECT x FROM t ORDER BY x")]


def test_a_killed_process_leaves_what_it_committed(disk):
    db = database(disk, "OFF")
    db.execute("INSERT INTO t VALUES (1)")
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (2)")
    die(disk, db)
    assert rows(disk) == [1]


@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_costs_nothing_that_was_synced(disk, seed):
    db = database(disk)
    for x in range(20):
        db.execute("INSERT INTO t VALUES (?)", (x,))
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (99)")
    die(disk, db, random.Random(seed))
    assert rows(disk) == list(range(20))


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_a_power_cut_costs_what_was_not(disk, synchronous):
    lost = 0
    db = database(disk)
    db.close()
    for seed in range(10):
        db = database(disk, synchronous)
        before = db.execute("SELECT count(*) FROM t").fetchone()[0]
        for x in range(5):
            db.execute("INSERT INTO t VALUES (?)", (before + x,))
        die(disk, db, random.Random(seed))
        left = rows(disk)
        assert left == list(range(len(left)))  # a prefix: the log's checksums see to that
        lost += before + 5 - len(left)
    assert lost > 0


@pytest.mark.parametrize("at", range(30))
def test_dying_at_any_operation_leaves_all_or_nothing(disk, at):
    db = database(disk)
    disk.dies_in = at
    committed = 0
    with contextlib.suppress(sqlite3.OperationalError):
        for _ in range(10):
            db.execute("BEGIN")
            db.execute("INSERT INTO t VALUES (?)", (committed,))
            db.execute("INSERT INTO t VALUES (?)", (committed + 1,))
            db.execute("COMMIT")
            committed += 2
    die(disk, db, random.Random(at))
    assert len(rows(disk)) - committed in (0, 2)


def test_a_full_disk_refuses_and_loses_nothing(disk):
    with contextlib.closing(database(disk)) as db:
        db.execute("INSERT INTO t VALUES (1)")
        disk.refusal = FULL
        with pytest.raises(sqlite3.OperationalError, match="full"):
            db.execute("INSERT INTO t VALUES (2)")
        disk.refusal = 0
        db.execute("INSERT INTO t VALUES (3)")
    assert rows(disk) == [1, 3]
