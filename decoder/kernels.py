"""The kernels: frames and tables in, values and records out.

Rules
- They allocate nothing, raise nothing and take arrays; the callers see to sizes and ranges. So they can be compiled
  ahead of time, and run without the lock.
- Their parts take numbers only: an array that is handed on in a loop is counted each time, which costs more than the
  decoding of a signal.
- No fast-math: the same bits everywhere.
- A frame that is too short for a signal does not carry it; a frame with an unknown multiplexor value carries nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from codec.kernel import entry, kernel
from codec.signature import F64, I32, U8, U32, U64, F64x2, I32x2, I64x2, U64x2
from decoder.tables import (
    ARITHMETIC,
    BIG_ENDIAN,
    CASE_MAX,
    CASE_SHIFT,
    CODES_END,
    CODES_FIRST,
    COLUMN,
    DOWN,
    END_BYTE,
    FLOAT32,
    FLOAT64,
    FLOOR,
    FORM,
    LINEAR,
    PGN_KEY,
    SIGNED,
    SPILL,
    UNSIGNED64,
    UP,
    WHOLE,
    WORD,
    Tables,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from decoder.frames import Frames

_U32 = np.uint64(32)
_FLOAT16_STEPS = 2.0 ** (np.arange(31) - 25)  # of the mantissa, by exponent; numba's `**` can raise


@kernel
def _slot(key: Any, size: int) -> Any:
    return np.int64(key * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) & (size - 1)


@kernel
def _group_key(bus: Any, frame_id: int) -> Any:
    """Key of the PGN of a 29-bit ID."""
    group = frame_id >> 8 & 0x3FFFF
    if group >> 8 & 0xFF < 0xF0:
        group &= 0x3FF00
    return bus << _U32 | np.uint64(PGN_KEY | group)


@kernel
def _swapped(x: Any) -> Any:
    """Bytes in reverse; the compiler knows this pattern as one instruction."""
    x = (x & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8) | (x >> np.uint64(8)) & np.uint64(
        0x00FF00FF00FF00FF
    )
    x = (x & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16) | (x >> np.uint64(16)) & np.uint64(
        0x0000FFFF0000FFFF
    )
    return x << _U32 | x >> _U32


@kernel
def raw_bits(first: Any, second: Any, big_endian: int, up: int, spill: int, down: int) -> Any:
    """The bits of a signal, as uint64, of the word where it begins and the next one."""
    bits = _swapped(first) if big_endian else first
    if spill:
        if big_endian:
            bits = bits << np.uint64(spill) | _swapped(second) >> np.uint64(64 - spill)
        else:
            bits = bits >> np.uint64(64 - spill) | second << np.uint64(spill)
    return bits << np.uint64(up) >> np.uint64(down)


@kernel
def whole_value(bits: Any, form: int, down: int) -> Any:
    """Raw value of an integer of 64 - `down` bits; SIGNED is two's complement. Without a branch, which is often guessed wrong."""
    sign = np.uint64(form == SIGNED) << np.uint64(63 - down)
    return np.int64((bits ^ sign) - sign)


@kernel
def raw_value(bits: Any, form: int, down: int) -> Any:
    """Raw value as a float."""
    if form <= SIGNED:
        return np.float64(whole_value(bits, form, down))
    if form == UNSIGNED64:
        return np.float64(bits)
    if form == FLOAT64:
        return np.uint64(bits).view(np.float64)
    if form == FLOAT32:
        return np.float64(np.uint32(bits).view(np.float32))
    exponent = np.int64(bits >> np.uint64(10)) & 31
    mantissa = np.int64(bits) & 1023
    if exponent == 0:
        value: Any = mantissa * 2.0**-24
    elif exponent == 31:
        value = np.inf if mantissa == 0 else np.nan
    else:
        value = (1024 + mantissa) * _FLOAT16_STEPS[exponent]
    return -value if bits >> np.uint64(15) else value


@kernel
def physical(
    bits: Any, form: int, down: int, arithmetic: int, factor: int, offset: int, scale: float, shift: float
) -> Any:
    """What cantools makes of raw bits: factor and offset are whole numbers, scale and shift the same as floats."""
    if arithmetic == LINEAR:
        return raw_value(bits, form, down) * scale + shift
    whole = whole_value(bits, form, down)
    if arithmetic == WHOLE:
        return np.float64(whole * factor + offset)
    return np.float64(whole * factor) + shift


@kernel
def outside(bits: Any, raw: float, floor: int, low: float, high: float) -> bool:
    """Whether a raw value lies where no values are; NaN always does."""
    return not low <= raw <= high or (floor != 0 and bits >= np.uint64(floor))


@entry
def match_frames(buses: U8, ids: U32, standard: I32, keys: U64, found: I32, matched: I32) -> None:
    """Message of each frame, or -1, into matched int32[n]."""
    for i in range(ids.size):
        frame_id = np.int64(ids[i])
        message: Any = -1
        if frame_id < 0x80000000:
            index = np.int64(buses[i]) * 2048 + frame_id
            if frame_id <= 0x7FF and index < standard.size:
                message = np.int64(standard[index])
        else:
            bus = np.uint64(buses[i])
            for key in (bus << _U32 | np.uint64(frame_id), _group_key(bus, frame_id)):
                slot = _slot(key, keys.size)
                while found[slot] >= 0 and keys[slot] != key:
                    slot = (slot + 1) & (keys.size - 1)
                message = np.int64(found[slot])
                if message >= 0:
                    break
        matched[i] = message


@entry
def find_paths(
    matched: I32,
    lengths: U8,
    words: U64x2,
    messages: I64x2,
    nodes: I64x2,
    switches: I64x2,
    cases: I64x2,
    rows: I32x2,
    scales: F64x2,
    wholes: I64x2,
    paths: I32x2,
) -> Any:
    """Nodes that decode each frame into paths int32[n, most nodes of any path]; returns how many rows these have.

    Paths end with -1; that of a frame with an unknown multiplexor value begins with it.
    """
    row_count = 0
    for i in range(matched.size):
        for at in range(paths.shape[1]):
            paths[i, at] = -1
        if matched[i] < 0:
            continue
        paths[i, 0] = messages[matched[i], 0]
        at, end, frame_rows, known = 0, 1, 0, True
        while known and at < end:
            node = np.int64(paths[i, at])
            frame_rows += nodes[node, 1] - nodes[node, 0]
            for switch in range(nodes[node, 2], nodes[node, 3]):
                r = switches[switch, 0]
                if rows[r, END_BYTE] > lengths[i]:
                    continue
                word, spill, form, down = rows[r, WORD], rows[r, SPILL], rows[r, FORM], rows[r, DOWN]
                second = words[i, word + 1] if spill else np.uint64(0)
                bits = raw_bits(words[i, word], second, rows[r, BIG_ENDIAN], rows[r, UP], spill, down)
                arithmetic, factor, offset = rows[r, ARITHMETIC], wholes[r, 0], wholes[r, 1]
                number = physical(bits, form, down, arithmetic, factor, offset, scales[r, 0], scales[r, 1])
                value = np.int64(number) if abs(number) < CASE_MAX else np.int64(-CASE_MAX)
                slot = _slot(np.uint64(value + (switch << CASE_SHIFT)), cases.shape[0])
                while cases[slot, 0] >= 0 and (cases[slot, 0] != switch or cases[slot, 1] != value):
                    slot = (slot + 1) & (cases.shape[0] - 1)
                if cases[slot, 0] < 0:
                    known = False
                    break
                paths[i, end] = cases[slot, 2]
                end += 1
            at += 1
        if known:
            row_count += frame_rows
        else:
            paths[i, 0] = -1
    return row_count


@entry
def decode_frames(
    first: int,
    end: int,
    paths: I32x2,
    lengths: U8,
    words: U64x2,
    nodes: I64x2,
    rows: I32x2,
    scales: F64x2,
    wholes: I64x2,
    limits: I64x2,
    bounds: F64x2,
    codes: U64,
    mask: bool,
    count: int,
    frame: I32,
    signal: I32,
    value: F64,
) -> Any:
    """Every value of frames first:end into frame, signal int32[...] and value float64[...] from `count`; returns the next `count`.

    With `mask`, what is not available is NaN.
    """
    for i in range(first, end):
        length = np.int64(lengths[i])
        for at in range(paths.shape[1]):
            node = np.int64(paths[i, at])
            if node < 0:
                break
            for r in range(nodes[node, 0], nodes[node, 1]):
                if rows[r, END_BYTE] > length:
                    continue
                word, spill, form, down = rows[r, WORD], rows[r, SPILL], rows[r, FORM], rows[r, DOWN]
                second = words[i, word + 1] if spill else np.uint64(0)
                bits = raw_bits(words[i, word], second, rows[r, BIG_ENDIAN], rows[r, UP], spill, down)
                column = rows[r, COLUMN]
                frame[count] = i
                signal[count] = column
                arithmetic, factor, offset = rows[r, ARITHMETIC], wholes[r, 0], wholes[r, 1]
                value[count] = physical(
                    bits, form, down, arithmetic, factor, offset, scales[r, 0], scales[r, 1]
                )
                if mask:
                    raw = raw_value(bits, form, down)
                    absent = not bounds[column, 0] <= raw <= bounds[column, 1]
                    absent = absent or (
                        limits[column, FLOOR] != 0 and bits >= np.uint64(limits[column, FLOOR])
                    )
                    for code in range(limits[column, CODES_FIRST], limits[column, CODES_END]):
                        absent = absent or codes[code] == bits
                    if absent:
                        value[count] = np.nan
                count += 1
    return count


def match(frames: Frames, t: Tables) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Message of each frame int32[n], paths int32[n, nodes], and how many values there can be at most."""
    matched = np.empty(len(frames), np.int32)
    match_frames(frames.buses, frames.ids, t.standard, t.keys, t.found, matched)
    paths = np.empty((len(frames), t.path_nodes), np.int32)
    most = find_paths(
        matched,
        frames.lengths,
        frames.words(),
        t.messages,
        t.nodes,
        t.switches,
        t.cases,
        t.rows,
        t.scales,
        t.wholes,
        paths,
    )
    return matched, paths, most
