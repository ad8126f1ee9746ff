"""Clocks: the column before a column that tells best when it changes, and what it becomes.

Rules
- Signals of one message change together; a checksum goes with its message's counter. The encoder finds out by comparing
  columns (`find_clock`), and the block says which one it took; the schema says nothing of it.
- A clock tells by its counts as the records hold them, 0 where it is not available.
"""

from __future__ import annotations

import numpy as np

from codec.kernel import kernel
from codec.range_coder import log2
from codec.recall import slot, with_clock
from codec.references import CANDIDATES_MAX

_BITS_MIN = 16.0  # a clock has to save so much
_FORETELLERS_MAX = 64  # so near is the counter of a column's message
_CHANGES_MIN = 8
_FORETOLD_BITS = 4.0  # about what a foretold change saves
GUESSES = 256  # words of working space
_AVAILABLE = 0
_ONE = np.uint64(1)


@kernel
def set_clock(counts, states, before, column, distance, records, count, clock):
    """Of the k-th available record, clock[0, k]: 0 without a clock; 2 if the column at `distance` changed there, 1 if not;
    clock[1, k], clock[2, k]: what it showed at the record before, and there.
    """
    if distance == 0:
        clock[:, :count] = 0
        return
    k = 0
    source = column - distance
    held = before[source]
    for i in range(records):
        shown = counts[source, i]
        if states[column, i] == _AVAILABLE:
            clock[0, k] = 1 if shown == held else 2
            clock[1, k] = held
            clock[2, k] = shown
            k += 1
        held = shown


@kernel
def note_changes(counts, states, column, records, ticks):
    """As `note_ticks`, of the sampled counts of a column that is not coded yet."""
    for w in range(1 + ((records + 63) >> 6)):
        ticks[column, w] = 0
    before = np.int64(0)
    started = False
    for i in range(records):
        if states[column, i] != _AVAILABLE:
            continue
        if started and counts[column, i] != before:
            ticks[column, 0] += _ONE
            ticks[column, 1 + (i >> 6)] |= _ONE << np.uint64(i & 63)
        before = counts[column, i]
        started = True


@kernel
def note_ticks(counts, column, before, records, ticks):
    """Remembers for the encoder at which records a column changed: how often in ticks[column, 0], then as bits."""
    for w in range(1 + ((records + 63) >> 6)):
        ticks[column, w] = 0
    for i in range(records):
        if counts[column, i] != before:
            before = counts[column, i]
            ticks[column, 0] += _ONE
            ticks[column, 1 + (i >> 6)] |= _ONE << np.uint64(i & 63)


@kernel
def _ones(word):
    word -= (word >> _ONE) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _entropy(ones, of):
    """Bits that tell which `ones` of `of` flags are set."""
    if ones <= 0 or ones >= of:
        return 0.0
    return of * log2(of) - ones * log2(ones) - (of - ones) * log2(of - ones)


@kernel
def _foretold(counts, states, column, distance, records, space):
    """How many changes of a column the values of the column at `distance` foretell, as recall goes by them."""
    guesses = space.guesses
    guesses[:] = 0
    source = column - distance
    held = counts[source, 0]
    last = space.values[0]
    hits = np.int64(0)
    k = 0
    for i in range(records):
        if states[column, i] != _AVAILABLE:
            held = counts[source, i]
            continue
        shown = counts[source, i]
        if shown != held and (last < space.low[k] or last > space.high[k]):
            then = slot(held)
            now = slot(shown)
            if guesses[then] == 0:
                guesses[then] = (last << 3) | 1
            expected = with_clock(guesses[then], guesses[now], last)
            if space.low[k] <= expected <= space.high[k]:
                hits += 1
            else:
                guesses[now] = ((space.values[k] ^ last ^ (guesses[then] >> 3)) << 3) | 1
        last = space.values[k]
        held = shown
        k += 1
    return hits


@kernel
def find_clock(counts, states, column, count, last, space):
    """Distance to the column before whose changes, and values, tell most about this one's; 0 if none tells enough.

    space.ticks[column] holds this one's own. `last` is preferred.
    """
    ticks = space.ticks
    words = (count + 63) >> 6
    own = np.int64(ticks[column, 0])
    alone = _entropy(own, count)
    best = np.int64(0)
    best_bits = alone - _BITS_MIN
    for distance in range(1, min(column, CANDIDATES_MAX) + 1):
        source = column - distance
        others = np.int64(ticks[source, 0])
        if others == 0:
            continue
        both = np.int64(0)
        for w in range(words):
            both += _ones(ticks[source, 1 + w] & ticks[column, 1 + w])
        bits = _entropy(both, others) + _entropy(own - both, count - others)
        if distance <= _FORETELLERS_MAX and own > _CHANGES_MIN and 4 * both > 3 * own:
            bits -= _FORETOLD_BITS * _foretold(counts, states, column, distance, count, space)
        if distance == last:
            bits -= _BITS_MIN / 2
        if bits < best_bits:
            best = np.int64(distance)
            best_bits = bits
    return best
