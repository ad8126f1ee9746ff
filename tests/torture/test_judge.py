"""The judge finds what is lost, and takes for lost only what is."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3

import numpy as np
import pytest

from collector.ingest import rows
from collector.items import OutboxKey
from collector.store.ledger import StoreLedger
from edge_agent.rows import position_of
from protos import telemetry_pb2 as pb
from tests.edge_agent.samples import START, fill, ids, new_outbox
from tests.torture.history import Batch, Undone, batches_of, held, ticks_of, undone_from
from tests.torture.judge import Account, Endured, Gap, first_ticks_of, stored_gaps
from tests.torture.tap import Tap, Told, next_tap
from tests.torture.tapped import tapped

BOX = bytes(16)
NONE = np.empty(0, np.int64)
FILES = ("", "-wal")


def committed(at: float, *batches: tuple[int, int, int]) -> dict:
    return {"outbox": BOX.hex(), "at": at, "batches": list(batches), "journal": []}


def complaints(
    batches: list[Batch],
    stored: list[tuple[int, int]],
    *,
    uncertain: tuple[int, int] = (0, 0),
    gaps: tuple[Gap, ...] = (),
    restored_at: float | None = None,
    waiting: np.ndarray = NONE,
) -> list[str]:
    every = ticks_of((one.first, one.count) for one in batches)
    account = Account(
        sampled=every,
        committed=every,
        acked=ticks_of((one.first, one.count) for one in batches if one.acked_at is not None),
        uncertain=ticks_of([uncertain]),
        stored=ticks_of(stored),
        gaps=list(gaps),
        endured=Endured([], waiting, restored_at, 0.0),
        batches=batches,
    )
    return account.judge()


def test_an_ack_is_for_the_batch_that_stood_in_its_place():
    """A write-ahead log took back batches 5 and 6; the outbox went on with others as 5 and 6, and those were acknowledged."""
    commits = [
        committed(1.0, (4, 100, 10)),
        committed(2.0, (5, 110, 10)),
        committed(3.0, (6, 120, 10)),
        committed(5.0, (5, 140, 10)),
        committed(6.0, (6, 150, 10)),
    ]
    acks = {BOX: [(1.5, 5), (7.0, 7)]}
    batches = batches_of(commits, acks, [Undone(4.0, 110, 130)], {})
    assert [(one.first, one.acked_at) for one in batches] == [
        (100, 1.5), (110, None), (120, None), (140, 7.0), (150, 7.0),
    ]  # fmt: skip
    assert not complaints(batches, [(100, 10), (140, 20)], uncertain=(110, 20))
    assert batches_of(commits, acks, [], {})[1].acked_at == 7.0, "with nothing undone it is acknowledged"


def test_what_was_acknowledged_before_a_log_took_it_back_has_to_be_stored():
    commits = [committed(1.0, (4, 100, 10)), committed(2.0, (5, 110, 10))]
    batches = batches_of(commits, {BOX: [(3.0, 6)]}, [Undone(4.0, 110, 120)], {})
    (found,) = complaints(batches, [(100, 10)], uncertain=(110, 10))
    assert found.startswith("10 acknowledged records are not stored: 110-119\n")
    assert (
        "10 of batch 0/5 of outbox 00000000, ticks 110-119, committed at 2.00 s, acknowledged at 3.00 s"
        in found
    )


@pytest.mark.parametrize(("restored_at", "lost"), [(None, True), (2.5, True), (3.5, False)])
def test_a_gap_excuses_what_was_acknowledged_only_before_the_store_was_restored(restored_at, lost):
    batches = batches_of([committed(1.0, (4, 100, 10), (5, 110, 10))], {BOX: [(3.0, 6)]}, [], {})
    gap = Gap(110, 120, 10, "quota")
    assert bool(complaints(batches, [(100, 10)], gaps=(gap,), restored_at=restored_at)) is lost


@pytest.mark.parametrize(("dropped_at", "acknowledged"), [(2.5, False), (3.5, True)])
def test_an_ack_of_a_gap_is_none_for_what_was_dropped_for_it(dropped_at, acknowledged):
    batches = batches_of(
        [committed(1.0, (4, 100, 10), (5, 110, 10))], {BOX: [(3.0, 6)]}, [], {BOX: [(dropped_at, 5, 6)]}
    )
    assert [one.acked_at for one in batches] == [3.0, 3.0 if acknowledged else None]
    gap = Gap(110, 120, 10, "quota")
    assert bool(complaints(batches, [(100, 10)], gaps=(gap,))) is acknowledged


def test_what_waits_in_an_outbox_is_not_lost_and_what_was_acknowledged_does_not_wait():
    batches = batches_of([committed(1.0, (4, 100, 10), (5, 110, 10))], {BOX: [(3.0, 5)]}, [], {})
    assert not complaints(batches, [(100, 10)], waiting=ticks_of([(110, 10)]))
    assert complaints(batches, [(100, 10)])
    assert complaints(batches, [], waiting=ticks_of([(100, 20)]))


@pytest.mark.parametrize("tenths", range(11))
def test_a_cut_log_takes_back_what_came_last(tmp_path, tenths):
    """And that is what is found to be gone, no more; or SQLite finds damage."""
    path, copy = tmp_path / "a" / "outbox.db", tmp_path / "b" / "outbox.db"
    path.parent.mkdir()
    copy.parent.mkdir()
    with contextlib.closing(new_outbox(path)) as outbox:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fill(outbox, 12)
        for suffix in FILES:
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    before = held(copy, FILES)
    log = copy.with_name(f"{copy.name}-wal")
    os.truncate(log, log.stat().st_size * tenths // 10)
    after = held(copy, FILES)
    assert before is not None
    assert after is not None
    first = undone_from(before, after)
    assert after.ticks.tolist() == [tick for tick in before.ticks.tolist() if tick < first]
    assert len(before.ticks) == 12 * 500
    assert first == (max(START, first) if tenths else 0)
    assert (first == before.end) is (tenths == 10)


def test_an_outbox_that_the_cut_damaged_excuses_nothing(tmp_path):
    path = tmp_path / "a" / "outbox.db"
    path.parent.mkdir()
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
    os.truncate(path, 5000)
    assert held(path, FILES) is None
    assert undone_from(None, None) is None


def test_an_open_gap_ends_where_the_next_outbox_begins_that_is_no_fork(tmp_path):
    """A write-ahead log that was cut can take a fork back: then the outbox went on under its former name."""
    lost, fork, now = (bytes([number] * 16) for number in range(3))
    ledger = StoreLedger(tmp_path / "store.db")
    with ledger.transaction() as transaction:
        saved = transaction.open_outbox(OutboxKey("asset:test", lost), "now")
        row = rows.gap(saved.id, 0, 0, None, None, None, pb.GAP_REASON_OUTBOX_LOST, "now")
        transaction.changes.gaps[saved.id, 0, 0] = row
        transaction.finish("now")
    ledger.close()
    (gap,) = stored_gaps(tmp_path / "store.db", "asset:test", {lost: 100, fork: 150, now: 300}, {fork})
    assert (gap.first, gap.end, gap.records) == (100, 300, None)


def test_what_the_quota_takes_is_told(tmp_path):
    outbox_class, _ = tapped(Tap(next_tap(tmp_path)))
    with contextlib.closing(outbox_class(str(tmp_path / "outbox.db"), ids())) as outbox:
        fill(outbox, 12, limit_bytes=outbox.file_bytes() + 4096)
        told = Told(tmp_path)
        told.read(records=True)
        drops = [(first, end) for _, first, end in told.drops[outbox.outbox_id]]
        assert drops[0] == (0, 3)
        assert [first for first, _ in drops[1:]] == [end for _, end in drops[:-1]]


def test_a_fork_begins_with_what_it_took_along(tmp_path):
    """So that the gap it leaves, should it be lost before anything of it is stored, begins there."""
    outbox_class, _ = tapped(Tap(next_tap(tmp_path)))
    with contextlib.closing(outbox_class(str(tmp_path / "outbox.db"), ids())) as outbox:
        named = outbox.outbox_id
        fill(outbox, 12)
        with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
            ((group, first),) = db.execute(
                "SELECT group_position, min(first_tick) FROM batches WHERE group_position >= ? GROUP BY 1 LIMIT 1",
                (position_of(0, 5),),
            )
        outbox.wanted = group
        outbox.fork()
        told = Told(tmp_path)
        told.read(records=True)
        assert first > START
        assert first_ticks_of(told) == {named: START, outbox.outbox_id: first}
