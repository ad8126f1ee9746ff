"""The digest that tells two sides whether their predictors are still equal. Not against malice: TLS is."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Digest:
    """CRC-32 that runs over the blocks of a keyframe group, seeded with the stream and its first seq."""

    def __init__(self, stream_id: bytes, seq: int) -> None:
        self.value = zlib.crc32(stream_id + seq.to_bytes(8, "little"))

    def copy(self) -> Digest:
        same = Digest(b"", 0)
        same.value = self.value
        return same

    def add(self, seq: int, first_tick: int, record_count: int, header: bytes, columns: np.ndarray) -> None:
        """`header` with digest byte 0; `columns` uint64[m, 2]: sums over each column's counts, availability and state."""
        place = seq.to_bytes(8, "little") + first_tick.to_bytes(8, "little", signed=True)
        self.value = zlib.crc32(place + record_count.to_bytes(4, "little") + header, self.value)
        self.value = zlib.crc32(columns.astype("<u8").tobytes(), self.value)

    @property
    def byte(self) -> int:
        return self.value & 0xFF
