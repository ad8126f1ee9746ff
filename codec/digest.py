"""The digest that tells two sides whether their predictors are still equal. Not against malice: TLS is.

A CRC-32 that runs over the blocks of a keyframe group, seeded with the stream and the group's first seq. A block's
digest byte is its lowest.
"""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np

_PLACE = struct.Struct("<QqI")


def group_start(stream_id: bytes, seq: int) -> int:
    """Before the group's first block."""
    return zlib.crc32(stream_id + seq.to_bytes(8, "little"))


def after_block(
    before: int, seq: int, first_tick: int, record_count: int, header: bytes, columns: np.ndarray
) -> int:
    """`header` with digest byte 0; `columns` uint64[m, 2]: sums over each column's counts, availability and state."""
    value = zlib.crc32(_PLACE.pack(seq, first_tick, record_count) + header, before)
    little = columns if sys.byteorder == "little" else columns.byteswap()
    return zlib.crc32(np.ascontiguousarray(little).data, value)
