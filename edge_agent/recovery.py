"""After a crash: the journal's records become the last block of their stream.

Under the stream's stored schema and guards, as a keyframe, numbered from its stored counter. What a damaged row held
becomes a gap of one seq in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.errors import DamagedBlock
from codec.journal import unpack_records
from codec.records import Records, concatenate
from codec.stream import StreamEncoder, block_records_max
from edge_agent.rows import BatchRow, Commit, GapRow, JournalRow, Reason, StreamEnd, StreamRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codec.guards import GuardSet
    from codec.priors import Prior
    from codec.schema import Schema


def finish_stream(
    schema: Schema | None,
    guards: GuardSet,
    prior: Prior | None,
    stream: StreamRow,
    end: StreamEnd,
    journal: Sequence[tuple[JournalRow, bool]],
) -> Commit:
    """What to store for `journal`, rows in order, each with whether its checksum held. No schema: none did.

    `prior`: the stream's; None: the built-in one, which the block names where the stream's is another.
    """
    batches: list[BatchRow] = []
    gaps: list[GapRow] = []
    seq, record_count, end_tick, digest = end.next_seq, end.record_count, end.end_tick, end.digest
    group_seq = seq
    encoder: StreamEncoder | None = None
    for piece in _pieces(journal, len(schema.signals) if schema else 0):
        if isinstance(piece, JournalRow):
            record_count += piece.record_count
            end_tick = max(end_tick, piece.first_tick + piece.record_count)
            gaps.append(GapRow(stream.stream_no, seq, seq, record_count, end_tick, Reason.DAMAGED))
            seq += 1
            encoder = None
            continue
        if encoder is None:
            assert schema is not None
            encoder = StreamEncoder(
                schema,
                stream.facts,
                guards=guards,
                prior=prior,
                next_seq=seq,
                record_count=record_count,
                previous_digest=digest,
            )
            group_seq = seq
        block = encoder.encode(piece)
        batch = BatchRow(
            stream.stream_no, block.seq, group_seq, block.first_tick, block.record_count, block.end_record,
            True, block.content,
        )  # fmt: skip
        batches.append(batch)
        seq, record_count, end_tick = encoder.next_seq, block.end_record, piece.end_tick
        digest = encoder.group_digest
    return Commit(
        batches=tuple(batches),
        gaps=tuple(gaps),
        end=StreamEnd(stream.stream_no, seq, record_count, end_tick, digest, guards.hash),
    )


def _pieces(journal: Sequence[tuple[JournalRow, bool]], signal_count: int) -> Iterator[Records | JournalRow]:
    """Runs no longer than a block may be, and the rows that are damaged, in order."""
    sound: list[Records] = []
    for row, checked in journal:
        records = _unpacked(row, signal_count) if checked else None
        if records is not None:
            sound.append(records)
            continue
        yield from _blocks(sound, signal_count)
        sound = []
        yield row
    yield from _blocks(sound, signal_count)


def _unpacked(row: JournalRow, signal_count: int) -> Records | None:
    try:
        return unpack_records(row.content, signal_count)
    except DamagedBlock:
        return None


def _blocks(parts: list[Records], signal_count: int) -> Iterator[Records]:
    size = block_records_max(signal_count)
    for run in concatenate(parts):
        for start in range(0, len(run), size):
            yield run.slice(start, min(start + size, len(run)))
