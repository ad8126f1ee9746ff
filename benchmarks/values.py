"""Values as all schemes are compared: float64[n, m], whatever a scheme made of them.

Rules
- A scaled signal's value is its count (exact in a float64: it has at most 47 bits), any other's is physical. What is
  not available is NaN.
- A bound is in the same unit: counts for scaled signals, physical for others; 0 is lossless. On circles errors go the
  short way round.
- Expected is what was sampled. A value where there was none, or none where there was one, is out of bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability
from codec.schema import Kind, Schema, physical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from codec.records import Records

    Values = NDArray[np.float64]

_ROWS = 4096  # judged at a time; bounds memory


@dataclass(frozen=True, slots=True)
class Error:
    """What a scheme got wrong."""

    beyond_counts: float  # how far the worst error lies beyond its bound, in counts; 0: none does
    records_out: int  # records with at least one value out of bound


def values_of(schema: Schema, runs: Iterable[Records]) -> Values:
    """What was sampled, one record after the other."""
    parts = []
    for run in runs:
        values = run.counts.astype(np.float64)
        for column, signal in enumerate(schema.signals):
            if signal.kind is not Kind.SCALED:
                values[:, column] = physical(signal, run.counts[:, column])
        values[run.states != Availability.AVAILABLE] = np.nan
        parts.append(values)
    return np.concatenate(parts)


def to_physical(schema: Schema, values: Values) -> Values:
    """In the units of the DBC."""
    factors, offsets, _ = _scales(schema)
    return values * factors + offsets


def from_physical(schema: Schema, values: Values) -> Values:
    """Inverse of `to_physical`: the counts that physical values stand for."""
    factors, offsets, scaled = _scales(schema)
    counts = (values - offsets) / factors
    return np.where(scaled, np.rint(counts), values)


def bounds(schema: Schema) -> NDArray[np.float64]:
    """float64[m]: the largest error allowed."""
    return np.array(
        [
            signal.max_error_counts if signal.kind is Kind.SCALED else signal.threshold
            for signal in schema.signals
        ],
        np.float64,
    )


def turns(schema: Schema) -> NDArray[np.float64]:
    """float64[m]: counts of one turn; infinite for what is no circle."""
    return np.array([signal.turn_counts or math.inf for signal in schema.signals], np.float64)


def judge(schema: Schema, expected: Values, found: Values, *, availability: bool = True) -> Error:
    """Compares record by record. Without `availability`, values are not looked at where none was expected."""
    assert expected.shape == found.shape, (expected.shape, found.shape)
    allowed, around = bounds(schema), turns(schema)
    counts_each = np.array(
        [1.0 if signal.kind is Kind.SCALED else 1 / abs(signal.factor) for signal in schema.signals]
    )
    beyond, records_out = 0.0, 0
    for start in range(0, len(expected), _ROWS):
        ours, theirs = expected[start : start + _ROWS], found[start : start + _ROWS]
        both = ~np.isnan(ours) & ~np.isnan(theirs)
        errors = np.zeros(ours.shape)
        differ = both & (ours != theirs)
        np.subtract(ours, theirs, out=errors, where=differ)
        errors = np.abs(errors) % around
        errors = np.minimum(errors, around - errors)
        over = errors > allowed
        missing = (np.isnan(ours) != np.isnan(theirs)) & (availability | ~np.isnan(ours))
        records_out += int(np.count_nonzero((over | missing).any(axis=1)))
        if over.any():
            beyond = max(beyond, float(((errors - allowed) * counts_each)[over].max()))
    return Error(beyond, records_out)


def _scales(schema: Schema) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """factor, offset and whether it is scaled, of each column; 1 and 0 for what is physical already."""
    scaled = np.array([signal.kind is Kind.SCALED for signal in schema.signals])
    factors = np.array([signal.factor for signal in schema.signals])
    offsets = np.array([signal.offset for signal in schema.signals])
    return np.where(scaled, factors, 1.0), np.where(scaled, offsets, 0.0), scaled
