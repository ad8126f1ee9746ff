from __future__ import annotations

import contextlib
from dataclasses import replace
from hashlib import sha256

import pytest

from collector.ingest.progress import Progress
from collector.items import OutboxKey, Position, Stored
from collector.rules import RuleState
from collector.store import StoreUnavailable, open_store
from collector.store.ledger import StoreLedger
from tests.collector.vehicle import Vehicle

KEY = OutboxKey("asset:one", b"o" * 16)
KEPT = Vehicle().key.outbox_id
NAME = sha256(b"c").digest()[:16]


def keep_blob(transaction, content):
    transaction.changes.blobs[1, NAME] = {"kind": 1, "hash": NAME, "content": content}


@pytest.fixture
def ledger(where):
    one = StoreLedger(where)
    yield one
    one.close()


def test_an_outbox_is_made_once_and_found_again(ledger):
    with ledger.transaction() as transaction:
        assert transaction.find_outbox(KEY) is None
        made = transaction.open_outbox(KEY, "now")
        assert transaction.open_outbox(KEY, "later") == made
    assert (made.progress, made.rule_state) == (Progress(), RuleState())


def test_positions_and_rule_state_come_back_as_they_were(ledger):
    progress = Progress(Position(3, 7), Position(3, 6), 70, 1000, 5, None)
    state = RuleState((3, 1000))
    with ledger.transaction() as transaction:
        saved = transaction.open_outbox(KEY, "now")
        transaction.changes.outboxes[saved.id] = replace(saved, progress=progress, rule_state=state)
        transaction.finish("now")
    with ledger.transaction() as transaction:
        found = transaction.find_outbox(KEY)
    assert (found.progress, found.rule_state, found.revision) == (progress, state, saved.revision + 1)


def test_a_transaction_that_does_not_end_well_changes_nothing(ledger):
    with contextlib.suppress(RuntimeError), ledger.transaction() as transaction:
        transaction.open_outbox(KEY, "now")
        raise RuntimeError
    with ledger.transaction() as transaction:
        assert transaction.find_outbox(KEY) is None


def test_reads_see_what_was_collected_before_them(ledger):
    with ledger.transaction() as transaction:
        keep_blob(transaction, b"c")
        assert transaction.blob(1, NAME) == b"c"
        assert transaction.blob(2, NAME) is None


def test_a_damaged_blob_counts_as_missing_and_is_written_over(ledger):
    with ledger.transaction() as transaction:
        keep_blob(transaction, b"damaged")
        assert transaction.blob(1, NAME) is None
        keep_blob(transaction, b"c")
        assert transaction.blob(1, NAME) == b"c"


def test_an_outbox_that_is_replaced_or_left_is_read_again_where_another_process_has_more_of_it(
    bench, connected
):
    bench.take(connected.drive(temp=46.0))
    other = type(bench)(bench.path)
    other.take(connected.drive(temp=20.0), connected.drive(temp=46.0))
    for number, named in enumerate(({"replaces": (KEPT,)}, {"forked_from": KEPT})):
        newer = replace(Vehicle(outbox=2 + number).greeting, **named)
        if not number:
            with pytest.raises(StoreUnavailable, match="another process wrote"):
                bench.take(newer)
        bench.take(newer)
    first, second = open_store(bench.path).faults()
    assert (first["end_reason"], second["end_reason"]) == ("cleared", "outbox lost")
    assert [gap["first_seq"] for gap in open_store(bench.path).gaps()] == [3]
    other.ledger.close()


def test_two_writers_of_one_outbox_see_each_other(bench, connected):
    first, second = connected.drive(), connected.drive()
    other = type(bench)(bench.path)
    other.take(first)
    bench.take(connected.schema)  # this one knows the outbox as it was
    other.take(second)
    third = connected.drive()
    with pytest.raises(StoreUnavailable, match="another process wrote"):
        bench.take(first)
    assert bench.take(third) == Stored(Position(0, 2))
    assert sum(len(run.records) for run in open_store(bench.path).runs("asset:one")) == 60
    other.ledger.close()
