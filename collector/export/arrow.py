"""Parquet, Arrow (IPC file, Feather) and CSV: one table, a column `time` (UTC, nanoseconds) and one for each signal.

Parquet and Arrow: a signal's field has unit, threshold, source and value table as metadata; the table's metadata names the vehicle.
No value is null. CSV: the unit stands in the column's heading, `Speed [km/h]`, no value is an empty cell, and numbers have as many
digits as give the same float64 again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv, parquet

from collector.reading.frame import worded

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from collector.reading.series import Series
    from collector.reading.signals import SignalInfo

METADATA = b"deadreckon"


class Table:
    """Rows as record batches. `words`: enumerations are written as words."""

    def __init__(
        self, series: Series, *, words: bool, headings: bool = False, dictionaries: bool = True
    ) -> None:
        self._worded = [info if words and info.is_enumeration else None for info in series.signals]
        word = pa.dictionary(pa.int32(), pa.string()) if dictionaries else pa.string()
        fields = [pa.field("time", pa.timestamp("ns", "UTC"))]
        fields += [
            pa.field(
                f"{info.name} [{info.unit}]" if headings and info.unit else info.name,
                word if as_word else pa.float64(),
                metadata=field_metadata(info),
            )
            for info, as_word in zip(series.signals, self._worded, strict=True)
        ]
        about = {"vin": series.vin, "time_uncertain_ns": series.uncertain}
        self.schema = pa.schema(fields, metadata={METADATA: json.dumps(about)})

    def batch(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> Any:
        arrays = [pa.array(times_ns, self.schema.field(0).type)]
        for k, info in enumerate(self._worded):
            column = values[:, k]
            cells = (
                pa.array(column, pa.float64(), from_pandas=True)
                if info is None
                else pa.array(worded(info, column))
            )
            arrays.append(cells.cast(self.schema.field(k + 1).type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def field_metadata(info: SignalInfo) -> dict[str, str]:
    found = {"unit": info.unit, "threshold": repr(info.threshold), "source": info.source}
    if info.labels:
        found["labels"] = json.dumps([[value, word] for value, word in info.labels], ensure_ascii=False)
    return {key: text for key, text in found.items() if text}


class ParquetFile:
    def __init__(self, path: Path, series: Series, _first_ns: int, words: bool) -> None:
        self._table = Table(series, words=words)
        self._writer = parquet.ParquetWriter(path, self._table.schema, compression="zstd")

    def write(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self._writer.write_batch(self._table.batch(times_ns, values))

    def close(self) -> None:
        self._writer.close()

    abort = close


class ArrowFile:
    def __init__(self, path: Path, series: Series, _first_ns: int, words: bool) -> None:
        self._table = Table(
            series, words=words, dictionaries=False
        )  # an IPC file has one dictionary, known from the start
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(path, self._table.schema, options=options)

    def write(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self._writer.write_batch(self._table.batch(times_ns, values))

    def close(self) -> None:
        self._writer.close()

    abort = close


class CsvFile:
    def __init__(self, path: Path, series: Series, _first_ns: int, words: bool) -> None:
        self._table = Table(series, words=words, headings=True, dictionaries=False)
        self._writer = csv.CSVWriter(path, self._table.schema)

    def write(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self._writer.write_batch(self._table.batch(times_ns, values))

    def close(self) -> None:
        self._writer.close()

    abort = close
