"""Records become blocks by their ticks alone, and at most `loss_max` of them are nowhere but in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.journal import unpack_records
from codec.records import concatenate
from codec.stream import BLOCK_RECORDS_MAX, Clock
from codec.stream_decoder import StreamDecoder
from edge_agent.pipeline import BlockTicks, Mode
from edge_agent.rows import Commit
from tests.edge_agent.samples import CLOCK, HOT, SCHEMA, START, TICKS, pipeline, records, ticks_of


def fed(source, *parts) -> Commit:
    commit = Commit()
    for part in parts:
        commit = commit.then(source.add(part, CLOCK))
    return commit


def cut(whole, size):
    return [whole.slice(start, min(start + size, len(whole))) for start in range(0, len(whole), size)]


@pytest.mark.parametrize(("mode", "length"), [(Mode.WATCHED, 50), (Mode.ONLINE, 500), (Mode.OFFLINE, 1500)])
def test_a_block_is_as_long_as_the_mode_says(mode, length):
    commit = fed(pipeline(mode=mode), *cut(records(3000), 50))
    assert [row.record_count for row in commit.batches] == [length] * (3000 // length)


def test_a_group_is_no_longer_than_the_force_resync():
    commit = fed(pipeline(), *cut(records(4000), 50))
    assert [row.seq for row in commit.batches if row.group_seq == row.seq] == [0, 3, 6]
    commit = fed(pipeline(mode=Mode.OFFLINE), *cut(records(4500), 50))
    assert all(row.group_seq == row.seq for row in commit.batches)


def test_the_streams_first_record_is_committed_at_once():
    source = pipeline()
    commit = source.add(records(1), CLOCK)
    assert commit.stream is not None
    assert [row.record_count for row in commit.journal] == [1]
    assert source.uncommitted == 0


def test_the_rest_is_journaled_as_often_as_was_asked_for():
    commit = fed(pipeline(), *cut(records(499), 10))
    journaled = [unpack_records(row.content, 2) for row in commit.journal]
    assert ticks_of(concatenate(journaled)) == list(range(START, START + 460))
    assert all(row.record_count <= TICKS.loss_max for row in commit.journal)


def test_a_block_supersedes_its_journal():
    source = pipeline()
    commit = fed(source, *cut(records(520), 10))
    assert len(commit.batches) == 1
    assert commit.journal == ()
    assert commit.end.next_seq == 1
    assert commit.end.record_count == 500


def test_a_missed_tick_starts_a_new_block():
    commit = fed(pipeline(), records(30), records(470, first=START + 31), records(30, first=START + 501))
    assert [(row.first_tick - START, row.record_count) for row in commit.batches] == [(0, 30), (31, 500)]


def test_a_guard_that_crosses_ends_the_block_and_marks_it():
    source = pipeline(guards=HOT)
    commit = fed(source, records(100), records(100, first=START + 100, temp=46))
    assert [(row.record_count, row.crossing) for row in commit.batches] == [(101, True)]
    assert source.snapshot().guard_states == b"\x01"


def test_new_guards_are_in_force_from_the_next_block_which_names_them():
    source = pipeline()
    fed(source, records(500))
    source.set_guards(HOT)
    commit = fed(source, records(500, first=START + 500))
    (batch,) = commit.batches
    assert batch.group_seq == batch.seq == 1
    assert commit.end.guards_hash == HOT.hash


def test_a_keyframe_comes_when_it_is_asked_for():
    source = pipeline()
    fed(source, records(500))
    source.ask_keyframe()
    assert [row.group_seq for row in fed(source, records(1000, first=START + 500)).batches] == [1, 1]


def test_what_is_left_at_the_end_becomes_a_block():
    source = pipeline()
    fed(source, records(20))
    assert [row.record_count for row in source.flush(CLOCK).batches] == [20]
    assert not source.flush(CLOCK)


def test_a_snapshot_is_the_latest_record_as_a_block_of_its_own():
    source = pipeline()
    assert source.snapshot() is None
    commit = fed(source, records(10, temp=33))
    shot = source.snapshot()
    shown = StreamDecoder(SCHEMA, commit.stream.facts).decode(0, shot.record).records
    assert (shot.stream_no, shot.tick) == (0, 9)
    assert abs(SCHEMA.to_physical(shown.counts, shown.states)[0, 0] - 33) <= 1.0


def test_the_side_log_has_every_record_once_beside_the_commit_that_keeps_it():
    source = pipeline(side_log=True)
    commits = [source.add(part, CLOCK) for part in cut(records(1234), 10)] + [source.flush(CLOCK)]
    logged = [unpack_records(content, 2) for commit in commits for _, content in commit.side_log]
    assert concatenate(logged)[0].equals(records(1234))


def test_lengths_fit_a_block():
    ticks = BlockTicks.of_seconds(
        1000, offline_s=60, online_s=0.1, watched_s=0.0001, keyframe_s=30, loss_max_s=1
    )
    assert (ticks.offline, ticks.online, ticks.watched) == (4096, 100, 1)


@given(st.data())
def test_blocks_and_loss_do_not_depend_on_how_records_are_cut(data):
    temps = np.cumsum(data.draw(st.lists(st.sampled_from([-1, 0, 0, 1]), min_size=1, max_size=1200))) + 44
    holes = set(data.draw(st.lists(st.integers(0, len(temps)), max_size=3)))
    runs, first = [], 0
    for edge in sorted({*holes, len(temps)}):
        if edge > first:
            runs.append(
                records(
                    edge - first,
                    first=START + first + sum(hole < edge for hole in holes),
                    temp=temps[first:edge],
                )
            )
            first = edge
    size = data.draw(st.integers(1, 50))
    one, other = pipeline(guards=HOT), pipeline(guards=HOT)
    whole = fed(one, *runs).then(one.flush(CLOCK))
    pieces = Commit()
    for run in runs:
        for part in cut(run, size):
            assert len(part) <= max(size, other.room)
            pieces = pieces.then(other.add(part, CLOCK))
            assert other.uncommitted < TICKS.loss_max
    pieces = pieces.then(other.flush(CLOCK))
    assert pieces.batches == whole.batches
    decoder = StreamDecoder(SCHEMA, whole.stream.facts)
    back = concatenate([decoder.decode(row.seq, row.content).records for row in whole.batches])
    assert ticks_of(back) == ticks_of(runs)
    for found, sampled in zip(back, concatenate(runs), strict=True):
        assert int(np.abs(found.counts - sampled.counts).max()) <= 2
        assert ((found.counts[:, 0] > 90) == (sampled.counts[:, 0] > 90)).all()


def test_the_first_block_after_the_clock_was_set_is_a_keyframe_that_says_so():
    unset, source = Clock(7_000_000, synchronised=False), pipeline()
    commit = Commit()
    for start in range(0, 2000, 50):
        clock = CLOCK if start >= 700 else unset
        commit = commit.then(source.add(records(50, first=START + start), clock))
    assert [row.seq for row in commit.batches if row.group_seq == row.seq] == [0, 1]
    decoder = StreamDecoder(SCHEMA, commit.stream.facts)
    first, second = (decoder.decode(row.seq, row.content).keyframe for row in commit.batches[:2])
    assert not first.clock_synchronised
    assert (second.clock_offset_ns, second.clock_synchronised) == (CLOCK.offset_ns, True)


def test_a_stretch_lengthens_blocks_up_to_what_a_block_holds():
    source = pipeline(mode=Mode.ONLINE)
    source.stretch = 8
    commit = source.add(records(9000), CLOCK)
    assert [batch.record_count for batch in commit.batches] == [4000, 4000]


def test_a_block_has_an_end_that_the_format_sets_and_a_group_may_be_as_long_as_it_is_asked_for():
    ticks = BlockTicks.of_seconds(50, offline_s=300, online_s=10, watched_s=1, keyframe_s=300, loss_max_s=1)
    assert (ticks.offline, ticks.online, ticks.keyframe) == (BLOCK_RECORDS_MAX, 500, 15_000)
