"""The file of an outbox: whatever becomes of it, the next one knows whose place it takes."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.errors import OutboxBusy, OutboxDamaged, OutboxError
from edge_agent.outbox import Outbox
from edge_agent.outbox_file import REPLACED_MAX, set_aside
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.rows import GapRow, position_of
from tests.edge_agent.samples import CLOCK, START, everything, fill, new_outbox, pipeline, records


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


LOSSES = {
    "deleted": Path.unlink,
    "emptied": lambda path: os.truncate(path, 0),
    "set aside": lambda path: set_aside(str(path)),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_whatever_becomes_of_the_file_the_next_one_names_it(path, lose):
    names = []
    for _ in range(REPLACED_MAX + 3):
        outbox = new_outbox(path)
        assert outbox.replaces == b"".join(names[-REPLACED_MAX:])
        names.append(outbox.outbox_id)
        outbox.close()
        lose(path)


def test_a_fork_takes_nobodys_place(path):
    outbox = new_outbox(path)
    outbox.fork()
    named = outbox.outbox_id
    outbox.close()
    path.unlink()
    fresh = new_outbox(path)
    assert fresh.replaces == named
    fresh.close()


def test_a_fork_still_says_whose_place_it_took(path):
    """A store that is older than what it replaced has to hear of it, whatever became of the outbox since."""
    with contextlib.closing(new_outbox(path)) as outbox:
        lost = outbox.outbox_id
    path.unlink()
    with contextlib.closing(new_outbox(path)) as outbox:
        outbox.fork()
        assert outbox.replaces == lost
    with contextlib.closing(Outbox(str(path))) as again:
        assert again.replaces == lost


def test_where_the_lock_takes_no_name_it_is_tried_again(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OutboxBusy, match="free some disk space"):
            new_outbox(path)
    new_outbox(path).close()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_name_with_a_flipped_bit_costs_the_file(path, which):
    """Under another name everything would be sent again, and nobody would hear of an outbox that is missing."""
    lost = new_outbox(path)
    lost.close()
    path.unlink()
    with contextlib.closing(new_outbox(path)) as outbox:
        outbox.fork()
        named = (outbox.outbox_id, outbox.replaces, outbox.forked_from)[which]
    with contextlib.closing(sqlite3.connect(path)) as db:
        flipped = bytes([named[0] ^ 1]) + named[1:]
        db.execute("UPDATE facts SET value = ? WHERE value = ?", (flipped, named))
        db.commit()
    with pytest.raises(OutboxDamaged, match="name does not match its checksum"):
        Outbox(str(path))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE facts SET key = 'gutbox_id' WHERE key = 'outbox_id'",
        "UPDATE streams SET stream_no = 6 WHERE stream_no = 1",
    ],
)
def test_a_row_under_another_key_costs_the_file(path, damage):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 1)
        fill(outbox, 1, stream_no=1)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(damage)
        db.commit()
    with pytest.raises(OutboxDamaged):
        Outbox(str(path))


def test_a_block_that_stands_where_the_next_one_goes_makes_room(path):
    """Its own place is found empty, and becomes a gap."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 2)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE batches SET position = 2 WHERE position = 1")
        db.commit()
    with contextlib.closing(Outbox(str(path))) as outbox:
        source = pipeline()
        for block in range(3):
            added = source.add(records(500, first=START + 500 * block), CLOCK)
        outbox.commit(replace(added, stream=None), limit_bytes=NOWHERE)
        outbox.mend(position_of(0, 1))
    rows, broken = everything(path)
    assert [(row.position, row.end, isinstance(row, GapRow)) for row in rows] == [(0, 1, False), (1, 3, True)]
    assert broken is None


HEADER_BYTES = 100


def test_a_header_with_a_flipped_bit_never_stops_the_agent(path):
    """Taken as it is, or told apart: either way somebody can write, and knows whose place it is."""
    outbox = new_outbox(path)
    fill(outbox, 3)
    named = outbox.outbox_id
    outbox.close()
    content = path.read_bytes()
    for bit in range(0, HEADER_BYTES * 8, 9):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            outbox = Outbox(str(path), synchronous="OFF")
        except OutboxDamaged:
            for file in path.parent.glob("outbox.db*"):
                if not file.name.endswith(".lock"):
                    file.unlink()
            outbox = Outbox(str(path), synchronous="OFF")
            assert outbox.replaces.endswith(named)
            (path.parent / "outbox.db.lock").write_bytes(named)
        else:
            outbox.keep_schema(b"a", b"b")
            assert outbox.outbox_id == named
        outbox.close()


@pytest.mark.parametrize("name", [b"batchesbatches", b"batches_crossing", b"journaljournal"])
def test_a_schema_that_is_no_text_any_more_is_damage(path, name):
    """SQLite quotes it where it says what is wrong, and Python cannot read that."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
    content = path.read_bytes()
    at = content.index(name)
    for place in range(at, at + len(name)):
        for aside in path.parent.glob("outbox.db-*"):
            aside.unlink()
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :])
        with pytest.raises(OutboxDamaged, match=r"outbox.db: .*"):
            Outbox(str(path), synchronous="OFF")
        with pytest.raises(OutboxDamaged, match=r"outbox.db: .*"), OutboxReader(str(path)) as reader:
            reader.fetch(0, bytes_max=1)


def test_a_column_whose_name_is_damaged_costs_the_file(path):
    """To SQLite it is a column like any other; to the agent, statements that nobody can carry out."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
    content = path.read_bytes()
    for column in (
        b"stream_id BLOB",
        b"next_seq INTEGER",
        b"end_record INTEGER",
        b"slot INTEGER",
        b"reason INTEGER",
    ):
        at = content.index(column)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(OutboxDamaged, match=f"has lost its column {column.split()[0].decode()}"):
            Outbox(str(path), synchronous="OFF")


def test_a_version_below_nothing_is_damage(path):
    new_outbox(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = -2147483647")
    with pytest.raises(OutboxDamaged, match="version -2147483647"):
        Outbox(str(path))


def test_an_outbox_whose_version_is_gone_is_damaged_and_another_database_left_alone(path, tmp_path):
    new_outbox(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 0")
    with pytest.raises(OutboxDamaged, match="version is gone"):
        Outbox(str(path))
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE notes (text)")
    with pytest.raises(OutboxError, match="no outbox; name another"):
        Outbox(str(tmp_path / "other.db"))
