"""One vehicle of a store, as a notebook sees it: `open_store("collector.db").vehicle(vin)`.

What is asked for by name and time comes in the order of time, at full rate or thinned out, whatever streams, outboxes and schemas it
came in. Every question is answered from the store as it is then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from collector import times
from collector.reading.moments import Moment, as_ns
from collector.reading.pieces import Piece, merged, thinned, with_holes
from collector.reading.rows import Fault, Gap, typed
from collector.reading.signals import (
    Columns,
    QueryError,
    SignalInfo,
    check_units,
    chosen_signals,
    known_signals,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from codec.schema import Schema
    from collector.reading.frame import Words
    from collector.store.reader import Store
    from collector.store.stored import StoredStream, StreamSpan

FILL_S = 60.0  # a tunnel's hole is whole, a night in the garage is two rows


@dataclass(frozen=True, slots=True)
class Series:
    """Some signals of a vehicle over a range: what they are, and their records in order.

    `signals` are the columns of `pieces`' values. `uncertain`: [start_ns, end_ns) of streams whose clock was never set.
    """

    vin: str
    signals: tuple[SignalInfo, ...]
    pieces: Iterator[Piece]
    uncertain: tuple[tuple[int, int], ...]


class Vehicle:
    """Reads one vehicle. Made by `Store.vehicle`."""

    def __init__(self, store: Store, vin: str) -> None:
        self.vin = vin
        self._store = store

    def __repr__(self) -> str:
        return f"<vehicle {self.vin} of {self._store.address}>"

    def signals(self) -> tuple[SignalInfo, ...]:
        """Every signal that a stored stream of it has, by name."""
        return known_signals(_schemas(self._store.spans(self.vin)))

    def streams(self) -> list[StoredStream]:
        """Every stream, with how much of it is stored."""
        return self._store.streams(self.vin)

    def faults(self, *, severity: str | None = None, only_open: bool = False) -> list[Fault]:
        """In the order in which they were detected."""
        rows = self._store.faults(self.vin, severity=severity, only_open=only_open)
        return [typed(Fault, row) for row in rows]

    def gaps(self) -> list[Gap]:
        """By stream and seq."""
        return [typed(Gap, row) for row in self._store.gaps(self.vin)]

    def series(
        self,
        names: Sequence[str] | str | None = None,
        start: Moment = None,
        end: Moment = None,
        *,
        rate_hz: float | None = None,
        fill_s: float | None = FILL_S,
    ) -> Series:
        """Records with start <= time < end, piece by piece; nothing is read before the first piece is asked for.

        names: signals, in the order of the columns; None: all, by name. rate_hz: at most so many records a second, the first of each
        slot. fill_s: holes up to so long get a row of NaN for every missing tick, longer ones for the first and the last; None:
        only records, no such rows. Raises QueryError.
        """
        now_ns = time.time_ns()
        start_ns, end_ns = as_ns(start, now_ns), as_ns(end, now_ns)
        if start_ns is not None and end_ns is not None and end_ns <= start_ns:
            raise QueryError(f"the range ends at {times.to_text(end_ns)}, before it begins")
        spans = self._store.spans(self.vin)
        names = [names] if isinstance(names, str) else names
        chosen = chosen_signals(names, known_signals(_schemas(spans)), self.vin)
        within = [
            span
            for span in spans
            if (start_ns is None or span.end_ns > start_ns) and (end_ns is None or span.start_ns < end_ns)
        ]
        check_units(chosen, within)
        wanted = [info.name for info in chosen]
        pieces = merged(
            [
                (
                    span.start_ns if start_ns is None else max(span.start_ns, start_ns),
                    partial(self._pieces, span, wanted, start_ns, end_ns),
                )
                for span in within
            ]
        )
        if rate_hz is not None:
            if not 0 < rate_hz <= 1e9:
                raise QueryError(f"a rate of {rate_hz:g} a second; it must be more than 0")
            pieces = thinned(pieces, max(1, round(times.NS / rate_hz)))
        if fill_s is not None:
            if not fill_s >= 0:
                raise QueryError(f"fill_s of {fill_s:g}; it must be 0 or more")
            pieces = with_holes(pieces, int(min(fill_s, 1e9) * times.NS))
        uncertain = tuple((span.start_ns, span.end_ns) for span in within if not span.synchronised)
        return Series(self.vin, chosen, pieces, uncertain)

    def _pieces(
        self, span: StreamSpan, names: Sequence[str], start_ns: int | None, end_ns: int | None
    ) -> Iterator[Piece]:
        columns = Columns(span.schema, names)
        period_ns = span.schema.period_ns
        for run in self._store.runs_of(span, start_ns, end_ns):
            ticks = np.arange(len(run.records), dtype=np.int64)
            yield Piece(
                span.wall_ns(run.records.first_tick) + ticks * period_ns,
                columns.values(run.records),
                period_ns,
            )

    def frame(
        self,
        names: Sequence[str] | str | None = None,
        start: Moment = None,
        end: Moment = None,
        *,
        rate_hz: float | None = None,
        fill_s: float | None = FILL_S,
        words: Words = "category",
    ) -> pd.DataFrame:
        """The same as a DataFrame: see `collector.reading.frame`. Raises QueryError."""
        from collector.reading.frame import frame_of

        return frame_of(self.series(names, start, end, rate_hz=rate_hz, fill_s=fill_s), words)


def _schemas(spans: Sequence[StreamSpan]) -> list[Schema]:
    """Each once, the one that was used last at the end."""
    found: dict[bytes, Schema] = {}
    for span in sorted(spans, key=lambda one: one.start_ns):
        found.pop(span.schema.hash, None)
        found[span.schema.hash] = span.schema
    return list(found.values())
