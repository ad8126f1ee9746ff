"""Packed records: lossless, self-contained, checked. What the journal and the side log hold.

Layout: CRC-32 (u32, little endian) of the rest, then a zstd frame of: first tick (i64), n (u32), m (u32), then the
bytes of the differences along time, column by column and byte plane by byte plane (so that zstd sees the zeros
together), then the availability states, column by column.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import zstandard

from codec.errors import DamagedBlock
from codec.records import Availability, Records

PACKED_RECORDS_MAX = 1 << 20  # bounds what a damaged row can make a reader allocate
_HEAD = struct.Struct("<qII")
_LEVEL = 3


def pack_records(records: Records) -> bytes:
    """Bytes from which `unpack_records` makes the same records, to the bit."""
    count, signals = records.counts.shape
    columns = np.ascontiguousarray(records.counts.T)
    differences = np.diff(columns, axis=1, prepend=np.zeros((signals, 1), np.int64))
    planes = differences.view(np.uint8).reshape(signals, count, 8).transpose(2, 0, 1)
    body = _HEAD.pack(records.first_tick, count, signals) + planes.tobytes() + records.states.T.tobytes()
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    return zlib.crc32(frame).to_bytes(4, "little") + frame


def packed_extent(packed: bytes) -> tuple[int, int]:
    """(first tick, number of records), of however many signals. Raises DamagedBlock."""
    try:
        first_tick, count, _ = _HEAD.unpack(
            zstandard.ZstdDecompressor().stream_reader(_frame(packed)).read(_HEAD.size)
        )
    except (zstandard.ZstdError, struct.error) as error:
        raise DamagedBlock(f"packed records: {error}") from None
    return first_tick, count


def unpack_records(packed: bytes, signal_count: int) -> Records:
    """Inverse of `pack_records` for records of so many signals. Raises DamagedBlock."""
    frame = _frame(packed)
    size_max = _HEAD.size + PACKED_RECORDS_MAX * signal_count * 9
    try:
        if not 0 <= zstandard.frame_content_size(frame) <= size_max:
            raise DamagedBlock("packed records claim an impossible size")
        body = zstandard.ZstdDecompressor().decompress(frame)
        first_tick, count, signals = _HEAD.unpack_from(body)
    except (zstandard.ZstdError, struct.error) as error:
        raise DamagedBlock(f"packed records: {error}") from None
    if signals != signal_count or len(body) != _HEAD.size + count * signals * 9:
        raise DamagedBlock(
            f"packed records of {signals} signals in {len(body)} bytes; expected {signal_count} signals"
        )
    planes = np.frombuffer(body, np.uint8, count * signals * 8, _HEAD.size).reshape(8, signals, count)
    differences = np.ascontiguousarray(planes.transpose(1, 2, 0)).view(np.int64).reshape(signals, count)
    states = np.frombuffer(body, np.uint8, count * signals, _HEAD.size + count * signals * 8)
    if states.size and states.max() > max(Availability):
        raise DamagedBlock("packed records with an unknown availability")
    return Records(
        first_tick,
        np.ascontiguousarray(np.cumsum(differences, axis=1, dtype=np.int64).T),
        np.ascontiguousarray(states.reshape(signals, count).T),
    )


def _frame(packed: bytes) -> bytes:
    frame = packed[4:]
    if len(packed) < 4 or zlib.crc32(frame) != int.from_bytes(packed[:4], "little"):
        raise DamagedBlock("packed records do not pass their checksum")
    return frame
