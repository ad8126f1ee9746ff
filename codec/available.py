"""Between a column's records and its available values, which models see one after the other.

Rules
- Whatever is not available has counts of 0.
- A column's digest is a pair of sums over its reconstructed counts (Fletcher 1982).
"""

from __future__ import annotations

import numpy as np

from codec.kernel import kernel
from codec.range_coder import DECODING, STATUS, STATUS_TOO_LARGE
from codec.residuals import LEVEL, TREND
from codec.schema import SCALED_BITS_MAX

_AVAILABLE = 0
_COUNTS_MAX = 1 << SCALED_BITS_MAX


@kernel
def gather(coder, counts, states, changes, alike, count, space):
    """Lays the available values of a column one after the other, if there are any yet. Returns how many there are.

    `alike`: the states are known to be all the same.
    """
    available = 0
    if coder[DECODING]:
        if alike:
            return count if states[0] == _AVAILABLE else 0
        for i in range(count):
            available += 1 if states[i] == _AVAILABLE else 0
        return available
    for i in range(count):
        if states[i] == _AVAILABLE:
            space.values[available] = counts[i]
            space.sent[available] = changes[i]
            available += 1
    return available


@kernel
def scatter(counts, states, count, available, column, state, digest):
    """Puts the reconstructed values back in their places, 0 elsewhere, and sums up the column's digest."""
    total = np.uint64(0)
    weighted = np.uint64(count)
    if available == count:
        for i in range(count):
            counts[i] = column[i]
            total += np.uint64(column[i])
            weighted += total
    else:
        k = 0
        for i in range(count):
            counts[i] = 0
            value = np.uint64(states[i]) << np.uint64(60)
            if states[i] == _AVAILABLE:
                counts[i] = column[k]
                value = np.uint64(column[k])
                k += 1
            total += value
            weighted += total
    digest[0] = total + np.uint64(state[LEVEL]) + np.uint64(state[TREND])
    digest[1] = weighted


@kernel
def any_too_large(coder, values, count):
    """Whether an encoder was given counts that no scaled column can hold."""
    for i in range(count):
        if values[i] > _COUNTS_MAX or values[i] < -_COUNTS_MAX:
            coder[STATUS] = STATUS_TOO_LARGE
            return True
    return False
