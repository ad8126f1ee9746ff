"""Damaged rows: what the start finds, and what is met where it is used."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace

import pytest

from edge_agent import messages
from edge_agent.capture import open_outbox
from edge_agent.errors import OutboxDamaged
from edge_agent.outbox import Outbox
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE, SQL
from edge_agent.rows import BatchRow, Commit, GapRow, Reason, position_of
from tests.edge_agent.samples import (
    CLOCK,
    IDENTITY,
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


@pytest.fixture
def unchecked(monkeypatch):
    """As where SQLite's own check takes too long for the start."""
    monkeypatch.setattr("edge_agent.outbox.check", lambda *_, **__: False)


def damage(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def mistype(path, table, change):
    """With values of types that SQLite would not take, as a flipped bit of a row's header makes them."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        db.execute("PRAGMA writable_schema = ON")
        for text in (sql.replace("STRICT", ""), sql):
            db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (text, table))
            db.execute("PRAGMA writable_schema = RESET")
            if text != sql:
                db.execute(f"UPDATE {table} SET {change}")
                db.commit()
            db.execute("PRAGMA writable_schema = ON")
        db.commit()


def drained(outbox) -> dict[int, list[tuple[str, int, int]]]:
    """By stream: block or reason of the gap, its last seq, and the records up to there. What cannot be sent becomes a gap."""
    while (broken := everything(outbox.path)[1]) is not None:
        outbox.mend(broken)
    rows: dict[int, list[tuple[str, int, int]]] = {}
    for row in everything(outbox.path)[0]:
        what = "block" if isinstance(row, BatchRow) else Reason(row.reason).name
        rows.setdefault(row.stream_no, []).append((what, (row.end - 1) & 0xFFFF, row.end_record))
    return rows


# At the start


@pytest.mark.parametrize("column", ["next_seq = 0", "next_seq = -5", "stream_id = 'text'", "end_tick = 1.5"])
def test_a_stream_that_lies_costs_the_file_at_once(path, column, unchecked):
    """Whoever says Hello, or tells how much is waiting, believes it before its blocks are looked at."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        fill(outbox, 3, stream_no=1)
        outbox.wanted = position_of(1, 0)
        outbox.commit(Commit(), limit_bytes=NOWHERE)
    mistype(path, "streams", f"{column} WHERE stream_no = 0")
    with pytest.raises(OutboxDamaged, match="stream 0"):
        Outbox(str(path))


def test_a_stream_that_nobody_needs_any_more_costs_nothing(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in range(4):
            fill(outbox, 3, stream_no=stream_no)
        outbox.wanted = position_of(2, 1)
        outbox.commit(Commit(), limit_bytes=NOWHERE)
    damage(path, "UPDATE streams SET end_tick = 1 WHERE stream_no = 0")
    with contextlib.closing(Outbox(str(path))) as outbox:
        rows, broken = everything(path, position_of(2, 1))
        assert (rows[-1].position, broken) == (position_of(3, 2), None)
        fill(outbox, 1, stream_no=4, limit_bytes=1)
        rows, broken = everything(path, position_of(2, 1))
        assert (rows[-1].position, broken) == (position_of(4, 0), None)


@pytest.mark.parametrize("place", [position_of(0, 70), position_of(1, 3), position_of(7, 0)])
def test_a_block_where_no_stream_has_one_is_in_nobodys_way(path, place):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 6)
        fill(outbox, 3, stream_no=1)
    damage(path, f"UPDATE batches SET position = {place} WHERE position = 4")
    with contextlib.closing(Outbox(str(path))) as outbox:
        source = pipeline(1)
        for block in range(4):
            added = source.add(records(500, first=START + 500 * block), CLOCK)
        outbox.commit(replace(added, stream=None), limit_bytes=NOWHERE)
        fill(outbox, 1, stream_no=2, limit_bytes=1)
        assert outbox._db.execute("SELECT count(*) FROM batches").fetchone() == (0,)
        assert drained(outbox) == {0: [("QUOTA", 5, 3000)], 1: [("QUOTA", 3, 2000)], 2: [("QUOTA", 0, 500)]}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_block_without_a_stream_costs_the_file_where_nobody_looked_at_the_tree(path, unchecked, lost):
    """It may be the stream that is not found any more."""
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in range(lost + 1):
            fill(outbox, 3, stream_no=stream_no)
    damage(path, f"DELETE FROM streams WHERE stream_no = {lost}")
    with pytest.raises(OutboxDamaged, match=f"block of stream {lost}, and no such stream"):
        Outbox(str(path))


@pytest.mark.parametrize("wanted", [-5, 2, position_of(3, 3), NOWHERE])
def test_an_acknowledgement_of_what_never_was_is_none(path, wanted):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        outbox.wanted = 1
        outbox.commit(Commit(), limit_bytes=NOWHERE)
    damage(path, f"UPDATE facts SET value = {wanted} WHERE key = 'wanted'")
    with contextlib.closing(Outbox(str(path))) as outbox, OutboxReader(str(path)) as reader:
        assert outbox.wanted == 0
        assert messages.hello(IDENTITY, reader.extent(outbox.wanted))


def test_what_an_earlier_stream_left_in_the_journal_is_not_stored_again_under_another_number(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        first = pipeline()
        for start in range(0, 500, 50):
            outbox.commit(first.add(records(50, first=START + start), CLOCK), limit_bytes=NOWHERE)
        second = pipeline(1)
        for start in (0, 50):
            outbox.commit(second.add(records(50, first=5000 + start), CLOCK), limit_bytes=NOWHERE)
        damage(path, "UPDATE journal SET stream_no = 1 WHERE slot = 5")
        stream, _, journal = outbox.unfinished()
        assert stream.stream_no == 1
        assert [(row.first_tick, sound) for row, sound in journal] == [(5000, True), (5050, True)]


def test_rows_of_the_journal_that_are_out_of_order_cost_the_file(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        for start in (0, 50, 100):
            outbox.commit(source.add(records(50, first=START + start), CLOCK), limit_bytes=NOWHERE)
    damage(path, "UPDATE journal SET slot = 8 WHERE slot = 0")
    outbox, aside = open_outbox(settings(path.parent), ids(9))
    outbox.close()
    assert aside


# Where it is used


@pytest.mark.parametrize("column", ["last_position = 2", f"position = {position_of(1, 3)}"])
def test_a_damaged_gap_stands_in_nobodys_way(path, column):
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in (0, 1):
            fill(outbox, 6, stream_no=stream_no)
        outbox._drop(position_of(1, 0), position_of(1, 3), Reason.QUOTA)
        damage(path, f"UPDATE gaps SET {column}")
        assert drained(outbox)[1][0] == ("DAMAGED", 2, 1500)
        outbox._drop(position_of(1, 3), position_of(1, 6), Reason.QUOTA)
        assert drained(outbox)[1] == [("DAMAGED", 2, 1500), ("QUOTA", 5, 3000)]


@pytest.mark.parametrize(
    "column",
    ["record_count = record_count | 16384", "first_tick = first_tick + 2097152", "end_record = 32768"],
)
def test_eviction_takes_a_damaged_keyframe_with_what_is_before_it(path, column):
    """Else the gap would end where that says it begins."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 9)
        damage(path, f"UPDATE batches SET {column} WHERE position = 3")
        outbox._drop(0, outbox._group_end(0), Reason.QUOTA)
        (gap, *_), broken = everything(path)
        assert (gap, broken) == (GapRow(0, 0, 5, 3000, START + 3000, Reason.QUOTA), None)


def test_a_block_that_cannot_be_deleted_ends_eviction_and_costs_the_file(path, monkeypatch):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = fill(outbox, 6)
        more = source.add(records(500, first=START + 3000), CLOCK)
        monkeypatch.setitem(SQL, "delete_batches", "DELETE FROM batches WHERE 0 AND position BETWEEN ? AND ?")
        with pytest.raises(OutboxDamaged, match="still found"):
            outbox.commit(more, limit_bytes=1)


@pytest.mark.parametrize("bit", [32, 40])
def test_a_fork_leaves_out_no_stream_whatever_its_first_block_says(path, bit):
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in (0, 1, 2):
            fill(outbox, 3, stream_no=stream_no)
        outbox.wanted = 1
        damage(path, f"UPDATE batches SET group_position = group_position | {1 << bit} WHERE position = 1")
        outbox.fork()
        assert {stream_no: rows[-1][2] for stream_no, rows in drained(outbox).items()} == {
            0: 1500,
            1: 1500,
            2: 1500,
        }


def test_a_fork_leaves_out_no_stream_whose_only_gap_is_damaged(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in (0, 1):
            fill(outbox, 3, stream_no=stream_no)
        outbox._drop(0, 3, Reason.QUOTA)
        damage(path, "UPDATE gaps SET end_record = 9")
        outbox.fork()
        assert drained(outbox)[0] == [("DAMAGED", 2, 1500)]


def test_what_a_fork_leaves_behind_is_counted_by_rows_that_are_sound(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 9)
        outbox.wanted = 4
        damage(path, "UPDATE batches SET end_record = end_record | 32768 WHERE position = 2")
        outbox.fork()
        assert drained(outbox)[0][0] == ("FORKED", 2, 1500)


def test_a_fork_counts_by_what_is_left_where_its_first_block_is_damaged_too(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 9)
        outbox._drop(0, 3, Reason.QUOTA)
        outbox.wanted = 4
        damage(path, "UPDATE batches SET end_record = 7 WHERE position IN (3, 4)")
        outbox.fork()
        assert drained(outbox)[0][:2] == [("FORKED", 3, 1500), ("DAMAGED", 5, 3000)]


def test_what_a_fork_leaves_behind_ends_where_its_last_record_was_not_where_the_next_one_is(path):
    """In between the vehicle was silent; a gap up to the next record would cover what is stored twice over."""
    with contextlib.closing(new_outbox(path)) as outbox:
        source = fill(outbox, 3)
        for block in range(3):
            outbox.commit(
                source.add(records(500, first=START + 30_000 + 500 * block), CLOCK), limit_bytes=NOWHERE
            )
        outbox.wanted = 3
        outbox.fork()
        (gap, *_), _ = everything(path)
        assert gap == GapRow(0, 0, 2, 1500, START + 1500, Reason.FORKED)


def test_a_gap_that_is_not_found_once_it_was_made_costs_the_file(path):
    """As in a tree whose order is damaged: it would be mended for ever."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        with pytest.raises(OutboxDamaged, match="is not found"):
            outbox.mend(1, again=True)


def test_a_group_that_ends_before_it_begins_costs_the_file(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        with pytest.raises(OutboxDamaged, match="ends before"):
            outbox._drop(1, 1, Reason.DAMAGED)


def test_a_fork_that_meets_mistyped_rows_costs_the_file(path, unchecked):
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in (0, 1):
            fill(outbox, 3, stream_no=stream_no)
        outbox.wanted = position_of(1, 0)
        outbox.commit(Commit(), limit_bytes=NOWHERE)
    mistype(path, "batches", f"first_tick = x'00' WHERE position = {position_of(1, 1)}")
    with contextlib.closing(Outbox(str(path))) as outbox, pytest.raises(OutboxDamaged, match="first_tick"):
        outbox.fork()
