"""What is read from an outbox is in order and without holes, and never more than was asked for."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from edge_agent.errors import OutboxBusy, OutboxDamaged
from edge_agent.outbox_reader import ROWS_MAX, Extent, OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.rows import BatchRow, BlobKind, GapRow, Reason, position_of
from tests.edge_agent.samples import CLOCK, HOT, SCHEMA, START, fill, new_outbox, pipeline, records


@pytest.fixture
def outbox(tmp_path):
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as opened:
        yield opened


@pytest.fixture
def reader(outbox):
    with OutboxReader(outbox.path) as opened:
        yield opened


def test_a_file_that_is_being_made_is_worth_another_try(tmp_path):
    path = tmp_path / "outbox.db"
    sqlite3.connect(path).close()
    with pytest.raises(OutboxBusy, match="is being made"):
        OutboxReader(str(path))


def test_an_empty_outbox_has_nothing(reader):
    assert reader.fetch(0, bytes_max=1000).rows == ()
    assert reader.extent(0) == Extent(None, None, None)
    assert reader.unacked(0) == 0
    assert reader.oldest_unacked(0) is None


def test_streams_follow_one_another_and_each_knows_how_the_one_before_it_ended(outbox, reader):
    fill(outbox, 2)
    fill(outbox, 2, stream_no=1)
    fetched = reader.fetch(0, bytes_max=1 << 20)
    assert [(row.stream_no, row.seq) for row in fetched.rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert fetched.streams[0][1:] == (None, None)
    assert fetched.streams[1][1] == fetched.streams[0][0]
    assert fetched.streams[1][2].next_seq == 2
    assert fetched.streams[1][2].digest != 0


def test_at_least_one_row_then_as_many_bytes_as_asked_for(outbox, reader):
    fill(outbox, 5)
    assert len(reader.fetch(0, bytes_max=1).rows) == 1
    sizes = [len(row.content) for row in reader.fetch(0, bytes_max=1 << 20).rows]
    assert len(reader.fetch(0, bytes_max=sum(sizes[:3])).rows) == 3
    assert [row.seq for row in reader.fetch(1, bytes_max=1 << 20, end=3).rows] == [1, 2]


def test_a_fetch_is_bounded(outbox, reader):
    source = pipeline()
    for tick in range(0, 2 * (ROWS_MAX + 10), 2):
        outbox.commit(source.add(records(1, first=START + tick), CLOCK), limit_bytes=NOWHERE)
    assert len(reader.fetch(0, bytes_max=1 << 30).rows) == ROWS_MAX
    whole = reader.fetch(0, bytes_max=1 << 30, rows_max=2 * ROWS_MAX).rows  # a long group is sent again whole
    assert len(whole) > ROWS_MAX


def test_a_gap_is_read_from_where_it_is_wanted(outbox, reader):
    fill(outbox, 6)
    outbox._drop(0, 3, Reason.QUOTA)
    fetched = reader.fetch(position_of(0, 1), bytes_max=1 << 20)
    assert isinstance(fetched.rows[0], GapRow)
    assert (fetched.rows[0].first_seq, fetched.rows[0].last_seq) == (1, 2)
    assert isinstance(fetched.rows[1], BatchRow)


def test_the_extent_is_what_hello_says(outbox, reader):
    fill(outbox, 4)
    fill(outbox, 2, stream_no=1)
    at = position_of
    assert reader.extent(at(0, 0)) == Extent(at(0, 0), None, at(1, 1))
    assert reader.extent(at(1, 0)) == Extent(at(0, 0), at(0, 3), at(1, 1))
    assert reader.extent(at(1, 1)) == Extent(at(0, 0), at(1, 0), at(1, 1))
    outbox._drop(0, 3, Reason.QUOTA)
    assert reader.extent(at(0, 2)) == Extent(at(0, 3), at(0, 1), at(1, 1))


def test_depth_is_counted_over_streams(outbox, reader):
    fill(outbox, 4)
    fill(outbox, 2, stream_no=1)
    assert reader.unacked(0) == 6
    assert reader.unacked(position_of(0, 3)) == 3
    assert reader.unacked(position_of(1, 1)) == 1
    assert reader.oldest_unacked(position_of(0, 1)) == (0, START + 500)


def test_schemas_are_found_by_hash(reader):
    assert reader.blob(BlobKind.SCHEMA, SCHEMA.hash)
    assert reader.blob(BlobKind.SCHEMA, b"other") is None


def test_a_damaged_schema_costs_the_file_where_a_stream_needs_it_and_damaged_guards_are_not_here(
    outbox, reader
):
    """Without its schema no block of a stream can be sent; a collector may ask for what was never here."""
    outbox.keep_schema(b"of no stream", b"damaged")
    outbox.keep_guards(HOT.hash, HOT.to_bytes()[1:])
    assert reader.blob(BlobKind.SCHEMA, b"of no stream") is None
    assert reader.blob(BlobKind.GUARDS, HOT.hash) is None
    fill(outbox, 1)
    outbox.keep_schema(SCHEMA.hash, b"damaged")
    with pytest.raises(OutboxDamaged, match=f"schema {SCHEMA.hash.hex()} is damaged"):
        reader.blob(BlobKind.SCHEMA, SCHEMA.hash)


def test_a_schema_of_which_only_a_gap_is_left_is_needed_too(outbox, reader):
    fill(outbox, 3)
    outbox._drop(0, 3, Reason.QUOTA)
    outbox.keep_schema(SCHEMA.hash, b"damaged")
    with pytest.raises(OutboxDamaged):
        reader.blob(BlobKind.SCHEMA, SCHEMA.hash)


def test_a_read_that_fails_for_once_costs_nothing(outbox, reader, monkeypatch):
    fill(outbox, 2)

    def fail(*_):
        reader._db.execute("ROLLBACK")  # as SQLite does where the disk fails
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(reader, "_fetch", fail)
        with pytest.raises(OutboxBusy, match="look at the disk"):
            reader.fetch(0, bytes_max=1)
    assert len(reader.fetch(0, bytes_max=1 << 20).rows) == 2


def test_a_place_that_no_outbox_has_is_not_here(outbox, reader):
    fill(outbox, 1)
    assert reader.stored(NOWHERE) == (None, 0, 0)


def test_a_column_whose_name_is_damaged_while_it_runs_is_damage_to_whoever_reads_next(outbox):
    fill(outbox, 1)
    outbox._db.execute("ALTER TABLE batches RENAME COLUMN first_tick TO girst_tick")
    with (
        OutboxReader(outbox.path) as reader,
        pytest.raises(OutboxDamaged, match="no such column: first_tick"),
    ):
        reader.fetch(0, bytes_max=1)


def test_a_missing_file_is_not_made(tmp_path):
    with pytest.raises(OutboxBusy):
        OutboxReader(str(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()


def test_a_page_that_is_no_page_any_more_is_damage_whoever_reads_it(tmp_path):
    path = tmp_path / "outbox.db"
    outbox = new_outbox(path)
    fill(outbox, 40)
    outbox.close()
    with sqlite3.connect(path) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'batches'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with OutboxReader(str(path)) as reader:
        for read in (
            lambda: reader.extent(0),
            lambda: reader.oldest_unacked(0),
            lambda: reader.fetch(0, bytes_max=1000),
        ):
            with pytest.raises(OutboxDamaged):
                read()
