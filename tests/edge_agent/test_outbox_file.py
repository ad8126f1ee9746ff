"""The file of an outbox: whatever becomes of it, the next one knows whose place it takes, and nothing is missing without a gap."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent import messages
from edge_agent.blobs import unpack_schema
from edge_agent.capture import open_outbox
from edge_agent.errors import OutboxBusy, OutboxDamaged, OutboxError
from edge_agent.outbox import PAGE_BYTES, Outbox
from edge_agent.outbox_file import REPLACED_MAX, set_aside
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.rows import BlobKind, Commit, GapRow, Reason, position_of, split_position
from tests.edge_agent.samples import (
    CLOCK,
    IDENTITY,
    SCHEMA,
    START,
    everything,
    fill,
    ids,
    new_outbox,
    pipeline,
    records,
    settings,
)


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


# Damage anywhere

FLIPS = 400
PAGE_HEAD_BYTES = 48
SUFFIXES = ("", "-wal", ".lock")


@dataclass(frozen=True, slots=True)
class Crashed:
    """Files as a crash left them, whose outbox it was, and how many records each stream has, journal included."""

    folder: Path
    names: tuple[bytes, bytes, bytes]
    record_counts: dict[int, int]


@pytest.fixture(params=["in the file", "in the write-ahead log"])
def crashed(request, tmp_path) -> Crashed:
    path = tmp_path / "outbox.db"
    Outbox(str(path), ids(55)).close()
    path.unlink()  # so that the next one takes its place
    image = tmp_path / "image"
    image.mkdir()
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 6)
        outbox._drop(position_of(0, 3), position_of(0, 6), Reason.QUOTA)
        second = fill(outbox, 5, stream_no=1, first=START + 10_000)
        for start, count in ((12_500, 50), (12_550, 50), (12_600, 50), (12_650, 350)):
            journaled = records(count, first=START + start, temp=noisy(start, count))
            outbox.commit(second.add(journaled, CLOCK), limit_bytes=NOWHERE)
        open_stream = fill(outbox, 1, stream_no=2, first=START + 20_000)
        if request.param == "in the file":
            outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for start in (20_500, 20_550):
            added = open_stream.add(records(50, first=START + start, temp=noisy(start, 50)), CLOCK)
            outbox.commit(added, limit_bytes=NOWHERE)
        outbox.wanted = position_of(1, 4)
        outbox.commit(Commit(), limit_bytes=NOWHERE)
        if request.param == "in the file":
            outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in SUFFIXES:
            shutil.copy(f"{path}{suffix}", image)
        names = (outbox.outbox_id, outbox.replaces, outbox.forked_from)
    return Crashed(image, names, {0: 3000, 1: 3000, 2: 600})


def noisy(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 40, count)


def drained(outbox) -> dict[int, int]:
    """Each stream's records, sent and in gaps, as the collector would count them. What cannot be sent becomes a gap."""
    counts: dict[int, int] = {}
    start, mended = 0, None
    while True:
        with OutboxReader(outbox.path) as reader:
            messages.hello(IDENTITY, reader.extent(outbox.wanted))
            fetched = reader.fetch(start, bytes_max=1 << 20)
            for stream, _, _ in fetched.streams.values():
                assert unpack_schema(reader.blob(BlobKind.SCHEMA, stream.schema_hash)) == SCHEMA
        for row in fetched.rows:
            begun = counts.get(row.stream_no, 0)
            if isinstance(row, GapRow):
                assert messages.gap(0, row, START).gap.end_record >= begun
            else:
                assert row.end_record - row.record_count == begun
            counts[row.stream_no] = row.end_record
            start = row.end
        if fetched.broken is not None:
            outbox.mend(fetched.broken, again=fetched.broken == mended)
            mended = fetched.broken
        elif not fetched.rows:
            return counts


def goes_on(_outbox, counts: dict[int, int]) -> dict[int, int]:
    """What it holds then, as `drained` counts it."""
    return counts


def evicts(outbox, counts: dict[int, int]) -> dict[int, int]:
    fresh = outbox.next_stream_no()
    fill(outbox, 4, stream_no=fresh, first=START + 40_000, limit_bytes=outbox.used_bytes() - 3000)
    return counts | {fresh: 2000}


def forks(outbox, counts: dict[int, int]) -> dict[int, int]:
    """It leaves the stream before the one of which something is not acknowledged, if it knows that."""
    left, _ = split_position(outbox.wanted)
    assert outbox.wanted in (0, position_of(1, 4))
    outbox.fork()
    return {stream_no - left: count for stream_no, count in counts.items() if stream_no >= left}


LIVES = (goes_on, evicts, forks)


def check_nothing_missing(crashed: Crashed, folder: Path, what: str, live=goes_on) -> str:
    """What became of the file in `folder`."""
    outbox, _ = open_outbox(settings(folder, synchronous="OFF"), ids(77))
    with contextlib.closing(outbox):
        if outbox.outbox_id == ids(77)(16):
            assert outbox.replaces == crashed.names[1] + crashed.names[0], what
            return "set aside"
        assert (outbox.outbox_id, outbox.replaces, outbox.forked_from) == crashed.names, what
        try:
            expected = live(outbox, crashed.record_counts)
            counts = drained(outbox)
            with OutboxReader(outbox.path) as reader:
                reader.check()  # as it is beside capture, where the start had no time for it
        except OutboxDamaged:
            return "set aside"  # by whoever meets it
        assert counts == expected, what
        return "taken"


def damaged(crashed: Crashed, folder: Path) -> Path:
    """A fresh copy of the file, to be damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(crashed.folder, folder)
    return folder / "outbox.db"


@pytest.mark.parametrize("crashed", ["in the file"], indirect=True)
@pytest.mark.parametrize("checked", [True, False], ids=["checked", "check cut short"])
def test_no_flipped_bit_makes_anything_missing_without_a_word(crashed, checked, tmp_path, monkeypatch):
    if not checked:
        monkeypatch.setattr("edge_agent.outbox.check", lambda *_, **__: False)
    became = set()
    for flip in range(FLIPS // 2):
        path = damaged(crashed, tmp_path / "work")
        content = bytearray(path.read_bytes())
        at, bit = random.randrange(len(content)), random.randrange(8)
        if flip % 2:  # where a page says what is in it, and where
            at += random.randrange(PAGE_HEAD_BYTES) - at % PAGE_BYTES
        content[at] ^= 1 << bit
        path.write_bytes(content)
        live = LIVES[flip % len(LIVES)]
        became.add(
            check_nothing_missing(crashed, path.parent, f"bit {bit} of byte {at}, {live.__name__}", live)
        )
    assert became == {"set aside", "taken"}


def test_wherever_the_file_is_cut_nothing_is_missing_without_a_word(crashed, tmp_path):
    size = (crashed.folder / "outbox.db").stat().st_size
    for end in {0, 1, PAGE_BYTES - 1, *range(PAGE_BYTES, size, PAGE_BYTES), size - 1}:
        path = damaged(crashed, tmp_path / "work")
        with path.open("r+b") as file:
            file.truncate(end)
        check_nothing_missing(crashed, path.parent, f"cut to {end} of {size} bytes")
