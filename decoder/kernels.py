"""The kernels: frames and tables in, values and records out.

Rules
- They allocate nothing, raise nothing and take arrays; the callers see to sizes and ranges. So they can be compiled
  ahead of time, and run without the lock.
- No fast-math: the same bits everywhere.
- A frame that is too short for a signal does not carry it; a frame with an unknown multiplexor value carries nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from codec.records import Availability
from decoder.tables import (
    ARITHMETIC,
    AS_IT_IS,
    BIG_ENDIAN,
    CODES_END,
    CODES_FIRST,
    COLUMN,
    END_BYTE,
    FACTOR,
    FLOAT16,
    FLOAT64,
    FLOOR,
    FORM,
    LENGTH,
    OFFSET,
    PGN_KEY,
    SHIFT,
    SIGNED,
    SPILL,
    WHOLE,
    WHOLE_TIMES,
    WORD,
    Tables,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATH_NODES_MAX = 256  # nodes on the path of one frame; a message has as many switches at most
AVAILABLE = int(Availability.AVAILABLE)
NEVER_SEEN = int(Availability.NEVER_SEEN)
STALE = int(Availability.STALE)
NOT_AVAILABLE = int(Availability.NOT_AVAILABLE)

_U32 = np.uint64(32)


class Cells(NamedTuple):
    """Two cells of memory, each seen as bits and as a float."""

    bits: NDArray[np.uint64]
    double: NDArray[np.float64]
    short_bits: NDArray[np.uint32]
    single: NDArray[np.float32]


def make_cells() -> Cells:
    bits, short_bits = np.zeros(1, np.uint64), np.zeros(1, np.uint32)
    return Cells(bits, bits.view(np.float64), short_bits, short_bits.view(np.float32))


def kernel(function: Any) -> Any:
    return njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)(function)


@kernel
def match(bus: int, frame_id: int, t: Tables) -> int:
    """Message of a frame, or -1."""
    if frame_id < 0x80000000:
        index = bus * 2048 + frame_id
        if frame_id > 0x7FF or index >= t.standard.size:
            return -1
        return t.standard[index]
    key = np.uint64(bus) << _U32 | np.uint64(frame_id)
    message = _find(key, t)
    if message < 0:
        group = frame_id >> 8 & 0x3FFFF
        if group >> 8 & 0xFF < 0xF0:
            group &= 0x3FF00
        message = _find(np.uint64(bus) << _U32 | np.uint64(PGN_KEY | group), t)
    return message


@kernel
def _find(key: Any, t: Tables) -> int:
    size = t.keys.size
    slot = np.int64(key * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) & (size - 1)
    while t.found[slot] >= 0:
        if t.keys[slot] == key:
            return t.found[slot]
        slot = (slot + 1) & (size - 1)
    return -1


@kernel
def _swapped(x: Any) -> Any:
    """Bytes in reverse; the compiler knows this pattern as one instruction."""
    x = (x & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8) | (x >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    x = (x & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16) | (x >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return x << _U32 | x >> _U32


@kernel
def _raw(words: Any, row: Any) -> Any:
    """The bits of a signal in the words of one frame, as uint64."""
    word, spill = row[WORD], np.uint64(row[SPILL])
    if row[BIG_ENDIAN]:
        bits = _swapped(words[word])
        if spill:
            bits = bits << spill | _swapped(words[word + 1]) >> (np.uint64(64) - spill)
        else:
            bits >>= np.uint64(row[SHIFT])
    else:
        bits = words[word] >> np.uint64(row[SHIFT])
        if spill:
            bits |= words[word + 1] << spill
    return bits & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - row[LENGTH]))


@kernel
def _extended(bits: Any, length: int) -> int:
    """Two's complement of `length` bits."""
    up = np.uint64(64 - length)
    return np.int64(bits << up) >> np.int64(up)


@kernel
def _half(bits: Any) -> float:
    """Value of a float16."""
    exponent = np.int64(bits >> np.uint64(10)) & 31
    mantissa = np.int64(bits) & 1023
    if exponent == 0:
        value = mantissa * 2.0**-24
    elif exponent == 31:
        value = np.inf if mantissa == 0 else np.nan
    else:
        value = (1024 + mantissa) * 2.0 ** (exponent - 25)
    return -value if bits >> np.uint64(15) else value


@kernel
def _raw_float(bits: Any, form: int, cells: Any) -> float:
    """Value of a raw float of 16, 32 or 64 bits."""
    if form == FLOAT64:
        cells.bits[0] = bits
        return cells.double[0]
    if form == FLOAT16:
        return _half(bits)
    cells.short_bits[0] = np.uint32(bits)
    return np.float64(cells.single[0])


@kernel
def _raw_value(bits: Any, row: Any, cells: Any) -> float:
    """Raw value as a float, for bounds."""
    if row[FORM] == SIGNED:
        return np.float64(_extended(bits, row[LENGTH]))
    if row[FORM] < SIGNED:
        return np.float64(bits)
    return _raw_float(bits, row[FORM], cells)


@kernel
def _physical(bits: Any, row: Any, scale: Any, cells: Any) -> float:
    """What cantools makes of raw bits."""
    form, arithmetic = row[FORM], row[ARITHMETIC]
    if form <= SIGNED:
        if form == SIGNED:
            whole = _extended(bits, row[LENGTH])
            raw = np.float64(whole)
        else:
            whole = np.int64(bits)
            raw = np.float64(bits)
        if arithmetic == WHOLE:
            return np.float64(whole * row[FACTOR] + row[OFFSET])
        if arithmetic == WHOLE_TIMES:
            return np.float64(whole * row[FACTOR]) + scale[1]
    else:
        raw = _raw_float(bits, form, cells)
    if arithmetic == AS_IT_IS:
        return raw
    return raw * scale[0] + scale[1]


@kernel
def _available(bits: Any, raw: float, column: int, t: Tables) -> bool:
    """Whether the sender says that this is a value."""
    floor = np.uint64(t.limits[column, FLOOR])
    if floor and bits >= floor:
        return False
    for code in range(t.limits[column, CODES_FIRST], t.limits[column, CODES_END]):
        if t.codes[code] == bits:
            return False
    return t.bounds[column, 0] <= raw <= t.bounds[column, 1]


@kernel
def _path(message: int, words: Any, length: int, t: Tables, path: Any, cells: Any) -> int:
    """Nodes that decode a frame, into `path`; how many, or 0 if a multiplexor has an unknown value."""
    path[0] = t.messages[message, 0]
    end = 1
    at = 0
    while at < end:
        node = path[at]
        for switch in range(t.nodes[node, 2], t.nodes[node, 3]):
            row = t.rows[t.switches[switch, 0]]
            if row[END_BYTE] > length:
                continue
            scale = t.scales[t.switches[switch, 0]]
            number = _physical(_raw(words, row), row, scale, cells)
            if not abs(number) < 9.0e18:
                return 0
            value = np.int64(number)
            low, high = t.switches[switch, 1], t.switches[switch, 2]
            while low < high:
                middle = (low + high) // 2
                if t.cases[middle, 0] < value:
                    low = middle + 1
                else:
                    high = middle
            if low == t.switches[switch, 2] or t.cases[low, 0] != value or end == path.size:
                return 0
            path[end] = t.cases[low, 1]
            end += 1
        at += 1
    return end


@kernel
def match_frames(buses: Any, ids: Any, t: Tables, messages: Any) -> int:
    """Message of each frame (or -1) into messages int32[n]; returns how many values there can be at most."""
    most = 0
    for i in range(ids.size):
        message = match(np.int64(buses[i]), np.int64(ids[i]), t)
        messages[i] = message
        if message >= 0:
            most += t.messages[message, 2]
    return most


@kernel
def decode_frames(
    messages: Any, lengths: Any, words: Any, t: Tables, mask: bool, path: Any, cells: Any, frame: Any, signal: Any, value: Any
) -> int:
    """Every value of every frame into frame, signal int32[...] and value float64[...]; returns how many.

    With `mask`, what is not available is NaN.
    """
    count = 0
    for i in range(messages.size):
        message = messages[i]
        if message < 0:
            continue
        length = np.int64(lengths[i])
        nodes = 1
        path[0] = t.messages[message, 0]
        if t.messages[message, 1]:
            nodes = _path(message, words[i], length, t, path, cells)
        for at in range(nodes):
            node = path[at]
            for r in range(t.nodes[node, 0], t.nodes[node, 1]):
                row = t.rows[r]
                if row[END_BYTE] > length:
                    continue
                bits = _raw(words[i], row)
                physical = _physical(bits, row, t.scales[r], cells)
                if mask and not _available(bits, _raw_value(bits, row, cells), row[COLUMN], t):
                    physical = np.nan
                frame[count] = i
                signal[count] = row[COLUMN]
                value[count] = physical
                count += 1
    return count
