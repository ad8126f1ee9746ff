"""Adaptive binary range coder. One set of functions runs in both directions.

Every `code_*` function takes the value to code and returns the value coded: encoding, that is its argument; decoding,
the argument is ignored and the value comes from the bytes. So whatever is written with them is its own mirror image.

The coder (Martin 1979, carry propagation as in LZMA) is an int64[8] array; see the indices below. A probability is
the mean of a fast and a slow estimate, 16 bits each, of the next bit being 0; a context's cell (contexts.py) holds both
and counts the uses that they rest on, up to 255. Both begin as running means (the step of a new bit is about 1/uses) and
settle at their own rates; a prior gives each context a count to begin with, which says how far it is to be trusted.
Reading past the end gives zero bytes: up to SLACK_BYTES trailing zeros are not written.
"""

from __future__ import annotations

import math

import numpy as np

from codec.contexts import STAMP, STAMP_AT, first_use
from codec.kernel import kernel

# Indices of the coder's state.
LOW = 0  # encoding: low end of the interval; decoding: the code word
RANGE = 1
CACHE = 2
PENDING = 3
POSITION = 4
DECODING = 5
STATUS = 6  # 0 sound; otherwise a STATUS_ below
SIZE = 7  # bytes of the code word, or room for it
CODER_SIZE = 8

STATUS_FULL = 1  # the output buffer is too small: our own bug
STATUS_DAMAGED = 2  # the bytes cannot have been written by this coder
STATUS_TOO_LARGE = 3  # counts to be written that no signal has

USES_MAX = 255
_FAST, _SLOW = 4, 7  # steps of a settled estimate: 1/16 and 1/128
_STEPS = tuple(max(1, (uses + 2).bit_length() - 1) for uses in range(USES_MAX + 1))
_FAST_STEP = np.array([min(step, _FAST) for step in _STEPS])
_SLOW_STEP = np.array([min(step, _SLOW) for step in _STEPS])
_LOG2 = np.array(
    [round(256 * math.log2(1 + k / 256)) / 256 for k in range(256)]
)  # of 1 to 2, to the bit everywhere
LOWEST, HIGHEST = 32, 65536 - 32
_EVEN = 32768
_TOP = 1 << 24
_MASK = 0xFFFFFFFF

SLACK_BYTES = 4  # so far a reader of a sound code word gets past its end, and no further

# Contexts that `code_int` uses, from its base on.
EXPONENT_MAX = 62
_ZERO, _SIGN, _EXPONENT, _BIT1, _BIT2, _BIT3 = 0, 1, 2, 24, 36, 48
INT_CONTEXTS = 64


def new_contexts(shape: tuple[int, ...]) -> np.ndarray:
    """Contexts that know nothing: uint16[*shape, 3]."""
    contexts = np.full((*shape, 3), _EVEN, np.uint16)
    contexts[..., 2] = 0
    return contexts


@kernel
def start_encoding(coder, buffer):
    coder[LOW] = 0
    coder[RANGE] = _MASK
    coder[CACHE] = 0
    coder[PENDING] = 1
    coder[POSITION] = -1  # the byte before the first is always 0: a code word stays below 1
    coder[DECODING] = 0
    coder[STATUS] = 0
    coder[SIZE] = buffer.size


@kernel
def start_decoding(coder, buffer, size):
    """The code word is buffer[:size]."""
    coder[LOW] = 0
    coder[RANGE] = _MASK
    coder[POSITION] = 0
    coder[DECODING] = 1
    coder[STATUS] = 0
    coder[SIZE] = size
    for _ in range(4):
        _pull(coder, buffer)


@kernel
def _pull(coder, buffer):
    position = coder[POSITION]
    byte = np.int64(buffer[position]) if position < coder[SIZE] else np.int64(0)
    coder[LOW] = ((coder[LOW] << 8) | byte) & _MASK
    coder[POSITION] = position + 1


@kernel
def _push(coder, buffer):
    if coder[LOW] < 0xFF000000 or coder[LOW] > _MASK:
        carry = coder[LOW] >> 32
        byte = coder[CACHE]
        while coder[PENDING] > 0:
            position = coder[POSITION]
            if position < 0:
                pass
            elif position < coder[SIZE]:
                buffer[position] = np.uint8((byte + carry) & 0xFF)
            else:
                coder[STATUS] = STATUS_FULL
            coder[POSITION] = position + 1
            byte = 0xFF
            coder[PENDING] -= 1
        coder[CACHE] = (coder[LOW] >> 24) & 0xFF
    coder[PENDING] += 1
    coder[LOW] = (coder[LOW] & 0x00FFFFFF) << 8


@kernel
def finish_encoding(coder, buffer):
    """Ends the code word in as few bytes as tell it apart: buffer[:coder[SIZE]]."""
    low = coder[LOW]
    high = low + coder[RANGE] - 1
    value = high
    for shift in (24, 16, 8):
        candidate = (high >> shift) << shift
        if candidate >= low:
            value = candidate
            break
    coder[LOW] = value
    for _ in range(5):
        _push(coder, buffer)
    size = max(0, min(coder[POSITION], coder[SIZE]))
    shortest = max(0, size - SLACK_BYTES)
    while size > shortest and buffer[size - 1] == 0:
        size -= 1
    coder[SIZE] = size


@kernel
def log2(n):
    """Of an integer from 1 to 2^48, to a hundredth. Not by libm, whose results may differ by machine."""
    whole = 0
    while n >> (whole + 1) > 0:
        whole += 1
    return whole + _LOG2[((n << 8) >> whole) & 0xFF]


@kernel
def bits_written(coder):
    """What the code word so far costs, in bits, to a hundredth."""
    return 8.0 * (coder[POSITION] + coder[PENDING]) - log2(coder[RANGE])


@kernel
def code_bit(coder, buffer, ctx, i, bit):
    """One bit under an adaptive probability."""
    cell = ctx.cells[i]
    if cell >> STAMP_AT != ctx.place[STAMP]:
        cell = first_use(ctx, i)
    fast = cell & 0xFFFF
    slow = cell >> 16 & 0xFFFF
    uses = cell >> 32 & 0xFFFF
    fast_step = _FAST_STEP[uses]
    slow_step = _SLOW_STEP[uses]
    bound = (coder[RANGE] >> 16) * ((fast + slow) >> 1)
    if coder[DECODING]:
        bit = 0 if coder[LOW] < bound else 1
        if bit == 1:
            coder[LOW] -= bound
    elif bit == 1:
        coder[LOW] += bound
    if bit == 0:
        coder[RANGE] = bound
        fast = min(fast + ((65536 - fast) >> fast_step), HIGHEST)
        slow = min(slow + ((65536 - slow) >> slow_step), HIGHEST)
    else:
        coder[RANGE] -= bound
        fast = max(fast - (fast >> fast_step), LOWEST)
        slow = max(slow - (slow >> slow_step), LOWEST)
    ctx.cells[i] = fast | slow << 16 | min(uses + 1, USES_MAX) << 32 | cell >> STAMP_AT << STAMP_AT
    while coder[RANGE] < _TOP:
        coder[RANGE] = (coder[RANGE] << 8) & _MASK
        if coder[DECODING]:
            _pull(coder, buffer)
        else:
            _push(coder, buffer)
    return bit


@kernel
def code_raw(coder, buffer, value, bits):
    """`bits` bits of equal probability, the highest first."""
    result = np.int64(0)
    for k in range(bits - 1, -1, -1):
        coder[RANGE] >>= 1
        if coder[DECODING]:
            bit = 1 if coder[LOW] >= coder[RANGE] else 0
            if bit == 1:
                coder[LOW] -= coder[RANGE]
        else:
            bit = (value >> k) & 1
            if bit == 1:
                coder[LOW] += coder[RANGE]
        result = (result << 1) | bit
        while coder[RANGE] < _TOP:
            coder[RANGE] = (coder[RANGE] << 8) & _MASK
            if coder[DECODING]:
                _pull(coder, buffer)
            else:
                _push(coder, buffer)
    return result


@kernel
def code_int(coder, buffer, ctx, base, value):
    """A signed integer, |value| < 2**62: zero flag, sign, exponent in unary, three adaptive mantissa bits, raw rest."""
    if code_bit(coder, buffer, ctx, base + _ZERO, 1 if value != 0 else 0) == 0:
        return np.int64(0)
    negative = code_bit(coder, buffer, ctx, base + _SIGN, 1 if value < 0 else 0)
    return _code_magnitude(coder, buffer, ctx, base, abs(value)) * (1 - 2 * negative)


@kernel
def code_count(coder, buffer, ctx, base, value):
    """An integer >= 0 with the contexts of `code_int`, without a sign."""
    if code_bit(coder, buffer, ctx, base + _ZERO, 1 if value != 0 else 0) == 0:
        return np.int64(0)
    return _code_magnitude(coder, buffer, ctx, base, value)


@kernel
def _code_magnitude(coder, buffer, ctx, base, magnitude):
    """An integer >= 1."""
    wanted = 0
    if not coder[DECODING]:
        while (magnitude >> (wanted + 1)) > 0:
            wanted += 1
    exponent = 0
    while (
        code_bit(coder, buffer, ctx, base + _EXPONENT + min(exponent, 21), 1 if exponent < wanted else 0) == 1
    ):
        exponent += 1
        if exponent >= EXPONENT_MAX:
            coder[STATUS] = STATUS_DAMAGED
            return np.int64(1)
    result = np.int64(1)
    if exponent > 0:
        bit = code_bit(
            coder, buffer, ctx, base + _BIT1 + min(exponent, 12) - 1, (magnitude >> (exponent - 1)) & 1
        )
        result = (result << 1) | bit
    if exponent > 1:
        row = 2 * (min(exponent, 7) - 2) + (result & 1)
        bit = code_bit(coder, buffer, ctx, base + _BIT2 + row, (magnitude >> (exponent - 2)) & 1)
        result = (result << 1) | bit
    if exponent > 2:
        row = 4 * (min(exponent, 6) - 3) + (result & 3)
        bit = code_bit(coder, buffer, ctx, base + _BIT3 + row, (magnitude >> (exponent - 3)) & 1)
        result = (result << 1) | bit
    if exponent > 3:
        rest = code_raw(coder, buffer, magnitude, exponent - 3)
        result = (result << (exponent - 3)) | rest
    return result
