"""The outbox keeps what was committed, whatever happens to the process, the quota or single rows."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.allowance import Spent
from edge_agent.errors import OutboxBusy, OutboxDamaged, OutboxError
from edge_agent.outbox import PAGE_BYTES, Outbox
from edge_agent.outbox_file import lock_outbox, set_aside
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE, SQL
from edge_agent.rows import SEQ_MAX, BatchRow, BlobKind, Commit, GapRow, Reason, position_of
from tests.edge_agent.samples import CLOCK, START, everything, fill, ids, new_outbox, pipeline, records


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


@contextlib.contextmanager
def shell(path):
    """Somebody else's connection."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def seqs(path) -> list[tuple[int, int, str]]:
    """(stream_no, seqs, kind) of all rows in order."""
    rows, broken = everything(path)
    assert broken is None
    return [
        (row.stream_no, row.seq, "batch")
        if isinstance(row, BatchRow)
        else (row.stream_no, (row.first_seq, row.last_seq), Reason(row.reason).name)
        for row in rows
    ]


def test_blocks_come_back_as_they_were_stored(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 4)
        assert seqs(path) == [(0, seq, "batch") for seq in range(4)]
        assert outbox.next_stream_no() == 1
        assert outbox.unfinished() is None


def test_the_block_that_is_stored_takes_its_journal_with_it(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        outbox.commit(source.add(records(60), CLOCK), limit_bytes=NOWHERE)
        stream, end, journal = outbox.unfinished()
        assert (stream.facts.origin_tick, end.next_seq) == (START, 0)
        assert [(row.record_count, sound) for row, sound in journal] == [(60, True)]
        outbox.commit(source.flush(CLOCK), limit_bytes=NOWHERE)
        assert outbox.unfinished() is None


def journaled(outbox) -> list[tuple[int, int, bool]]:
    """(first tick, records, sound) of what a crash now would leave to be finished."""
    unfinished = outbox.unfinished()
    return (
        [(row.first_tick - START, row.record_count, sound) for row, sound in unfinished[2]]
        if unfinished
        else []
    )


def test_rows_that_an_earlier_block_left_in_the_journal_do_not_count(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        for start in range(0, 520, 40):  # journaled 40 at a time at first, a block of 500, and 20 more
            outbox.commit(source.add(records(40, first=START + start), CLOCK), limit_bytes=NOWHERE)
        assert journaled(outbox) == []  # 20 records are few enough to lose
        outbox.commit(source.add(records(40, first=START + 520), CLOCK), limit_bytes=NOWHERE)
        assert journaled(outbox) == [(500, 60, True)]


def test_a_damaged_row_of_the_journal_counts_unless_a_block_holds_it(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        for start in range(0, 660, 60):
            outbox.commit(source.add(records(60, first=START + start), CLOCK), limit_bytes=NOWHERE)
        assert journaled(outbox) == [(500, 100, True), (600, 60, True)]
        with shell(path) as db:
            db.execute(
                "UPDATE journal SET content = zeroblob(length(content)), first_tick = 1 WHERE slot = 0"
            )
            db.execute("UPDATE journal SET content = zeroblob(length(content)) WHERE slot = 4")
        assert [(count, sound) for _, count, sound in journaled(outbox)] == [(100, False), (60, True)]


@pytest.mark.parametrize(
    "damage", ["stream_no = 7", "first_tick = 1", "record_count = 9", "crc = x'00000000'", "slot = 7"]
)
def test_the_last_row_of_the_journal_counts_whichever_of_its_columns_is_damaged(path, damage):
    """Its content says what it is; else it would be missing without a word."""
    with contextlib.closing(new_outbox(path)) as outbox:
        outbox.commit(pipeline().add(records(60), CLOCK), limit_bytes=NOWHERE)
        with shell(path) as db:
            db.execute(f"UPDATE journal SET {damage}")
        assert journaled(outbox) == [(0, 60, True)]


def test_a_row_that_another_stream_left_in_the_journal_does_not_count(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        outbox.commit(pipeline().add(records(60), CLOCK), limit_bytes=NOWHERE)
        outbox.commit(pipeline(1).add(records(500, first=START + 100), CLOCK), limit_bytes=NOWHERE)
        assert journaled(outbox) == []


def test_a_row_of_the_journal_is_written_over_in_place(path):
    """What wears the disk is pages: one of the table, one of the row's rest, and the write-ahead log's frames of both."""
    noise = np.random.default_rng(1).uniform(0, 40, 60 * 50)
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        pages = []
        for start in range(0, len(noise), 60):
            commit = source.add(records(60, first=START + start, temp=noise[start : start + 60]), CLOCK)
            before = Path(f"{path}-wal").stat().st_size
            outbox.commit(commit, limit_bytes=NOWHERE)
            if commit.journal and not commit.batches:
                pages.append((Path(f"{path}-wal").stat().st_size - before) // PAGE_BYTES)
        assert max(pages[len(pages) // 2 :]) <= 2


def test_a_commit_is_all_or_nothing(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        whole = source.add(records(500), CLOCK)
        doubled = Commit(stream=whole.stream, batches=whole.batches * 2, end=whole.end)
        with pytest.raises(OutboxDamaged, match="UNIQUE"):
            outbox.commit(doubled, limit_bytes=NOWHERE)
        assert outbox.next_stream_no() == 0
        outbox.commit(whole, limit_bytes=NOWHERE)
        assert seqs(path) == [(0, 0, "batch")]


def test_identity_and_acknowledgements_last(path):
    outbox = new_outbox(path)
    fill(outbox, 3)
    outbox.wanted = position_of(0, 2)
    named = outbox.outbox_id
    outbox.close()
    with contextlib.closing(Outbox(str(path), ids(99))) as again:
        assert (again.outbox_id, again.wanted) == (named, position_of(0, 2))


def test_a_second_agent_is_refused(path):
    with contextlib.closing(new_outbox(path)), pytest.raises(OutboxError, match="another edge-agent"):
        Outbox(str(path))
    os.close(lock_outbox(str(path)))


def test_an_outbox_of_newer_software_is_refused(path):
    new_outbox(path).close()
    with shell(path) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("UPDATE facts SET value = 99 WHERE key = 'version'")
    with pytest.raises(OutboxError, match="version 99"):
        Outbox(str(path))


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"\[outbox\] path"):
        Outbox(str(tmp_path / "file" / "outbox.db"))


def test_a_file_that_cannot_be_opened_is_worth_another_try(path):
    path.mkdir()
    with pytest.raises(OutboxBusy, match="make the folder writable"):
        Outbox(str(path))
    os.close(lock_outbox(str(path)))


def test_a_lock_of_somebody_else_is_worth_another_try(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        commit = pipeline().add(records(500), CLOCK)
        with shell(path) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(OutboxBusy, match="end the other program"):
                outbox.commit(commit, limit_bytes=NOWHERE)
            db.execute("ROLLBACK")
        outbox.commit(commit, limit_bytes=NOWHERE)


def test_a_full_disk_is_worth_another_try(path):
    with contextlib.closing(Outbox(str(path), side_log=True)) as outbox:
        commit = pipeline().add(records(500, temp=30), CLOCK)
        pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
        outbox._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        outbox.commit(commit, limit_bytes=NOWHERE)
        with pytest.raises(OutboxBusy, match="free some disk space"):
            outbox.commit(Commit(side_log=((0, bytes(100_000)),)), limit_bytes=NOWHERE)
        assert seqs(path) == [(0, 0, "batch")]


# Room


def test_acknowledged_groups_go_first_then_the_oldest(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 30)
        limit = outbox.used_bytes()
        outbox.wanted = position_of(0, 7)  # group 6..8 is not acknowledged as a whole
        fill(outbox, 12, stream_no=1, limit_bytes=limit)
        assert outbox.used_bytes() <= limit
        rows = seqs(path)
        kind, (first, last) = rows[0][2], rows[0][1]
        assert (kind, first) == ("QUOTA", 0)
        assert last % 3 == 2
        assert rows[1:] == [(0, seq, "batch") for seq in range(last + 1, 30)] + [
            (1, seq, "batch") for seq in range(12)
        ]


def test_groups_in_which_a_guard_was_crossed_go_last(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = pipeline()
        for block in range(12):
            commit = source.add(records(500, first=START + block * 500), CLOCK)
            (batch,) = commit.batches
            marked = replace(batch, crossing=block in (1, 4))
            outbox.commit(replace(commit, batches=(marked,)), limit_bytes=NOWHERE)
        outbox.wanted = position_of(0, 3)
        order = []
        for _ in range(4):
            order.append(outbox._evictable())
            outbox._drop(order[-1], outbox._group_end(order[-1]), Reason.QUOTA)
        assert order == [0, 6, 9, 3], "acknowledged, plain, plain, and last the one with a crossing"
        assert seqs(path) == [(0, (0, 11), "QUOTA")]


def test_a_gap_counts_the_records_up_to_its_end(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 6)
        outbox._drop(position_of(0, 0), position_of(0, 3), Reason.QUOTA)
        (gap, *_), _ = everything(path)
        assert gap == GapRow(0, 0, 2, 1500, START + 1500, Reason.QUOTA)


places = st.tuples(st.integers(0, 1), st.integers(0, 8))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["mend", "evict"]), places), max_size=8), places)
def test_whatever_goes_is_in_one_gap_before_a_fork_and_after_it(tmp_path_factory, losses, wanted):
    """Each record is in one batch or one gap, in order, and what Hello says is last never goes down."""
    path = tmp_path_factory.mktemp("gaps") / "outbox.db"
    with contextlib.closing(new_outbox(path)) as outbox:
        for stream_no in (0, 1):
            fill(outbox, 9, stream_no=stream_no)
        for what, (stream_no, seq) in losses:
            position = position_of(stream_no, seq)
            if what == "mend":
                outbox.mend(position)
            elif (
                row := outbox._db.execute(SQL["batches_from"], (position, NOWHERE, 1)).fetchone()
            ) is not None:
                outbox._drop(row[1], outbox._group_end(row[1]), Reason.QUOTA)
        assert_all_accounted(path, streams=2)
        outbox.wanted = position_of(*wanted)
        kept = [row.content for row in everything(path, outbox.wanted)[0] if isinstance(row, BatchRow)]
        outbox.fork()
        assert_all_accounted(path, streams=2 - wanted[0])
        forked = [row.content for row in everything(path)[0] if isinstance(row, BatchRow)]
        assert forked[len(forked) - len(kept) :] == kept


def assert_all_accounted(path, *, streams):
    with OutboxReader(str(path)) as reader:
        assert reader.extent(0).last == position_of(streams - 1, 8)
    rows, broken = everything(path)
    assert broken is None
    before = (0, 0, 0)
    for row in rows:
        stream_no, end, record = before if before[0] == row.stream_no else (row.stream_no, 0, 0)
        first = row.seq if isinstance(row, BatchRow) else row.first_seq
        begins = row.end_record - row.record_count if isinstance(row, BatchRow) else record
        assert (first, begins) == (end, record)
        before = (stream_no, (row.end - 1 & SEQ_MAX) + 1, row.end_record)
        assert row.end_record == 500 * before[1]
    assert before == (streams - 1, 9, 4500)
    with shell(path) as db:
        gaps = db.execute("SELECT position, last_position FROM gaps ORDER BY position").fetchall()
    assert all(one[1] < other[0] for one, other in itertools.pairwise(gaps))


def test_losing_the_group_that_is_being_encoded_asks_for_a_keyframe(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        source = fill(outbox, 4)
        assert outbox.commit(source.add(records(500, first=START + 2000), CLOCK), limit_bytes=1)
        assert seqs(path) == [(0, (0, 4), "QUOTA")]
        source.ask_keyframe()
        outbox.commit(source.add(records(500, first=START + 2500), CLOCK), limit_bytes=NOWHERE)
        (_, batch), _ = everything(path)
        assert batch.group_seq == batch.seq == 5


def test_memory_of_what_is_gone_outlives_it(path):
    """A request for acknowledged and dropped batches is answered with their gap."""
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        outbox.wanted = position_of(0, 3)
        outbox.commit(pipeline(1).add(records(500), CLOCK), limit_bytes=1)
        assert seqs(path)[0] == (0, (0, 2), "QUOTA")


# Damage


def test_a_row_that_lies_becomes_a_gap_up_to_the_next_keyframe(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 6)
        with shell(path) as db:
            db.execute("UPDATE batches SET end_record = end_record + 1 WHERE position = 1")
        assert everything(path)[1] == position_of(0, 1)
        assert not outbox.mend(position_of(0, 1))
        assert seqs(path) == [
            (0, 0, "batch"),
            (0, (1, 2), "DAMAGED"),
            *((0, seq, "batch") for seq in (3, 4, 5)),
        ]
        (gap,) = [row for row in everything(path)[0] if isinstance(row, GapRow)]
        assert (gap.end_record, gap.end_tick) == (1500, START + 1500)


def test_a_row_that_is_missing_is_accounted_too(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 5)
        with shell(path) as db:
            db.execute("DELETE FROM batches WHERE position IN (2, 4)")
        for _ in range(2):
            broken = everything(path)[1]
            outbox.mend(broken)
        assert seqs(path) == [
            (0, 0, "batch"),
            (0, 1, "batch"),
            (0, (2, 2), "DAMAGED"),
            (0, 3, "batch"),
            (0, (4, 4), "DAMAGED"),
        ]


@pytest.mark.parametrize("damage", ["end_record = 7", "last_position = 500", "position = 7", "reason = 4"])
def test_a_gap_that_lies_is_made_again_from_what_is_beside_it(path, damage):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 9)
        outbox._drop(0, 3, Reason.QUOTA)
        with shell(path) as db:
            db.execute(f"UPDATE gaps SET {damage}")
        _, broken = everything(path)
        assert broken == 0
        outbox.mend(broken)
        (gap, *others), broken = everything(path)
        assert gap == GapRow(0, 0, 2, 1500, START + 1500, Reason.DAMAGED)
        assert [row.seq for row in others] == [3, 4, 5, 6, 7, 8]


def test_a_stream_row_that_lies_is_damage_to_whoever_reads_it(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        with shell(path) as db:
            db.execute("UPDATE streams SET clock_offset_ns = 1")
        with pytest.raises(OutboxDamaged, match="stream 0"):
            everything(path)
        with pytest.raises(OutboxDamaged, match="stream 0"):
            outbox.mend(0)


def test_damage_in_the_newest_group_asks_for_a_keyframe(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 5)
        with shell(path) as db:
            db.execute("UPDATE batches SET content = x'00' WHERE position = 4")
        assert outbox.mend(position_of(0, 4))


def test_a_first_page_that_is_gone_while_it_is_open_is_damage_whoever_meets_it(path):
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.write(b"\xff" * PAGE_BYTES)
        outbox._db.execute("PRAGMA shrink_memory")
        for read in (outbox.file_bytes, outbox.next_stream_no, lambda: outbox.blob(BlobKind.SCHEMA, b"")):
            with pytest.raises(OutboxDamaged):
                read()


@pytest.mark.parametrize("damage", [b"no database at all" * 100, bytes(8192)])
def test_a_file_that_is_no_database_is_told_apart(path, damage):
    path.write_bytes(damage)
    with pytest.raises(OutboxDamaged):
        Outbox(str(path))
    aside = set_aside(str(path))
    assert not path.exists()
    assert Path(aside).read_bytes() == damage
    new_outbox(path).close()


def test_pages_overwritten_are_found_when_it_is_opened(path):
    outbox = new_outbox(path)
    fill(outbox, 40)
    named = outbox.outbox_id
    outbox.close()
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES * 4)
        file.write(os.urandom(PAGE_BYTES * 24))
    with pytest.raises(OutboxDamaged):
        Outbox(str(path))
    set_aside(str(path))
    fresh = new_outbox(path)
    assert fresh.replaces == named
    fresh.close()


# Forks


def test_a_fork_keeps_what_is_not_acknowledged_under_a_name_of_its_own(path):
    with contextlib.closing(Outbox(str(path), ids(7))) as outbox:
        fill(outbox, 6)
        fill(outbox, 3, stream_no=1)
        outbox.wanted = position_of(0, 4)  # in the group 3..5
        with OutboxReader(str(path)) as reader:
            named = reader.stream(0)[0].facts.stream_id
        before = outbox.outbox_id
        outbox.fork()
        assert outbox.outbox_id != before
        assert outbox.wanted == 0
        assert seqs(path) == [
            (0, (0, 2), "FORKED"),
            *((0, seq, "batch") for seq in (3, 4, 5)),
            *((1, seq, "batch") for seq in (0, 1, 2)),
        ]
        with OutboxReader(str(path)) as reader:
            assert reader.stream(0)[0].facts.stream_id == named
    with contextlib.closing(Outbox(str(path))) as again:
        assert (again.forked_from, again.replaces) == (before, b"")


def test_a_fork_of_streams_that_are_done_starts_their_numbers_again(path):
    with contextlib.closing(Outbox(str(path), ids(7))) as outbox:
        fill(outbox, 3)
        fill(outbox, 4, stream_no=1)
        outbox.wanted = position_of(1, 3)
        outbox.fork()
        assert seqs(path) == [(0, (0, 2), "FORKED"), (0, 3, "batch")]
        outbox.wanted = position_of(1, 0)
        outbox.fork()
        assert outbox.next_stream_no() == 0
        assert seqs(path) == []


def test_a_fork_leaves_no_journal_that_could_be_taken_for_another_streams(path):
    with contextlib.closing(Outbox(str(path), ids(7))) as outbox:
        source = pipeline()
        outbox.commit(source.add(records(120), CLOCK), limit_bytes=NOWHERE)
        outbox.commit(source.flush(CLOCK), limit_bytes=NOWHERE)
        outbox.wanted = position_of(1, 0)
        outbox.fork()
        begins = pipeline().add(records(500, first=100), CLOCK)
        outbox.commit(begins, limit_bytes=NOWHERE)
        assert outbox.unfinished() is None


def test_the_file_is_for_its_owner(path):
    new_outbox(path).close()
    assert not path.stat().st_mode & stat.S_IWOTH


def test_what_the_link_has_cost_is_known_after_a_restart_and_after_a_fork(tmp_path):
    spent = Spent(2026 * 12 + 10, 12345)
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as outbox:
        outbox.spent = spent
        fill(outbox, 1)
        outbox.fork()
    with contextlib.closing(Outbox(str(tmp_path / "outbox.db"), ids())) as outbox:
        assert outbox.spent == spent
        outbox.spent = replace(spent, bytes=23456)  # and with nothing to commit since
    with contextlib.closing(Outbox(str(tmp_path / "outbox.db"), ids())) as outbox:
        assert outbox.spent.bytes == 23456
