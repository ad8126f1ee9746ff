"""What a vehicle sampled and committed against what the collector gives back, in counts.

Rules
- A record is named by (stream_no, tick). Nothing here looks at wall time or at the order of arrival.
- Errors of scaled signals are counts over the counts that the threshold allows, on circles the short way round; those
  of float signals are physical. A difference where none is allowed is infinite, so 1.0 is the most that passes.
- Availability must be equal: a value where there was none, or none where there was one, is a different record.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability, Records, concatenate
from codec.schema import Kind, Schema, Signal, physical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    _Stretch = tuple[int, Records]


ROWS = 1024  # compared at a time: bounds memory, and columns of so many fit a cache


@dataclass(frozen=True, slots=True)
class Comparison:
    """Counts of records, and the worst error of any signal of any record."""

    committed: int  # distinct records in the side log
    stored: int  # distinct records in the store that were committed
    missing: int
    duplicated: int  # times a record stands in the store beyond the first
    invented: int  # distinct records in the store that were never committed
    availability_differs: int  # values
    max_error_over_threshold: float
    worst_signal: str  # where that is; empty if every value is exact

    @property
    def whole(self) -> bool:
        """Every record once, every value available where it was, within its threshold."""
        wrong = self.missing + self.duplicated + self.invented + self.availability_differs
        return wrong == 0 and self.max_error_over_threshold <= 1.0


def compare(schema: Schema, committed: Iterable[_Stretch], stored: Iterable[_Stretch]) -> Comparison:
    """Both sides as (stream_no, records) in any order, overlaps included."""
    sampled_streams, _ = _by_stream(schema, committed)
    stored_streams, duplicated = _by_stream(schema, stored)
    found = lacking = invented = differs = 0
    worst = np.zeros(len(schema.signals))
    for stream_no in sorted(sampled_streams.keys() | stored_streams.keys()):
        ours = sampled_streams.get(stream_no, _nothing(schema))
        theirs = stored_streams.get(stream_no, _nothing(schema))
        _, mine, its = np.intersect1d(ours.ticks, theirs.ticks, assume_unique=True, return_indices=True)
        found += len(mine)
        lacking += len(ours.ticks) - len(mine)
        invented += len(theirs.ticks) - len(its)
        for start in range(0, len(mine), ROWS):
            left, right = mine[start : start + ROWS], its[start : start + ROWS]
            differs += int(np.count_nonzero(ours.states[left] != theirs.states[right]))
            worst = np.maximum(worst, _worst_errors(schema, ours, left, theirs, right))
    at = int(np.argmax(worst))
    return Comparison(
        committed=found + lacking,
        stored=found,
        missing=lacking,
        duplicated=duplicated,
        invented=invented,
        availability_differs=differs,
        max_error_over_threshold=float(worst[at]),
        worst_signal=schema.signals[at].name if worst[at] > 0 else "",
    )


def _worst_errors(
    schema: Schema, ours: _Stream, left: NDArray[np.int64], theirs: _Stream, right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """float64[m]: each signal's largest error over its threshold among pairs of records, given by their rows."""
    available = Availability.AVAILABLE
    both = ((ours.states[left] == available) & (theirs.states[right] == available)).T
    sampled, stored = ours.counts[left].T.copy(), theirs.counts[right].T.copy()
    worst = np.zeros(len(schema.signals))
    for column in np.flatnonzero((both & (sampled != stored)).any(axis=1)):
        where = both[column]
        errors = error_over_threshold(schema.signals[column], sampled[column][where], stored[column][where])
        worst[column] = errors.max()
    return worst


def error_over_threshold(
    signal: Signal, sampled: NDArray[np.int64], stored: NDArray[np.int64]
) -> NDArray[np.float64]:
    """float64[n] of counts int64[n] of available values: 1.0 is just allowed, inf where nothing is."""
    if signal.kind is Kind.SCALED:
        errors = np.abs(sampled - stored)
        if turn := signal.turn_counts:
            errors %= turn
            errors = np.minimum(errors, turn - errors)
        return _ratio(errors.astype(np.float64), float(signal.max_error_counts))
    differ = sampled != stored  # bits: equal NaNs and infinities are equal
    if signal.threshold == 0:
        return np.where(differ, math.inf, 0.0)
    errors = np.zeros(len(sampled))
    errors[differ] = np.abs(physical(signal, sampled[differ]) - physical(signal, stored[differ]))
    return _ratio(np.nan_to_num(errors, nan=math.inf, posinf=math.inf), signal.threshold)


def _ratio(errors: NDArray[np.float64], allowed: float) -> NDArray[np.float64]:
    if allowed > 0:
        return errors / allowed
    return np.where(errors > 0, math.inf, 0.0)


@dataclass(frozen=True, slots=True)
class _Stream:
    """Distinct records in tick order: ticks int64[n], counts int64[n, m], states uint8[n, m]."""

    ticks: NDArray[np.int64]
    counts: NDArray[np.int64]
    states: NDArray[np.uint8]


def _nothing(schema: Schema) -> _Stream:
    width = len(schema.signals)
    return _Stream(np.empty(0, np.int64), np.empty((0, width), np.int64), np.empty((0, width), np.uint8))


def _by_stream(schema: Schema, stretches: Iterable[_Stretch]) -> tuple[dict[int, _Stream], int]:
    """Streams with each record once (the first that came), and how many came again."""
    parts: defaultdict[int, list[Records]] = defaultdict(list)
    for stream_no, records in stretches:
        assert records.counts.shape[1] == len(schema.signals), (stream_no, records.counts.shape)
        parts[stream_no].append(records)
    streams: dict[int, _Stream] = {}
    duplicated = 0
    for stream_no, runs in parts.items():
        joined = _joined(concatenate(runs))
        if joined is None:
            continue
        ticks, first = np.unique(joined.ticks, return_index=True)
        duplicated += len(joined.ticks) - len(ticks)
        streams[stream_no] = _Stream(ticks, joined.counts[first], joined.states[first])
    return streams, duplicated


def _joined(runs: Sequence[Records]) -> _Stream | None:
    if not runs:
        return None
    return _Stream(
        np.concatenate([np.arange(run.first_tick, run.end_tick, dtype=np.int64) for run in runs]),
        np.concatenate([run.counts for run in runs]),
        np.concatenate([run.states for run in runs]),
    )
