"""One vehicle of a store, as a notebook sees it: `open_store("collector.db").vehicle(vin)`.

What is asked for by name and time comes in the order of time, at full rate or thinned out, whatever streams, outboxes and schemas it
came in. Every question is answered from the store as it is then.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from collector import times
from collector.reading.frame import Words, frame_of
from collector.reading.moments import Moment, as_ns
from collector.reading.pieces import Piece, batched, merged, thinned, with_holes
from collector.reading.reduced import POINTS_MAX, Buckets, Reduced, grid_of, missing_stretches
from collector.reading.rows import Fault, Gap, typed
from collector.reading.series import Series
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
    from collector.store.stored import StoredMinutes, StoredRun, StoredStream, StreamSpan

BATCH_RECORDS = 1 << 15  # so many are put into buckets at once
WITNESSES_MAX = 8  # signals that are asked whether a minute was rolled up at all
FILL_S = 60.0  # a tunnel's hole is whole, a night in the garage is two rows


class Source(Protocol):
    """What a vehicle is read from: `collector.store.Store` is one."""

    @property
    def address(self) -> object: ...

    def spans(self, vin: str, start_ns: int | None = None, end_ns: int | None = None) -> list[StreamSpan]: ...

    def runs_of(
        self, span: StreamSpan, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[StoredRun]: ...

    def minutes(self, span: StreamSpan, signal: str, low: int, high: int) -> StoredMinutes: ...

    def streams(self, vin: str | None = None) -> list[StoredStream]: ...

    def faults(
        self, vin: str | None = None, *, severity: str | None = None, only_open: bool = False
    ) -> list[dict[str, Any]]: ...

    def gaps(self, vin: str | None = None) -> list[dict[str, Any]]: ...

    def expired_ns(self, vin: str) -> int | None: ...


class Vehicle:
    """Reads one vehicle. Made by `Store.vehicle`."""

    def __init__(self, store: Source, vin: str) -> None:
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

    def stored(self) -> str:
        """In words, which of its records are stored."""
        spans, expired_ns = self._store.spans(self.vin), self._store.expired_ns(self.vin)
        before = f"; those before {times.to_text(expired_ns)} have expired" if expired_ns is not None else ""
        if not spans:
            return f"none of it is stored{before}"
        first, last = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
        return f"stored are {times.to_text(first)} to {times.to_text(last)}{before}"

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
        chosen, within, start_ns, end_ns = self._asked(names, start, end)
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
        return Series(self.vin, chosen, pieces, uncertain, self.stored)

    def reduced(self, signal: str, start: Moment = None, end: Moment = None, points: int = 2000) -> Reduced:
        """A signal over a range in at most so many points, its peaks kept: see `collector.reading.reduced` for what is promised.

        Long ranges are read from the store's minutes, and decode only what these do not cover. Without start or end: from the
        first record, to the last. Raises QueryError.
        """
        if not 2 <= points <= POINTS_MAX:
            raise QueryError(f"points: {points}; it must be 2 to {POINTS_MAX}")
        (info,), spans, start_ns, end_ns = self._asked(signal, start, end)
        start_ns = min((span.start_ns for span in spans), default=0) if start_ns is None else start_ns
        end_ns = max((span.end_ns for span in spans), default=start_ns + 1) if end_ns is None else end_ns
        buckets = Buckets(grid_of(start_ns, end_ns, points, spans))
        for span in spans:
            if info.name in span.schema.names:
                self._reduce(span, info.name, start_ns, end_ns, buckets)
        return buckets.reduced(info)

    def _reduce(self, span: StreamSpan, name: str, start_ns: int, end_ns: int, buckets: Buckets) -> None:
        within = range(span.tick_at(start_ns), span.tick_at(end_ns))
        low, high = max(within.start, span.first_tick), min(within.stop, span.end_tick)
        minute = 60 * span.schema.rate_hz
        first = max(-(-within.start // minute), span.first_tick // minute) * minute
        # A stream's last minute may be under way, and what was written of it older than its blocks.
        end = min(within.stop // minute, (span.end_tick - 1) // minute) * minute
        if not buckets.grid.minutes or first >= end:
            stretches = [(low, high)]
        else:
            minutes = self._store.minutes(span, name, first, end)
            buckets.add_minutes(span, minutes)
            missing = missing_stretches(first, end, minute, minutes.ticks)
            stretches = [(low, first), *self._not_rolled_up(span, name, missing), (end, high)]
        for start, stop in stretches:
            pieces = (
                self._pieces(span, [name], span.wall_ns(start), span.wall_ns(stop)) if start < stop else ()
            )
            for piece in batched(pieces, BATCH_RECORDS):
                buckets.add_records(span, within, piece)

    def _not_rolled_up(
        self, span: StreamSpan, name: str, stretches: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Of stretches without a minute of this signal, those without one of others too: not the signal is missing there."""
        minute = 60 * span.schema.rate_hz
        others = [other for other in span.schema.names if other != name]
        for other in others[:WITNESSES_MAX] if stretches else ():
            present = self._store.minutes(span, other, stretches[0][0], stretches[-1][1]).ticks
            stretches = [
                rest for start, stop in stretches for rest in missing_stretches(start, stop, minute, present)
            ]
            if not stretches:
                break
        return stretches

    def _asked(
        self, names: Sequence[str] | str | None, start: Moment, end: Moment
    ) -> tuple[tuple[SignalInfo, ...], list[StreamSpan], int | None, int | None]:
        """The signals that are meant, the streams of the range, and its bounds. Raises QueryError."""
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
        return chosen, within, start_ns, end_ns

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
        return frame_of(self.series(names, start, end, rate_hz=rate_hz, fill_s=fill_s), words)


def _schemas(spans: Sequence[StreamSpan]) -> list[Schema]:
    """Each once, the one that was used last at the end."""
    found: dict[bytes, Schema] = {}
    for span in sorted(spans, key=lambda one: one.start_ns):
        found.pop(span.schema.hash, None)
        found[span.schema.hash] = span.schema
    return list(found.values())
