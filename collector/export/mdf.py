"""MDF4, for the tools of measurement engineers: one channel group, float64 channels with units, value tables of enumerations as conversions.

Times are float64 seconds from the file's start time, which is the first row's, cut to the microsecond. No value is NaN.
"""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asammdf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from collector.reading.series import Series
    from collector.reading.signals import SignalInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPRESSED = 2  # transposed, then deflated


class MdfFile:
    """Samples go to a temporary file of asammdf's as they come, and into their own at the end."""

    def __init__(self, path: Path, series: Series, first_ns: int, words: bool) -> None:  # noqa: ARG002 - both are always in it
        self._path = path
        self._series = series
        start = _EPOCH + timedelta(microseconds=first_ns // 1000)
        self._start_ns = (start - _EPOCH) // timedelta(microseconds=1) * 1000
        self._file = asammdf.MDF(version="4.10")
        self._file.header.start_time = start
        self._begun = False

    def write(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        seconds = (times_ns - self._start_ns) / 1e9
        columns = [np.ascontiguousarray(values[:, k]) for k in range(values.shape[1])]
        if self._begun:
            self._file.extend(0, [(column, None) for column in (seconds, *columns)])
            return
        self._begun = True
        signals = [
            asammdf.Signal(
                column,
                seconds,
                name=info.name,
                unit=info.unit,
                comment=info.source,
                conversion=conversion(info),
            )
            for info, column in zip(self._series.signals, columns, strict=True)
        ]
        self._file.append(signals, acq_name=self._series.vin, comment=self._series.vin, common_timebase=True)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # asammdf prints how fast it was
            self._file.save(self._path, overwrite=True, compression=COMPRESSED)
        self._file.close()

    def abort(self) -> None:
        self._file.close()


def conversion(info: SignalInfo) -> dict[str, object] | None:
    """Asammdf's "value to text" of a value table."""
    if not info.is_enumeration:
        return None
    table: dict[str, object] = {}
    for number, (value, word) in enumerate(info.labels):
        table |= {f"val_{number}": value, f"text_{number}": word}
    return table
