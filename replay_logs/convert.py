"""A table of measurements as a DBC and a log: a test stand that the rest takes like any vehicle.

Rules
- factor is the resolution, offset the least value in whole steps of it, and length as many bits as the values take, with one code
  left for "not available", which is what an empty cell or NaN becomes. So what is decoded is within half a resolution of the table.
- Signals of a message share frames of 8 bytes, in the order of the mapping. All frames of a row are stamped at its time, one after
  the other up to it: a record at that time has the whole row.
- A row whose time does not grow is left out, and counted.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np

from replay_logs.mapping import WHITESPACE, Column, MappingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from replay_logs.mapping import TableMapping

FRAME_BITS = 64
BITS_MAX = 32  # of one signal: beyond, its resolution is finer than any sensor's
FIRST_ID, LAST_ID = 0x100, 0x7FF
FRAME_US = 130  # one frame of 8 bytes at 1 Mbit/s, with stuffing
ROWS_MAX = 10_000_000
CHANNEL = "can0"


class TableError(ValueError):
    """A table that cannot be converted; the message names file, line and column."""


@dataclass(frozen=True, slots=True)
class Laid:
    """One signal in its frame, least significant bit first."""

    signal: Column
    start: int
    length: int
    factor: float
    offset: float
    minimum: float
    maximum: float
    counts: NDArray[np.int64]  # [rows], the highest code where the table has no value

    @property
    def not_available(self) -> int:
        return (1 << self.length) - 1


@dataclass(frozen=True, slots=True)
class LaidMessage:
    """A frame and what it carries."""

    name: str
    frame_id: int
    signals: tuple[Laid, ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """A table as messages. `times_us`: int64[rows], Unix time."""

    messages: tuple[LaidMessage, ...]
    times_us: NDArray[np.int64]
    left_out: int  # rows whose time did not grow

    @property
    def period_us(self) -> int:
        """Between rows, as a rule."""
        return int(np.median(np.diff(self.times_us))) if len(self.times_us) > 1 else 1_000_000


def convert(path: Path, mapping: TableMapping) -> Converted:
    """Raises TableError, MappingError and OSError."""
    names, rows = read_table(path, mapping)
    texts = {
        column: [row[names.index(column)] for row in rows]
        for column in {one.column for one in mapping.signals} | ({mapping.time} if mapping.time else set())
    }
    times_us = _times_us(path, mapping, texts, len(rows))
    growing = np.concatenate(([True], times_us[1:] > np.maximum.accumulate(times_us)[:-1]))
    laid = [_laid(path, one, texts[one.column], growing) for one in mapping.signals]
    return Converted(_messages(laid), times_us[growing], int((~growing).sum()))


def read_table(path: Path, mapping: TableMapping) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and the rows that are wanted, as text. Raises TableError and OSError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = enumerate(_cells(file, mapping.separator), 1)
            names = list(mapping.columns)
            if not names:
                names = next((row for _, row in lines), [])
            _check_columns(path, names, mapping)
            wanted = [(names.index(key), value) for key, value in mapping.where.items()]
            rows = []
            for number, row in lines:
                if not row:
                    continue
                if len(row) != len(names):
                    raise TableError(
                        f"{path}: line {number} has {len(row)} cells, and there are {len(names)} columns"
                    )
                if all(_same(row[at], value) for at, value in wanted):
                    rows.append(row)
                if len(rows) > ROWS_MAX:
                    raise TableError(f"{path}: more than {ROWS_MAX} rows; cut it into several tables")
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: is no table of text: {error}") from None
    if not rows:
        raise TableError(f"{path}: has no row" + (f" where {dict(mapping.where)}" if mapping.where else ""))
    return names, rows


def _cells(file: Iterator[str], separator: str | None) -> Iterator[list[str]]:
    first = next(file, "")
    lines = _chained(first, file)
    if separator is None:
        separator = next((one for one in (",", ";", "\t") if one in first), WHITESPACE)
    if separator == WHITESPACE:
        return (line.split() for line in lines)
    return ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator))


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _check_columns(path: Path, names: Sequence[str], mapping: TableMapping) -> None:
    asked = {f"signals.{one.name}.column": one.column for one in mapping.signals}
    asked |= {f"table.where.{name}": name for name in mapping.where}
    if mapping.time is not None:
        asked["table.time"] = mapping.time
    for key, name in asked.items():
        if name not in names:
            raise MappingError(f"{key}: {path} has no column {name}; it has {', '.join(names[:50])}")


def _same(cell: str, wanted: str) -> bool:
    if cell == wanted:
        return True
    try:
        return float(cell) == float(wanted)
    except ValueError:
        return False


def _times_us(
    path: Path, mapping: TableMapping, texts: dict[str, list[str]], count: int
) -> NDArray[np.int64]:
    if mapping.time is None:
        assert mapping.rate_hz is not None
        seconds = np.arange(count) / mapping.rate_hz
    else:
        seconds = _numbers(path, mapping.time, texts[mapping.time]) * mapping.time_s
        if np.isnan(seconds).any():
            raise TableError(
                f"{path}: row {int(np.isnan(seconds).argmax()) + 1} has no {mapping.time}, which is its time"
            )
    stamps = (mapping.start_unix_s + seconds) * 1e6
    if not (np.abs(stamps) < 2**62).all() or stamps.min() < 0:
        raise TableError(
            f"{path}: times from {seconds.min():g} to {seconds.max():g} s after {mapping.start_unix_s:g} are none of a log"
        )
    return np.round(stamps).astype(np.int64)


def _numbers(path: Path, column: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """NaN where a cell is empty."""
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        for number, text in enumerate(texts, 1):
            try:
                float(text or "nan")
            except ValueError:
                raise TableError(f"{path}: row {number}: {column} is {text!r}, which is no number") from None
        raise


def decimals(texts: Sequence[str]) -> int:
    """How many a column has, at most."""
    most = 0
    for text in set(texts):
        try:
            exponent = Decimal(text).normalize().as_tuple().exponent
        except InvalidOperation:
            continue
        if isinstance(exponent, int):
            most = max(most, -exponent)
    return most


def _laid(path: Path, one: Column, texts: Sequence[str], growing: NDArray[np.bool_]) -> Laid:
    """With its start still open."""
    values = _numbers(path, one.column, texts)[growing] * one.scale + one.offset
    factor = one.resolution or float(Decimal(1).scaleb(-decimals(texts))) * abs(one.scale)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    if one.range is not None:
        if len(known) and (low < one.range[0] - factor / 2 or high > one.range[1] + factor / 2):
            raise TableError(
                f"{path}: {one.column} goes from {low:g} to {high:g}, beyond signals.{one.name}.range"
            )
        low, high = one.range
    least = (
        0 if low >= 0 and high / factor < 2 * (high - low) / factor + 2 else math.floor(low / factor + 1e-9)
    )
    steps = round(high / factor) - least
    length = max(1, (steps + 1).bit_length())  # one code more, and it is the highest
    if length > BITS_MAX:
        raise TableError(
            f"{path}: {one.column} goes from {low:g} to {high:g} in steps of {factor:g}: more than {BITS_MAX} bits; give "
            f"signals.{one.name} a coarser resolution"
        )
    counts = np.full(len(values), (1 << length) - 1, np.int64)
    counts[np.isfinite(values)] = np.round(known / factor).astype(np.int64) - least
    offset = float(Decimal(repr(factor)) * least)
    return Laid(one, 0, length, factor, offset, offset, offset + steps * factor, counts)


def _messages(laid: Sequence[Laid]) -> tuple[LaidMessage, ...]:
    """Frames of at most 8 bytes, those of one message numbered where there are several."""
    frames: list[tuple[str, list[Laid]]] = []
    for name in dict.fromkeys(one.signal.message for one in laid):
        current: list[Laid] = []
        full = [current]
        for one in (one for one in laid if one.signal.message == name):
            start = current[-1].start + current[-1].length if current else 0
            if start + one.length > FRAME_BITS:
                current, start = [], 0
                full.append(current)
            current.append(_at(one, start))
        frames += [
            (name if len(full) == 1 else f"{name}{number}", part) for number, part in enumerate(full, 1)
        ]
    if len(frames) > LAST_ID - FIRST_ID + 1:
        raise MappingError(
            f"{len(laid)} signals take {len(frames)} messages, more than there are identifiers"
        )
    names = [name for name, _ in frames]
    if len(set(names)) != len(names):
        raise MappingError(
            f"messages would be called the same: {', '.join(sorted({n for n in names if names.count(n) > 1}))}"
        )
    return tuple(
        LaidMessage(name, FIRST_ID + number, tuple(signals)) for number, (name, signals) in enumerate(frames)
    )


def _at(one: Laid, start: int) -> Laid:
    return Laid(one.signal, start, one.length, one.factor, one.offset, one.minimum, one.maximum, one.counts)


def dbc_text(converted: Converted) -> str:
    """The DBC of a table."""
    lines = ['VERSION ""', "", "NS_ :", "", "BS_:", "", "BU_: Stand", ""]
    for message in converted.messages:
        lines.append(f"BO_ {message.frame_id} {message.name}: 8 Stand")
        lines += [
            f" SG_ {one.signal.name} : {one.start}|{one.length}@1+ ({one.factor!r},{one.offset!r}) "
            f'[{one.minimum:.12g}|{one.maximum:.12g}] "{one.signal.unit}" Vector__XXX'
            for one in message.signals
        ]
        lines.append("")
    cycle_ms = max(1, round(converted.period_us / 1000))
    lines += ['BA_DEF_ BO_ "GenMsgCycleTime" INT 0 3600000;', 'BA_DEF_DEF_ "GenMsgCycleTime" 0;']
    lines += [
        f'BA_ "GenMsgCycleTime" BO_ {message.frame_id} {min(cycle_ms, 3_600_000)};'
        for message in converted.messages
    ]
    lines += [
        f'VAL_ {message.frame_id} {one.signal.name} {one.not_available} "SNA" ;'
        for message in converted.messages
        for one in message.signals
    ]
    return "\n".join(lines) + "\n"


def log_lines(converted: Converted) -> Iterator[str]:
    """The log of a table, as `candump -L` writes it."""
    count = len(converted.messages)
    apart_us = min(FRAME_US, max(0, _least_us(converted) // (count + 1)))
    words = []
    for message in converted.messages:
        bits = np.zeros(len(converted.times_us), np.uint64)
        for one in message.signals:
            bits |= one.counts.astype(np.uint64) << np.uint64(one.start)
        words.append([data.hex().upper() for data in map(_little_endian, bits.tolist())])
    for row, time_us in enumerate(converted.times_us.tolist()):
        for place, (message, word) in enumerate(zip(converted.messages, words, strict=True)):
            seconds, micros = divmod(max(0, time_us - (count - 1 - place) * apart_us), 1_000_000)
            yield f"({seconds}.{micros:06d}) {CHANNEL} {message.frame_id:03X}#{word[row]}\n"


def _little_endian(word: int) -> bytes:
    return word.to_bytes(FRAME_BITS // 8, "little")


def _least_us(converted: Converted) -> int:
    return int(np.diff(converted.times_us).min()) if len(converted.times_us) > 1 else FRAME_US * 100
