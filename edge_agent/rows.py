"""What goes between pipeline, outbox and session: plain values.

A position is one integer that orders everything: stream_no << 32 | seq. `wanted` is the first position that is not
acknowledged, so "everything before it" needs no case for "nothing yet".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.stream import StreamFacts

SEQ_BITS = 32
SEQ_MAX = (1 << SEQ_BITS) - 1
STREAM_NO_MAX = (1 << 31) - 1  # so that every position is an int64


def position_of(stream_no: int, seq: int) -> int:
    assert 0 <= seq <= SEQ_MAX, seq
    return stream_no << SEQ_BITS | seq


def split_position(position: int) -> tuple[int, int]:
    """(stream_no, seq)."""
    return position >> SEQ_BITS, position & SEQ_MAX


class Reason(IntEnum):
    """Why records are missing; the numbers are those of GapReason on the wire."""

    QUOTA = 1
    DAMAGED = 2
    OUTBOX_LOST = 3
    FORKED = 5


class BlobKind(IntEnum):
    """What a blob is; the numbers are those on the wire."""

    SCHEMA = 1
    GUARDS = 2
    PRIOR = 3


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream as it began. `facts` has what encoder and decoder both start from."""

    facts: StreamFacts
    boot_id: bytes
    schema_hash: bytes

    @property
    def stream_no(self) -> int:
        return self.facts.stream_no


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How far a stream is: what the next block, or the next stream, goes on from."""

    stream_no: int
    next_seq: int
    record_count: int  # cumulative
    end_tick: int
    digest: int  # of the last keyframe group
    guards_hash: bytes  # set in force


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One block and its place. `group_seq` is the seq of the keyframe it builds on."""

    stream_no: int
    seq: int
    group_seq: int
    first_tick: int
    record_count: int
    end_record: int  # cumulative in the stream, this block included
    crossing: bool  # a guard was crossed in it: evicted last
    content: bytes

    @property
    def position(self) -> int:
        return position_of(self.stream_no, self.seq)

    @property
    def end(self) -> int:
        """The position after it."""
        return self.position + 1


@dataclass(frozen=True, slots=True)
class GapRow:
    """An accounted hole: seqs first_seq..last_seq, whose records end at `end_record` and before `end_tick`."""

    stream_no: int
    first_seq: int
    last_seq: int
    end_record: int
    end_tick: int
    reason: int

    @property
    def position(self) -> int:
        return position_of(self.stream_no, self.first_seq)

    @property
    def end(self) -> int:
        return position_of(self.stream_no, self.last_seq) + 1


@dataclass(frozen=True, slots=True)
class JournalRow:
    """Sampled records of the block being filled, packed."""

    stream_no: int
    first_tick: int
    record_count: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """What has to become durable together. `batches` supersede all journal rows of before."""

    stream: StreamRow | None = None  # a stream that begins with this
    batches: tuple[BatchRow, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    journal: tuple[JournalRow, ...] = ()
    end: StreamEnd | None = None  # of the stream, where batches moved it
    side_log: tuple[tuple[int, bytes], ...] = ()  # (stream_no, packed records), in demo mode

    def __bool__(self) -> bool:
        return bool(self.stream or self.batches or self.gaps or self.journal or self.end or self.side_log)

    def then(self, later: Commit) -> Commit:
        """Both in one: what a disk that could not be written for a while gets at once."""
        assert self.stream is None or later.stream is None
        return Commit(
            stream=self.stream or later.stream,
            batches=self.batches + later.batches,
            gaps=self.gaps + later.gaps,
            journal=later.journal if later.batches else self.journal + later.journal,
            end=later.end or self.end,
            side_log=self.side_log + later.side_log,
        )

    @property
    def size_bytes(self) -> int:
        return (
            sum(len(row.content) for row in self.batches)
            + sum(len(row.content) for row in self.journal)
            + sum(len(content) for _, content in self.side_log)
        )
