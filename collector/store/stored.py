"""What readers of the store get: streams and where they lie, and the records of stored blocks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from codec.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from codec.priors import Prior
    from codec.records import Records
    from codec.schema import Schema
    from codec.stream import DecodedBlock, StreamFacts
    from codec.stream_decoder import StreamDecoder


class Counted(NamedTuple):
    """Blocks that are stored."""

    batches: int = 0
    records: int = 0
    blocks_bytes: int = 0
    doubtful: int = 0

    def __add__(self, other: Counted) -> Counted:  # type: ignore[override]
        return Counted(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The records of one stored block. wall_ns = tick * schema.period_ns + offset_ns."""

    vin: str
    outbox_id: bytes
    schema: Schema
    facts: StreamFacts
    seq: int
    offset_ns: int
    synchronised: bool
    records: Records
    late: bool
    doubtful: bool  # see tables.py
    guards_hash: bytes = b""  # of the set that it was encoded under


@dataclass(frozen=True, slots=True)
class StreamSpan:
    """Where the blocks of one stream lie. wall_ns = tick * schema.period_ns + offset_ns."""

    vin: str
    outbox: int  # the store's number of it
    outbox_id: bytes
    facts: StreamFacts
    schema: Schema
    offset_ns: int
    synchronised: bool
    first_tick: int
    end_tick: int  # after its last record

    @property
    def start_ns(self) -> int:
        return self.wall_ns(self.first_tick)

    @property
    def end_ns(self) -> int:
        return self.wall_ns(self.end_tick)

    def wall_ns(self, tick: int) -> int:
        return tick * self.schema.period_ns + self.offset_ns

    def tick_at(self, wall_ns: int) -> int:
        """The first tick at that wall time or after it."""
        return -(-(wall_ns - self.offset_ns) // self.schema.period_ns)


@dataclass(frozen=True, slots=True)
class StoredMinutes:
    """Rolled-up minutes of one signal of a stream, in order: arrays [n]. A minute without an available value is not there."""

    ticks: NDArray[np.int64]  # where each begins: multiples of the ticks of a minute
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> StoredMinutes:
        """Of rows (tick, min, max, mean, count)."""
        values = np.array([row[1:4] for row in rows], np.float64).reshape(-1, 3)
        ticks, count = (np.array([row[at] for row in rows], np.int64) for at in (0, 4))
        return cls(ticks, values[:, 0], values[:, 1], values[:, 2], count)


@dataclass(frozen=True, slots=True)
class StoredStream:
    """One stream: what it is, and how much of it is here."""

    vin: str
    outbox_id: bytes
    facts: StreamFacts
    schema: Schema
    offset_ns: int
    synchronised: bool
    batches: int
    records: int
    blocks_bytes: int
    doubtful: int = 0  # records of such blocks
    expired: int = 0  # records that were deleted for their age; no gap, and not among `records`

    @property
    def began_ns(self) -> int:
        """Wall time."""
        return self.facts.origin_tick * self.schema.period_ns + self.offset_ns


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A keyframe group as it came: its sound blocks (seq, content), up to the first that is not."""

    facts: StreamFacts
    blocks: tuple[tuple[int, bytes], ...]
    records: int
    find_prior: Callable[[bytes], Prior | None]


def wall_ns(run: StoredRun, index: int) -> int:
    """Wall time of one of its records."""
    return (run.records.first_tick + index) * (run.schema.period_ns) + run.offset_ns


def sound_block(row: Any, decoder: StreamDecoder) -> DecodedBlock | None:
    """The row's block, or None where it is damaged or builds on one that is; the next keyframe does not."""
    if zlib.crc32(row.content) != row.crc:
        return None
    try:
        return decoder.decode(row.seq, row.content)
    except CodecError:
        return None
