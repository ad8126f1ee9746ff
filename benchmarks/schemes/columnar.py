"""What the columnar schemes have in common: the frame of a block, availability, integers as bytes, and zstd-19.

Block: a byte (1: the rest is in zstd), varint ticks since the block before, varint records; a byte per column (0: every
value is available, 1: none, 2: some), a bit per record for each column with some; then the scheme's own bytes.
The available values of a column stand one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard

from benchmarks.schemes.sparse import hold_last
from codec.kernel import kernel
from codec.records import Availability
from codec.schema import physical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from codec.records import Records
    from codec.schema import Signal

ZSTD_LEVEL = 19
VARINT_BYTES_MAX = 10
ALL, NONE, SOME = range(3)


class Writer:
    """Frames blocks: what goes before the scheme's own bytes, and zstd where it helps."""

    def __init__(self) -> None:
        self._end_tick = 0
        self._compressor = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                ZSTD_LEVEL, write_content_size=0, write_checksum=0
            )
        )

    def frame(self, block: Records, body: bytes) -> bytes:
        head = varints([block.first_tick - self._end_tick, len(block)])
        self._end_tick = block.end_tick
        plain = head + _availability(block) + body
        packed = self._compressor.compress(plain)
        return b"\1" + packed if len(packed) < len(plain) else b"\0" + plain


class Reader:
    """The bytes of one block, taken from the front."""

    def __init__(self, content: bytes, columns: int) -> None:
        plain = content[1:]
        if content[0]:
            plain = zstandard.ZstdDecompressor().decompressobj().decompress(plain)
        self._buffer = np.frombuffer(plain, np.uint8)
        self._at = 0
        _, self.count = (int(number) for number in self.varints(2))
        self.available = np.empty((columns, self.count), np.bool_)
        for row, flag in zip(self.available, self.bytes(columns).tolist(), strict=True):
            row[:] = flag == ALL
            if flag == SOME:
                row[:] = np.unpackbits(self.bytes(-(-self.count // 8)), count=self.count).astype(np.bool_)

    def bytes(self, count: int) -> NDArray[np.uint8]:
        self._at += count
        return self._buffer[self._at - count : self._at]

    def varints(self, count: int) -> NDArray[np.uint64]:
        numbers = np.empty(count, np.uint64)
        self._at = int(get_varints(self._buffer, self._at, numbers))
        return numbers


def varints(numbers: Sequence[int] | NDArray[np.uint64]) -> bytes:
    """LEB128."""
    listed = np.asarray(numbers, np.uint64)
    buffer = np.empty(listed.size * VARINT_BYTES_MAX, np.uint8)
    return buffer[: put_varints(listed, buffer)].tobytes()


def zigzag(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


def unzigzag(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (numbers >> np.uint64(1)).view(np.int64) ^ -(numbers & np.uint64(1)).view(np.int64)


def unwrapped(counts: NDArray[np.int64], turn: int, last: int) -> NDArray[np.int64]:
    """Counts on a circle without its jumps, going on from `last`."""
    steps = np.diff(counts, prepend=last)
    half = turn // 2
    return np.int64(last) + np.cumsum((steps + half) % turn - half)


def held(signal: Signal, patterns: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    """Bit patterns that stay as they are, from `last` on, while they are within the threshold."""
    if signal.threshold == 0:
        return patterns
    with_last = np.concatenate([np.array([last], np.int64), patterns])
    sent = np.zeros(len(with_last), np.bool_)
    hold_last(physical(signal, with_last), signal.threshold, np.inf, sent)
    newest = np.maximum.accumulate(np.where(sent, np.arange(len(sent)), 0))
    return with_last[newest][1:]


@kernel
def put_varints(numbers: Any, buffer: Any) -> Any:
    at = 0
    for i in range(numbers.size):
        number = numbers[i]
        while number >= np.uint64(128):
            buffer[at] = np.uint8(number & np.uint64(127) | np.uint64(128))
            number >>= np.uint64(7)
            at += 1
        buffer[at] = np.uint8(number)
        at += 1
    return at


@kernel
def get_varints(buffer: Any, at: int, numbers: Any) -> Any:
    for i in range(numbers.size):
        number, shift = np.uint64(0), 0
        while buffer[at] >= 128:
            number |= np.uint64(buffer[at] & 127) << np.uint64(shift)
            shift += 7
            at += 1
        numbers[i] = number | np.uint64(buffer[at]) << np.uint64(shift)
        at += 1
    return at


def _availability(block: Records) -> bytes:
    available = (block.states == Availability.AVAILABLE).T
    some, every = available.any(axis=1), available.all(axis=1)
    flags = np.where(every, ALL, np.where(some, SOME, NONE)).astype(np.uint8)
    return flags.tobytes() + b"".join(np.packbits(row).tobytes() for row in available[flags == SOME])
