"""A log as a table: one column a signal, on the sample grid, or every value as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from codec.schema import SIGNALS_MAX
from decoder.defaults import default_choices
from decoder.plan import build_plan
from decoder.sampler import Sampler, sample_log
from decoder.values import BulkDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from decoder.frames import Frames
    from decoder.signals import Bus

TIME = "time_s"
_CELLS = 1 << 20  # of the table, built at a time: a wide one does not fit into memory as a whole
_NS = 1e9
_SMALLEST = 1e-250  # below it the scale would be infinite


class TableError(ValueError):
    """A table that cannot be written; says why and what to do."""


def every_value(
    frames: Frames, buses: Sequence[Bus]
) -> tuple[tuple[str, ...], Iterator[NDArray[np.float64]]]:
    """Column names, and rows float64[n, 1 + columns] of each frame that carries values: its time and its values.

    What the frame does not carry, or says is not available, is NaN. Signals that never come have no column.
    """
    values = BulkDecoder(buses, mask_unavailable=True).decode_values(frames)
    seen, column = np.unique(values.signal, return_inverse=True)
    rows, row = np.unique(values.frame, return_inverse=True)
    at_a_time = max(1, _CELLS // (1 + len(seen)))

    def blocks() -> Iterator[NDArray[np.float64]]:
        for start in range(0, len(rows), at_a_time):
            taken = rows[start : start + at_a_time]
            low, high = np.searchsorted(row, (start, start + len(taken)))
            block = np.full((len(taken), 1 + len(seen)), np.nan)
            block[:, 0] = frames.timestamps_ns[taken] / _NS
            block[row[low:high] - start, 1 + column[low:high]] = values.value[low:high]
            yield block

    return tuple(values.names[index] for index in seen), blocks()


def on_grid(
    frames: Frames, buses: Sequence[Bus], rate_hz: int
) -> tuple[tuple[str, ...], Iterator[NDArray[np.float64]]]:
    """Column names, and rows float64[n, 1 + columns] of each tick: its time and every signal's latest value."""
    choices = default_choices(buses, frames)
    if len(choices) > SIGNALS_MAX:
        raise TableError(
            f"{len(choices)} signals occur, and a grid has room for {SIGNALS_MAX}: give fewer DBCs, or no --rate"
        )
    plan = build_plan(buses, choices, rate_hz=rate_hz)
    schema = plan.schema

    def blocks() -> Iterator[NDArray[np.float64]]:
        for run in sample_log(Sampler(plan), frames):
            ticks = np.arange(run.first_tick, run.end_tick)
            values = schema.to_physical(run.counts, run.states)
            yield np.column_stack((ticks * schema.period_ns / _NS, values))

    return schema.names, blocks()


def write_table(path: Path, names: Sequence[str], blocks: Iterator[NDArray[np.float64]]) -> int:
    """Write CSV or Parquet, as the name of the file says; returns the number of rows. Raises TableError, OSError."""
    schema = pa.schema([(name, pa.float64()) for name in (TIME, *names)])
    writers: dict[str, Any] = {".csv": csv.CSVWriter, ".parquet": parquet.ParquetWriter}
    if path.suffix.lower() not in writers:
        raise TableError(f"{path}: the name must end in .csv or .parquet")
    tidy = _without_tails if path.suffix.lower() == ".csv" else None
    count = 0
    with writers[path.suffix.lower()](str(path), schema) as writer:
        for block in blocks:
            if tidy:
                tidy(block[:, 1:])
            columns = [
                pa.array(column, pa.float64(), from_pandas=True) for column in block.T
            ]  # NaN becomes null
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(block)
    return count


def _without_tails(values: NDArray[np.float64]) -> None:
    """Round to 12 significant digits, in place: 7 counts of 0.1 read 0.7 and not 0.7000000000000001."""
    some = np.isfinite(values) & (np.abs(values) > _SMALLEST)
    scale = 10.0 ** (11 - np.floor(np.log10(np.abs(values[some]))))
    values[some] = np.round(values[some] * scale) / scale
