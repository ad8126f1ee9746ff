"""How far an outbox has come, and what a batch means at that point: pure decisions on positions.

Rules
- Streams are numbered from 0, batches of a stream from 0, both without holes. `wanted` is the one place where the next
  batch fits; everything before it is durable.
- A stream is complete when the description of the next one says so, or there is more of it than that one knows of. No
  stream is taken before its predecessor is complete, so that one that was lost whole is missed too.
- A gap takes batches' place. Its records are the vehicle's cumulative count at its end less what is here already, so a gap
  that grew, or that came twice, counts each record once.
- After a gap only a keyframe can be decoded. Where a quarantine made the gap, the next keyframe tells how many records it
  cost; where the stream ends before, nobody knows (records stays None).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from collector.items import Position

START = Position(0, 0)


class Place(Enum):
    """Where a run of batches lies."""

    BEFORE = auto()  # all of it is durable already
    NEXT = auto()  # it begins at or before what is wanted, and ends after
    BEYOND = auto()  # something before it is missing


@dataclass(frozen=True, slots=True)
class Progress:
    """One outbox. Counts and ticks are those of the stream `wanted` is in."""

    wanted: Position = START
    stored: Position | None = None  # the last batch or gap that is durable: what an ack names
    record_count: int = 0  # stored ones, and those in gaps
    end_tick: int | None = None  # after the last record
    group_seq: int | None = None  # the keyframe that the next block builds on; None: it must be one itself
    open_gap_seq: int | None = None  # first seq of a quarantine whose end is not known yet

    def place(self, stream_no: int, first_seq: int, last_seq: int) -> Place:
        if (stream_no, last_seq) < (self.wanted.stream_no, self.wanted.seq):
            return Place.BEFORE
        if stream_no == self.wanted.stream_no and first_seq <= self.wanted.seq:
            return Place.NEXT
        return Place.BEYOND

    def is_complete(self, prev_last_seq: int | None) -> bool:
        """Whether the stream ends here, as its successor's description says (None: it was empty)."""
        return self.wanted.seq >= (0 if prev_last_seq is None else prev_last_seq + 1)

    def after_stream(self) -> Progress:
        return Progress(Position(self.wanted.stream_no + 1, 0), self.stored)

    def after_block(self, *, keyframe: bool, first_record: int, record_count: int, end_tick: int) -> Progress:
        """`first_record`: records of the stream before the block."""
        stored = self.wanted
        return Progress(
            Position(stored.stream_no, stored.seq + 1),
            stored,
            first_record + record_count,
            end_tick,
            stored.seq if keyframe else self.group_seq,
        )

    def after_gap(self, last_seq: int, end_record: int) -> Progress:
        return replace(
            self._through(last_seq),
            record_count=end_record,
            group_seq=None,
            open_gap_seq=None,
        )

    def after_quarantine(self) -> Progress:
        first = self.wanted.seq if self.open_gap_seq is None else self.open_gap_seq
        return replace(self._through(self.wanted.seq), group_seq=None, open_gap_seq=first)

    def records_missing(self, end_record: int) -> int:
        """How many records a gap that ends at this cumulative count costs."""
        return max(0, end_record - self.record_count)

    def _through(self, seq: int) -> Progress:
        assert seq >= self.wanted.seq, (seq, self.wanted)
        stream_no = self.wanted.stream_no
        return replace(self, wanted=Position(stream_no, seq + 1), stored=Position(stream_no, seq))


@dataclass(slots=True)
class Repair:
    """Batches that were asked for once more.

    With a `digest`, they are durable and the group as a whole came out wrong: it must come to this. Without, `last_seq` is
    the block that could not be decoded; it is wanted, and nothing after it is taken before it is settled.
    """

    stream_no: int
    first_seq: int
    last_seq: int
    digest: int | None = None
    copies: dict[int, bytes] = field(default_factory=dict)  # by seq: what was sent again

    def covers(self, stream_no: int, seq: int) -> bool:
        return stream_no == self.stream_no and self.first_seq <= seq <= self.last_seq
