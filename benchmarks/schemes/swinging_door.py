"""Swinging-door trending: lines between archived values, such that no value in between is farther off than its bound.

The bound is kept as Fan compression keeps it: a value is archived when the next one lies outside the doors that all
values since the last archived one leave open; the doors alone (Bristol 1990) allow errors of twice the bound. The last
value of a block is always archived, because the receiver needs the whole block. All in integers: slopes are compared as
fractions. Bit patterns (floats, wide integers) are archived when they leave their threshold, and held.

Archived values are varints of (records since the last one, zigzag difference), column after column, in zstd-19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.schemes.columnar import Reader, Writer, held, unwrapped, unzigzag, varints, zigzag
from codec.kernel import kernel
from codec.records import Availability
from codec.schema import Kind, physical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.values import Values
    from codec.records import Records
    from codec.schema import Schema


@kernel
def archive(counts: Any, error_max: int, fresh: bool, last: int, found: Any) -> Any:
    """Indices of the values to archive into found int64[n]; returns how many. `last` stands before the first value.

    Products stay inside int64: counts have 47 bits, a block at most 4,096 records.
    """
    size = counts.size
    if size == 0:
        return 0
    archived = 0
    pivot, at = last, -1
    if fresh:
        found[0], archived, pivot, at = 0, 1, counts[0], 0
    low, low_time = np.int64(0), np.int64(0)  # the doors, as fractions
    high, high_time = np.int64(0), np.int64(0)
    time: Any = 0
    i = at + 1
    while i < size:
        rise, time = counts[i] - pivot, i - at
        within = low_time == 0 or (rise * low_time >= low * time and rise * high_time <= high * time)
        if not within:
            pivot, at = counts[i - 1], i - 1
            found[archived] = at
            archived += 1
            low_time = high_time = np.int64(0)
            continue
        if low_time == 0 or (rise - error_max) * low_time > low * time:
            low = rise - error_max
            low_time = time
        if high_time == 0 or (rise + error_max) * high_time < high * time:
            high = rise + error_max
            high_time = time
        i += 1
    if at < size - 1:
        found[archived] = size - 1
        archived += 1
    return archived


@kernel
def draw(ends: Any, rises: Any, last: int, counts: Any) -> None:
    """Lines to archived values: ends int64[k] in rising order, up to the last record; counts int64[n] is filled."""
    at = -1
    for k in range(ends.size):
        time = ends[k] - at
        for i in range(1, time + 1):
            counts[at + i] = last + (2 * rises[k] * i + time) // (2 * time)
        last += rises[k]
        at = ends[k]


def encode(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    writer = Writer()
    signals = len(schema.signals)
    last, fresh = np.zeros(signals, np.int64), np.ones(signals, np.bool_)
    contents = []
    for block in blocks:
        parts = []
        for column, signal in enumerate(schema.signals):
            counts = block.counts[block.states[:, column] == Availability.AVAILABLE, column]
            if signal.kind is not Kind.SCALED:
                counts = held(signal, counts, int(last[column]))
                at = np.flatnonzero(np.diff(counts, prepend=last[column]))
            else:
                if signal.turn_counts:
                    counts = unwrapped(counts, signal.turn_counts, int(last[column]))
                found = np.empty(len(counts), np.int64)
                at = found[: archive(counts, signal.max_error_counts, fresh[column], last[column], found)]
            rises = zigzag(np.diff(counts[at], prepend=last[column]))
            gaps = np.diff(at, prepend=-1).astype(np.uint64)
            parts.append(varints([len(at)]) + varints(gaps) + varints(rises))
            if len(counts):
                last[column], fresh[column] = counts[-1], False
        contents.append(writer.frame(block, b"".join(parts)))
    return contents


def decode(schema: Schema, contents: Sequence[bytes]) -> Values:
    last = np.zeros(len(schema.signals), np.int64)
    parts = []
    for content in contents:
        reader = Reader(content, len(schema.signals))
        values = np.full((reader.count, len(schema.signals)), np.nan)
        for column, signal in enumerate(schema.signals):
            available = reader.available[column]
            count = int(np.count_nonzero(available))
            points = int(reader.varints(1)[0])
            at = np.cumsum(reader.varints(points).view(np.int64)) - 1
            rises = unzigzag(reader.varints(points))
            if not count:
                continue
            if signal.kind is Kind.SCALED:
                counts = np.empty(count, np.int64)
                draw(at, rises, last[column], counts)
                values[available, column] = counts
            else:
                counts = _steps(at, rises, int(last[column]), count)
                values[available, column] = physical(signal, counts)
            last[column] = counts[-1]
        parts.append(values)
    return np.concatenate(parts)


def _steps(at: NDArray[np.int64], rises: NDArray[np.int64], last: int, count: int) -> NDArray[np.int64]:
    counts = np.zeros(count, np.int64)
    counts[at] = rises
    return np.int64(last) + np.cumsum(counts)
