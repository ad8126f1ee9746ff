"""One export: pieces of a series into a file, as they come.

Rules
- Memory does not grow with the range: pieces are gathered into batches of a bounded number of values, and written.
- The file is in its place when it is whole, and not before; what went wrong leaves nothing behind.
- Values are those of the store, to the bit. What is not available, and what is missing, is there as a row without a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from collector import times
from collector.extras import how_to_install
from collector.reading.pieces import batched
from collector.reading.signals import QueryError
from collector.store import open_store
from collector.words import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from collector.reading.series import Series

FORMATS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv",),
    "arrow": (".arrow", ".feather"),
    "mdf4": (".mf4",),
}
VALUES_MAX = 2_000_000  # in one batch: 16 MB, a row group of Parquet
ROWS_MAX = 1 << 17


class Writer(Protocol):
    """A file under way."""

    def write(self, times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Rows at int64[n] Unix nanoseconds, float64[n, k]."""
        ...

    def close(self) -> None:
        """Complete, and closed."""
        ...

    def abort(self) -> None:
        """Closed, whatever is in it."""
        ...


@dataclass(frozen=True, slots=True)
class Exported:
    """`empty`: of the rows, those that stand for holes or have no signal available."""

    rows: int
    empty: int
    signals: int
    first_ns: int
    last_ns: int
    bytes: int


def run(options: argparse.Namespace) -> str:
    """Export, and say what came of it. Raises QueryError, StoreError and OSError."""
    target: Path = options.output
    kind = options.format or format_of(target)
    store = open_store(options.store)
    names = None if options.signals.strip().lower() == "all" else _names(options.signals)
    series = store.vehicle(options.vin).series(
        names, options.start, options.end, rate_hz=options.rate, fill_s=options.fill_s
    )
    done = export(series, target, kind, words=options.words)
    told = (
        f"{target}: {counted(done.rows, 'row')} of {counted(done.signals, 'signal')}, {times.to_text(done.first_ns)} to "
        f"{times.to_text(done.last_ns)}, {done.bytes:,} bytes"
    )
    if done.empty:
        told += f"; {done.empty:,} of the rows have no value: holes, or nothing was available"
    if store.unreadable:
        told += f"\n{store.unreadable} stored blocks could not be read and are left out"
    return told


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def format_of(target: Path) -> str:
    """By the file's ending. Raises QueryError."""
    for kind, endings in FORMATS.items():
        if target.suffix.lower() in endings:
            return kind
    known = ", ".join(endings[0] for endings in FORMATS.values())
    raise QueryError(f"{target}: what format? Name it with --format, or end the file's name in {known}")


def export(series: Series, target: Path, kind: str, *, words: bool = False) -> Exported:
    """Write the series to `target`, in whose place it appears at the end. Raises QueryError and OSError."""
    begin = _opener(kind)
    part = target.with_name(f".{target.name}.part{FORMATS[kind][0]}")
    rows = empty = 0
    first_ns = last_ns = 0
    writer: Writer | None = None
    try:
        rows_max = max(1, min(ROWS_MAX, VALUES_MAX // max(1, len(series.signals))))
        for piece in batched(series.pieces, rows_max):
            at, values = piece.times_ns, piece.values
            if writer is None:
                first_ns = int(at[0])
                writer = begin(part, series, first_ns, words)
            writer.write(at, values)
            rows, last_ns = rows + len(at), int(at[-1])
            empty += int(np.isnan(values).all(axis=1).sum())
        if writer is None:
            raise QueryError(series.nothing())
        writer.close()
        part.replace(target)
    except BaseException:
        if writer is not None:
            writer.abort()
        part.unlink(missing_ok=True)
        raise
    return Exported(rows, empty, len(series.signals), first_ns, last_ns, target.stat().st_size)


def _opener(kind: str) -> Callable[[Path, Series, int, bool], Writer]:
    """What begins a file. Raises QueryError where its library is missing."""
    try:
        if kind == "mdf4":
            from collector.export.mdf import MdfFile

            return MdfFile
        from collector.export import arrow

        begins: dict[str, Callable[[Path, Series, int, bool], Writer]] = {
            "parquet": arrow.ParquetFile,
            "arrow": arrow.ArrowFile,
            "csv": arrow.CsvFile,
        }
        return begins[kind]
    except ImportError as error:
        raise QueryError(
            f"{kind} needs {error.name}, which is missing: {how_to_install('reading')}"
        ) from None
