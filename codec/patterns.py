"""Bit patterns: floats and wide integers, coded without arithmetic on them.

Rules
- A value is the last one, or its 64 bits (32 for float32): equal to the bit.
- Floats may have a threshold: a value is held while it stays within it, compared in float64 as physical values, and on
  its side of every guard. What is held is a value that once was sampled, so the bound is exact.
"""

from __future__ import annotations

import numpy as np

from codec.kernel import entry, kernel
from codec.range_coder import DECODING, STATUS, STATUS_DAMAGED, code_bit, code_raw
from codec.signature import F64, I64, U8, F64x2

_RUNS = 64
_SIX_BITS = 64  # contexts of a tree
PATTERN_CONTEXTS = _RUNS + 2 * _SIX_BITS


@entry
def mark_changes(
    values: I64, physical: F64, count: int, threshold: float, guards: F64x2, guard_start: int, guard_stop: int,
    last: int, last_physical: float, changes: U8,
) -> None:  # fmt: skip
    """Fills changes[:count] with 1 where a value has to be sent, holding from `last` on."""
    for i in range(count):
        same = values[i] == last
        if not same and threshold > 0 and abs(physical[i] - last_physical) <= threshold:
            same = True
            for g in range(guard_start, guard_stop):
                inside = guards[g, 0] <= physical[i] <= guards[g, 1]
                inside_last = guards[g, 0] <= last_physical <= guards[g, 1]
                if inside != inside_last:
                    same = False
        changes[i] = 0 if same else 1
        if not same:
            last = values[i]
            last_physical = physical[i]


@kernel
def _code_six_bits(coder, buffer, ctx, base, number):
    """0..63 by a binary tree of adaptive bits."""
    node = 1
    for k in range(5, -1, -1):
        node = 2 * node + code_bit(coder, buffer, ctx, base + node, (number >> k) & 1)
    return node - 64


@kernel
def code_patterns(coder, buffer, ctx, base, values, changes, count, last, run, column):
    """Writes or reads column[:count] of 64-bit patterns. Returns the values since the last change."""
    for i in range(count):
        changed = 0
        if not coder[DECODING]:
            changed = changes[i]
        if code_bit(coder, buffer, ctx, base + min(run, _RUNS - 1), changed) == 0:
            column[i] = last
            run += 1
            continue
        run = 0
        leading = 0
        trailing = 0
        difference = np.uint64(0)
        if not coder[DECODING]:
            difference = np.uint64(values[i]) ^ np.uint64(last)
            while leading < 63 and (difference >> np.uint64(63 - leading)) == np.uint64(0):
                leading += 1
            while trailing < 63 - leading and (difference >> np.uint64(trailing)) & np.uint64(1) == np.uint64(
                0
            ):
                trailing += 1
        leading = _code_six_bits(coder, buffer, ctx, base + _RUNS, leading)
        trailing = _code_six_bits(coder, buffer, ctx, base + _RUNS + _SIX_BITS, trailing)
        width = 64 - leading - trailing
        if width < 1:
            coder[STATUS] = STATUS_DAMAGED
            return run
        high = np.int64(0)
        rest = width
        if width > 32:
            high = code_raw(coder, buffer, np.int64(difference >> np.uint64(trailing + 32)), width - 32)
            rest = 32
        lower = code_raw(
            coder, buffer, np.int64((difference >> np.uint64(trailing)) & np.uint64(0xFFFFFFFF)), rest
        )
        bits = ((np.uint64(high) << np.uint64(32)) | np.uint64(lower)) << np.uint64(trailing)
        last = np.int64(np.uint64(last) ^ bits)
        column[i] = last
    return min(run, _RUNS)
