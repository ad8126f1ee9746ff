"""What older software wrote is read, finished and sent by this one: one file of each version is kept, never made again."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge_agent import outbox as outbox_module
from edge_agent.capture import open_outbox
from edge_agent.errors import OutboxDamaged
from edge_agent.outbox import VERSION, Outbox
from edge_agent.outbox_rows import SQL
from edge_agent.rows import BatchRow, GapRow, Reason, position_of
from tests.edge_agent.samples import HOT, START, decoded, everything, ids, settings, ticks_of

KEPT = Path(__file__).parent / "outboxes"


def kept(folder, version):
    path = folder / "outbox.db"
    shutil.copy(KEPT / f"version-{version}.outbox", path)
    return path


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_an_outbox_of_every_version_is_taken_with_all_that_it_holds(tmp_path, version):
    """Six blocks, of which one was damaged, and a journal of 120 records that a crash cut short."""
    path = kept(tmp_path, version)
    outbox, aside = open_outbox(settings(tmp_path), ids())
    with contextlib.closing(outbox):
        assert not aside
        assert (outbox.wanted, outbox.guards_hash) == (position_of(0, 1), HOT.hash)
        rows, broken = everything(path)
    assert broken is None
    gaps = [(row.first_seq, row.last_seq, row.end_record) for row in rows if isinstance(row, GapRow)]
    assert gaps == [(2, 2, 1500)]
    assert [row.seq for row in rows if isinstance(row, BatchRow)] == [0, 1, 3, 4, 5, 6]
    records = decoded(path)
    assert ticks_of(records) == [*range(START, START + 1000), *range(START + 1500, START + 3120)]
    assert np.abs(records[-1].counts[:, 0] - np.linspace(20, 60, 120) * 2).max() <= 3


def test_a_file_of_before_is_migrated_whole_or_not_at_all(tmp_path, monkeypatch):
    path = kept(tmp_path, 1)
    monkeypatch.setattr(outbox_module, "VERSION", 3)
    steps = {"migrate_from_1": "ALTER TABLE gaps ADD COLUMN note TEXT", "migrate_from_2": "SELECT nonsense"}
    monkeypatch.setattr(outbox_module, "SQL", {**SQL, **steps})
    with pytest.raises(OutboxDamaged, match="nonsense"):
        Outbox(str(path), ids())
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "note" not in db.execute("SELECT sql FROM sqlite_master WHERE name = 'gaps'").fetchone()[0]
    steps["migrate_from_2"] = "UPDATE gaps SET note = 'old';\nDELETE FROM facts WHERE key = 'opened'"
    monkeypatch.setattr(outbox_module, "SQL", {**SQL, **steps})
    outbox, _ = open_outbox(settings(tmp_path), ids())
    outbox.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("SELECT reason, note FROM gaps").fetchall() == [(int(Reason.DAMAGED), "old")]
