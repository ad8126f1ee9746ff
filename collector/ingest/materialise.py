"""Rows that people read, made of decoded blocks: which records become one, and values as JSON."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from codec.schema import NS, Kind, Signal, physical
from collector import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from codec.records import Records
    from codec.schema import Schema

Value = float | int | str | None
ROWS_CHARACTERS_MAX = (
    4 << 20
)  # of one block's rows: half a minute of the widest vehicle, or of everyday ones at 50 Hz
TEXTS_BYTES_MAX = 64 << 20  # kept to be written again, of all schemas together
TEXT_BYTES = 120  # of one, beside itself: its count, and its place in a dict
_FLOAT_DIGITS = 7  # significant ones of a float signal


@dataclass(frozen=True, slots=True)
class Materialise:
    """Which records become rows: so many a second (0: none), and all of them around where a fault opens and ends."""

    rate_hz: float = 1.0
    before_s: float = 5.0
    after_s: float = 5.0

    @property
    def step_ns(self) -> int:
        return round(NS / self.rate_hz) if self.rate_hz else 0


class Room:
    """For texts that are kept, of all schemas that are read in one place. Once it is full, all are made again."""

    def __init__(self, bytes_max: int = TEXTS_BYTES_MAX) -> None:
        self._bytes_max = self._left = bytes_max
        self._readables: WeakSet[Readable] = WeakSet()

    def enter(self, readable: Readable) -> None:
        self._readables.add(readable)

    def take(self, text: str) -> None:
        """Before a text is kept."""
        self._left -= sys.getsizeof(text) + TEXT_BYTES
        if self._left < 0:
            for readable in self._readables:
                readable.forget_texts()
            self._left = self._bytes_max


class Readable:
    """Values of one schema as people write them: rounded to the signal's own resolution, words for value tables."""

    def __init__(self, schema: Schema, room: Room | None = None) -> None:
        self.schema = schema
        self._names = schema.names
        self._written = [_Written(signal) for signal in schema.signals]
        room = room or Room()
        self._texts = [_Texts(name, one, room) for name, one in zip(self._names, self._written, strict=True)]
        room.enter(self)

    def forget_texts(self) -> None:
        for texts in self._texts:
            texts.clear()

    def values(self, records: Records, index: int) -> dict[str, Value]:
        """{signal: number, word, or None where it is not available} of one record."""
        counts, states = records.counts[index].tolist(), records.states[index].tolist()
        return {
            name: None if state else written.value(count)
            for name, written, count, state in zip(self._names, self._written, counts, states, strict=True)
        }

    def text(self, records: Records, index: int) -> str:
        """`to_json` of the values of one record."""
        counts, states = records.counts[index].tolist(), records.states[index]
        if not states.any():  # Availability.AVAILABLE is 0
            members = [texts[count] for texts, count in zip(self._texts, counts, strict=True)]
        else:
            members = [
                texts.missing if state else texts[count]
                for texts, count, state in zip(self._texts, counts, states.tolist(), strict=True)
            ]
        return "{" + ",".join(members) + "}"

    def rows(
        self, records: Records, indices: Iterable[int], offset_ns: int
    ) -> Iterator[tuple[int, str, str]]:
        """(tick, timestamp, JSON) of these records.

        After ROWS_CHARACTERS_MAX no more rows are made: a block of a few hundred bytes can hold an hour
        of seconds, and whoever wants them all decodes it.
        """
        written = 0
        for index in indices:
            wall_ns = (records.first_tick + index) * self.schema.period_ns + offset_ns
            if written > ROWS_CHARACTERS_MAX:
                break
            data = self.text(records, index)
            written += len(data)
            yield records.first_tick + index, times.to_text(wall_ns), data


def first_of_steps(
    records: Records, period_ns: int, offset_ns: int, step_ns: int, *, continues: bool
) -> list[int]:
    """Indices of the records that are the first in their step of wall time; of none if there are no steps.

    `continues`: the record before the first stands right before it in this stream, so that its step may have begun
    in the block before.
    """
    count = len(records)
    if step_ns <= period_ns:
        return list(range(count)) if step_ns else []
    # In Python's integers: ticks times periods of a clock gone mad would not fit int64.
    into_step_ns = (records.first_tick * period_ns + offset_ns) % step_ns
    first = [] if continues and into_step_ns >= period_ns else [0]
    left_ns = step_ns - into_step_ns
    while (index := -(-left_ns // period_ns)) < count:
        first.append(index)
        left_ns += step_ns
    return first


class _Texts(dict[int, str]):
    """One signal's members of JSON objects by its counts, as far as they were written before: vehicles are alike, and values few."""

    def __init__(self, name: str, written: _Written, room: Room) -> None:
        self._name, self._written, self._room = name, written, room
        self.missing = to_json({name: None})[1:-1]

    def __missing__(self, count: int) -> str:
        text = to_json({self._name: self._written.value(count)})[1:-1]
        self._room.take(text)
        self[count] = text
        return text


class _Written:
    """How one signal's counts are written."""

    __slots__ = ("_digits", "_factor", "_offset", "_signal", "_words")

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._words = dict(signal.labels)
        self._digits = digits_of(signal)
        self._factor, self._offset = signal.factor, signal.offset

    def value(self, count: int) -> Value:
        word = self._words.get(count)
        if word is not None:
            return word
        if self._signal.kind is Kind.SCALED:
            number = count * self._factor + self._offset
        else:
            number = float(physical(self._signal, np.array([count], np.int64))[0])
        return written_number(number, self._digits)


def written_number(number: float, digits: int | None) -> float | int | None:
    """A value with so many decimals (None: of a float signal), as JSON and people take it; None where it is not finite."""
    if not math.isfinite(number):
        return None
    if digits == 0:
        return round(number)
    return float(f"{number:.{_FLOAT_DIGITS}g}") if digits is None else round(number, digits)


def to_json(values: dict[str, Any]) -> str:
    """Compact JSON; NaN and infinities, which JSON does not have, must not be in it."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digits_of(signal: Signal) -> int | None:
    """Decimals that tell its counts apart; None for float signals."""
    if signal.kind in (Kind.FLOAT32, Kind.FLOAT64):
        return None
    return max(_decimals(signal.factor), _decimals(signal.offset))


def _decimals(number: float) -> int:
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # schemas hold finite numbers only
    return min(max(-exponent, 0), 15)
