"""DPCM: what the last reconstructed value does not explain, in steps of 2 D + 1 counts, and zstd-19 over it by block.

A closed loop, so the bound holds. Bit patterns (floats, wide integers) stay while they are within their threshold and
are differences of their bits otherwise. Residuals are zigzag varints, column after column, which zstd packs better than
byte planes.
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
    from codec.schema import Schema, Signal


@kernel
def quantise(counts: Any, error_max: int, last: int, steps: Any) -> Any:
    """Residuals int64[n] in steps of 2 error_max + 1; returns the last reconstructed count."""
    step = 2 * error_max + 1
    for i in range(counts.size):
        error = counts[i] - last
        steps[i] = (abs(error) + error_max) // step
        if error < 0:
            steps[i] = -steps[i]
        last += steps[i] * step
    return last


def encode(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    writer = Writer()
    last = np.zeros(len(schema.signals), np.int64)
    contents = []
    for block in blocks:
        parts = []
        for column, signal in enumerate(schema.signals):
            counts = block.counts[block.states[:, column] == Availability.AVAILABLE, column]
            steps = np.empty(len(counts), np.int64)
            if signal.kind is not Kind.SCALED:
                patterns = held(signal, counts, int(last[column]))
                steps[:] = np.diff(patterns, prepend=last[column])
                last[column] = patterns[-1] if len(patterns) else last[column]
            else:
                if signal.turn_counts:
                    counts = unwrapped(counts, signal.turn_counts, int(last[column]))
                last[column] = quantise(counts, signal.max_error_counts, last[column], steps)
            parts.append(varints(zigzag(steps)))
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
            steps = unzigzag(reader.varints(int(np.count_nonzero(available))))
            if len(steps):
                scaled = signal.kind is Kind.SCALED
                step = 2 * signal.max_error_counts + 1 if scaled else 1
                counts = last[column] + np.cumsum(steps * step)
                last[column] = counts[-1]
                values[available, column] = _values(signal, counts)
        parts.append(values)
    return np.concatenate(parts)


def _values(signal: Signal, counts: NDArray[np.int64]) -> Values:
    return counts.astype(np.float64) if signal.kind is Kind.SCALED else physical(signal, counts)
