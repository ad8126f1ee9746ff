"""Section 1 to 3 of docs/wire-format.md: integers, the one error, the schema as far as a reader needs it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import NamedTuple

TOO_LARGE = 1 << 48


class Damaged(ValueError):
    """Bytes that are no block of this stream."""


class Unknown(ValueError):
    """A block of another version, or one that starts from a prior that is not here."""


def i64(number: int) -> int:
    """Wraps to 64 bits, two's complement."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def not_too_large(number: int) -> int:
    if abs(number) > TOO_LARGE:
        raise Damaged(f"counts of {number}")
    return number


def varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for k in range(9):
        if at + k >= len(content):
            raise Damaged("ends in its header")
        number |= (content[at + k] & 0x7F) << (7 * k)
        if content[at + k] < 0x80:
            if number >= 1 << 62:
                break
            return number, at + k + 1
    raise Damaged("a varint that is too large")


def unzigzag(number: int) -> int:
    return number >> 1 if number % 2 == 0 else -(number >> 1) - 1


@dataclass(frozen=True)
class Column:
    """What decoding needs of one signal."""

    scaled: bool
    step: int = 1
    grid: int = 1
    turn: int = 0


def columns_of(schema: bytes) -> list[Column]:
    return [_column(signal) for signal in json.loads(schema)["signals"]]


def _column(signal: dict) -> Column:
    if signal.get("kind", 0) != 0:
        return Column(scaled=False)
    factor = abs(signal.get("factor", 1.0))
    error = min(math.floor(signal.get("threshold", 0.0) / factor + 1e-9), 1 << 45)
    resolution = round(signal.get("resolution", 0.0) / factor)
    step = min(2 * error + 1, resolution) if resolution >= 1 else 2 * error + 1
    return Column(True, step, max(1, step // 3), round(signal.get("circular", 0.0) / factor))


class Facts(NamedTuple):
    """What StreamInfo says of a stream."""

    stream_id: bytes
    origin_tick: int
    clock_offset_ns: int = 0
    guards_hash: bytes = b""
    prior_hash: bytes = b""
