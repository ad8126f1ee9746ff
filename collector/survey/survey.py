"""Surveys of blocks that lie side by side, and of single runs of records.

Rules
- A survey is of the records alone: it does not depend on what came before, nor on which blocks lie beside them.
- Scaled signals are surveyed in counts. Others are bits whose order tells nothing: their values are physical, and count where
  they are finite.
- A signal with no value has its least above its greatest.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec.records import Availability
from codec.schema import Kind, physical
from collector.survey import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codec.records import Records
    from codec.schema import Schema


class Survey(NamedTuple):
    """Of some records of m signals, f of which are not scaled (see `others`), in the order of the schema."""

    lows: NDArray[np.int64]  # [m], counts; of scaled signals
    highs: NDArray[np.int64]
    numbers: NDArray[np.int64]  # [m], how many values there are
    sums: NDArray[np.float64]  # [m], of counts; of others, of values
    least: NDArray[np.float64]  # [f], values
    most: NDArray[np.float64]


@lru_cache(64)
def others(schema: Schema) -> tuple[int, ...]:
    """Columns of the signals that are not scaled."""
    return tuple(column for column, signal in enumerate(schema.signals) if signal.kind is not Kind.SCALED)


class Surveys:
    """Of b blocks of n records each: counts int64[b, m, n], states uint8[b, m, n]."""

    def __init__(self, schema: Schema, counts: NDArray[np.int64], states: NDArray[np.uint8]) -> None:
        blocks, signals, records = counts.shape
        shape, columns = (blocks, signals), others(schema)
        self.lows, self.highs = np.empty(shape, np.int64), np.empty(shape, np.int64)
        self._numbers, self._sums = np.empty(shape, np.int64), np.empty(shape)
        self._least, self._most = np.empty((blocks, len(columns))), np.empty((blocks, len(columns)))
        kernels.survey(
            counts.reshape(-1, records),
            states.reshape(-1, records),
            self.lows.reshape(-1),
            self.highs.reshape(-1),
            self._numbers.reshape(-1),
            self._sums.reshape(-1),
        )
        for at, column in enumerate(columns):
            values = physical(schema.signals[column], counts[:, column])
            known = (states[:, column] == Availability.AVAILABLE) & np.isfinite(values)
            self._numbers[:, column] = known.sum(axis=1)
            with np.errstate(over="ignore", invalid="ignore"):  # what has no sum has no mean
                self._sums[:, column] = np.where(known, values, 0.0).sum(axis=1)
            self._least[:, at] = np.where(known, values, np.inf).min(axis=1, initial=np.inf)
            self._most[:, at] = np.where(known, values, -np.inf).max(axis=1, initial=-np.inf)

    def of(self, block: int) -> Survey:
        return Survey(
            self.lows[block],
            self.highs[block],
            self._numbers[block],
            self._sums[block],
            self._least[block],
            self._most[block],
        )


def survey_of(schema: Schema, records: Records) -> Survey:
    counts, states = np.ascontiguousarray(records.counts.T), np.ascontiguousarray(records.states.T)
    return Surveys(schema, counts[np.newaxis], states[np.newaxis]).of(0)
