from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.rows import BatchRow, Commit, GapRow, JournalRow, position_of, split_position

places = st.tuples(st.integers(0, 1 << 30), st.integers(0, (1 << 32) - 1))


@given(places, places)
def test_positions_order_by_stream_then_seq(one, other):
    assert (position_of(*one) < position_of(*other)) == (one < other)
    assert split_position(position_of(*one)) == one


def test_the_position_after_a_gap_is_that_of_the_next_batch():
    batch = BatchRow(1, 7, 5, 0, 10, 10, False, b"")
    assert GapRow(1, 3, 6, 0, 0, 1).end == batch.position
    assert batch.end == batch.position + 1


def test_commits_that_wait_become_one_without_superseded_journal_rows():
    row = JournalRow(0, 1, 1, b"x")
    batch = BatchRow(0, 0, 0, 0, 1, 1, False, b"yy")
    assert Commit(journal=(row,)).then(Commit(batches=(batch,))) == Commit(batches=(batch,))
    assert Commit(batches=(batch,)).then(Commit(journal=(row,))).journal == (row,)
    assert Commit(batches=(batch,)).then(Commit(journal=(row,))).size_bytes == 3
    assert not Commit()
