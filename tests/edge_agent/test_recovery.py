"""After a crash nothing that was journaled is missing, and what is damaged is accounted."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from codec.records import concatenate
from codec.stream_decoder import StreamDecoder
from edge_agent.recovery import finish_stream
from edge_agent.rows import Commit, Reason, StreamEnd
from tests.edge_agent.samples import CLOCK, HOT, SCHEMA, START, pipeline, records, ticks_of


def crashed(*parts, guards=HOT):
    """(stream, end, journal rows, blocks) as an outbox has them when the agent dies after these records."""
    source = pipeline(guards=guards)
    commit = Commit()
    for part in parts:
        commit = commit.then(source.add(part, CLOCK))
    end = commit.end or StreamEnd(0, 0, 0, START, 0, guards.hash)
    return commit.stream, end, commit.journal, commit.batches


def test_the_journal_becomes_the_last_block_and_a_keyframe():
    stream, end, journal, stored = crashed(records(500), records(60, first=START + 500))
    commit = finish_stream(SCHEMA, HOT, None, stream, end, [(row, True) for row in journal])
    (batch,) = commit.batches
    assert (batch.seq, batch.group_seq, batch.record_count, batch.end_record) == (1, 1, 60, 560)
    assert commit.end.next_seq == 2
    decoder = StreamDecoder(SCHEMA, stream.facts)
    for row in (*stored, batch):
        block = decoder.decode(row.seq, row.content)
    assert block.keyframe.first_record == 500
    assert block.keyframe.previous_digest == end.digest
    assert block.keyframe.guards_hash == HOT.hash


def test_a_damaged_row_becomes_a_gap_in_its_place():
    stream, end, journal, _ = crashed(
        *[records(60, first=START + at) for at in range(0, 240, 60)], guards=HOT
    )
    assert [row.record_count for row in journal] == [60, 60, 60, 60]
    commit = finish_stream(SCHEMA, HOT, None, stream, end, [(row, at != 1) for at, row in enumerate(journal)])
    assert [(row.seq, row.record_count, row.end_record) for row in commit.batches] == [
        (0, 60, 60),
        (2, 120, 240),
    ]
    (gap,) = commit.gaps
    assert (gap.first_seq, gap.last_seq, gap.end_record, gap.end_tick, gap.reason) == (
        1,
        1,
        120,
        START + 120,
        Reason.DAMAGED,
    )
    assert [row.group_seq for row in commit.batches] == [0, 2]
    assert commit.end.next_seq == 3


def test_without_a_schema_all_of_it_is_a_gap():
    stream, end, journal, _ = crashed(records(60))
    commit = finish_stream(None, HOT, None, stream, end, [(row, False) for row in journal])
    assert commit.batches == ()
    assert commit.end.record_count == 60


def test_a_row_whose_content_is_no_journal_is_damaged():
    stream, end, journal, _ = crashed(records(60))
    commit = finish_stream(
        SCHEMA, HOT, None, stream, end, [(replace(row, content=b"nonsense"), True) for row in journal]
    )
    assert [gap.last_seq for gap in commit.gaps] == [0]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=8), st.sets(st.integers(0, 7)))
def test_every_record_is_in_a_block_or_in_a_gap(sizes, damaged):
    parts, first = [], START
    for size in sizes:
        parts.append(records(size, first=first))
        first += size
    stream, end, journal, stored = crashed(*parts)
    commit = finish_stream(
        SCHEMA, HOT, None, stream, end, [(row, at not in damaged) for at, row in enumerate(journal)]
    )
    decoder = StreamDecoder(SCHEMA, stream.facts)
    runs = [decoder.decode(row.seq, row.content).records for row in (*stored, *commit.batches)]
    journaled = sum(row.record_count for row in journal)
    lost = sum(row.record_count for at, row in enumerate(journal) if at in damaged)
    assert len(ticks_of(concatenate(runs))) == end.record_count + journaled - lost
    assert commit.end.record_count == end.record_count + journaled
    places = sorted([row.seq for row in commit.batches] + [gap.first_seq for gap in commit.gaps])
    assert places == list(range(end.next_seq, commit.end.next_seq))
