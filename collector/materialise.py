"""Rows that people read, made of decoded blocks: one record a second of every vehicle, and values as JSON."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.records import Availability, Records
from codec.schema import NS, Kind, Schema, Signal
from collector import times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Value = float | int | str | None
_FLOAT_DIGITS = 7  # significant ones of a float signal


class Readable:
    """Values of one schema as people write them: rounded to the signal's own resolution, words for value tables."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._names = schema.names
        self._words = [dict(signal.labels) for signal in schema.signals]
        self._digits = [_digits(signal) for signal in schema.signals]

    def values(self, records: Records, index: int) -> dict[str, Value]:
        """{signal: number, word, or None where it is not available} of one record."""
        row = records.slice(index, index + 1)
        physical = self.schema.to_physical(row.counts, row.states)[0]
        return {
            name: self.value(
                column, int(row.counts[0, column]), int(row.states[0, column]), float(physical[column])
            )
            for column, name in enumerate(self._names)
        }

    def value(self, column: int, count: int, state: int, physical: float) -> Value:
        if state != Availability.AVAILABLE or not math.isfinite(physical):
            return None
        word = self._words[column].get(count)
        if word is not None:
            return word
        digits = self._digits[column]
        if digits is None:
            return float(f"{physical:.{_FLOAT_DIGITS}g}")
        return round(physical, digits) if digits > 0 else round(physical)

    def seconds(self, records: Records, offset_ns: int, *, continues: bool) -> Iterator[tuple[int, str, str]]:
        """(second of Unix time, timestamp, JSON) of the first record in each second.

        `continues`: the record before the first stands right before it in this stream, so that its second may have begun
        in the block before.
        """
        for index in first_of_seconds(records, self.schema.period_ns, offset_ns, continues=continues):
            wall_ns = (records.first_tick + int(index)) * self.schema.period_ns + offset_ns
            data = json.dumps(self.values(records, int(index)), separators=(",", ":"), ensure_ascii=False)
            yield wall_ns // NS, times.to_text(wall_ns), data


def first_of_seconds(
    records: Records, period_ns: int, offset_ns: int, *, continues: bool
) -> NDArray[np.int64]:
    """Indices of the records that are the first in their second."""
    # Seconds relative to the first record's own: ticks times periods of a clock gone mad would not fit int64.
    start_ns = (records.first_tick * period_ns + offset_ns) % NS
    seconds = (start_ns + np.arange(len(records), dtype=np.int64) * period_ns) // NS
    first = np.ones(len(records), np.bool_)
    first[1:] = seconds[1:] != seconds[:-1]
    first[0] = not continues or start_ns < period_ns
    return np.flatnonzero(first)


def to_json(values: dict[str, Any]) -> str:
    """Compact JSON; NaN and infinities, which JSON does not have, must not be in it."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _digits(signal: Signal) -> int | None:
    """Decimals that tell its counts apart; None for float signals."""
    if signal.kind in (Kind.FLOAT32, Kind.FLOAT64):
        return None
    return max(_decimals(signal.factor), _decimals(signal.offset))


def _decimals(number: float) -> int:
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # schemas hold finite numbers only
    return min(max(-exponent, 0), 15)
