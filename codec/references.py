"""What a column shares with one before it: its states or its values. (What tells when it changes: clocks.py.)

Rules
- A reference is a distance back in the schema's order, at least 1: it never points at what is not decoded yet, and
  what it copies is bounded by the block.
- Signals of one message change together, are there or not together, and often are each other's copies. The encoder
  finds out by comparing columns; the schema says nothing of it.
- Only the encoder searches (`find_*`), among the CANDIDATES_MAX columns before a column.
"""

from __future__ import annotations

import numpy as np

from codec.kernel import kernel
from codec.range_coder import DECODING, INT_CONTEXTS, STATUS, STATUS_DAMAGED, code_bit, code_count
from codec.residuals import AVAILABILITY

REFERENCE_CONTEXTS = 1 + INT_CONTEXTS
STATES_CONTEXTS = 9 + 9 + 16 + INT_CONTEXTS + REFERENCE_CONTEXTS

# How the states of a column were coded.
AS_BEFORE, AS_ANOTHER, OWN = range(3)

CANDIDATES_MAX = 256
_AVAILABLE = 0
_ONE = np.uint64(1)


@kernel
def code_reference(coder, buffer, ctx, base, column, last, distance):
    """A distance back from a column; `last`: the one of the last time."""
    if code_bit(coder, buffer, ctx, base, 1 if distance != last else 0) == 0:
        return last
    distance = code_count(coder, buffer, ctx, base + 1, distance)
    if distance > column:
        coder[STATUS] = STATUS_DAMAGED
        return np.int64(0)
    return distance


@kernel
def _mark(states, column, count):
    """A number that tells columns of states apart."""
    mark = np.uint64(0)
    for i in range(count):
        mark = (mark ^ np.uint64(states[column, i])) * np.uint64(0x100000001B3) + _ONE
    return mark | _ONE


@kernel
def _find_states(states, column, count, first, marks):
    """Distance to the nearest column before that has the same states; 0 if none has. `first` is tried first."""
    marks[column] = _mark(states, column, count)
    for k in range(min(column, CANDIDATES_MAX) + 1):
        distance = k if k > 0 else first
        if distance == 0 or marks[column - distance] != marks[column]:
            continue
        same = True
        for i in range(count):
            if states[column - distance, i] != states[column, i]:
                same = False
                break
        if same:
            return np.int64(distance)
    return np.int64(0)


@kernel
def _all_alike(states, column, count):
    for i in range(1, count):  # noqa: SIM110 (kernels have no generators)
        if states[column, i] != states[column, 0]:
            return False
    return True


@kernel
def _code_runs(coder, buffer, ctx, base, states, column, count, last):
    """Writes or reads states[column, :count] as runs. Returns the last state."""
    position = 0
    while position < count:
        state = np.int64(states[column, position])
        row = base + 4 * last
        high = code_bit(coder, buffer, ctx, row, state >> 1)
        state = 2 * high + code_bit(coder, buffer, ctx, row + 1 + high, state & 1)
        length = 0
        if not coder[DECODING]:
            end = position
            while end < count and states[column, end] == state:
                end += 1
            length = end - position if end < count else 0
        length = code_count(coder, buffer, ctx, base + 16, length)
        if length == 0:
            length = count - position
        if position + length > count:
            coder[STATUS] = STATUS_DAMAGED
            return last
        for i in range(position, position + length):
            states[column, i] = state
        position += length
        last = state
    return last


@kernel
def code_states(coder, buffer, ctx, base, state, row, like, states, column, count, marks):
    """Writes or reads states[column, :count]: as before, as another column's, or as runs. Returns which.

    `row`: what the column before it had; `like`: index in `state` of the distance to the column last referred to.
    """
    last = state[AVAILABILITY]
    distance = np.int64(0)
    how = AS_BEFORE
    if not coder[DECODING]:
        marks[column] = 0
        for i in range(count):
            if states[column, i] != last:
                how = OWN
                if not _all_alike(states, column, count):
                    distance = _find_states(states, column, count, state[like], marks)
                    how = AS_ANOTHER if distance > 0 else OWN
                break
    if code_bit(coder, buffer, ctx, base + row, 1 if how != AS_BEFORE else 0) == 0:
        for i in range(count):
            states[column, i] = last
        return AS_BEFORE
    if column > 0 and code_bit(coder, buffer, ctx, base + 9 + row, 1 if how == AS_ANOTHER else 0) == 1:
        distance = code_reference(coder, buffer, ctx, base + 34 + INT_CONTEXTS, column, state[like], distance)
        if distance == 0:
            coder[STATUS] = STATUS_DAMAGED
            return AS_ANOTHER
        for i in range(count):
            states[column, i] = states[column - distance, i]
        state[like] = distance
        state[AVAILABILITY] = states[column, count - 1]
        return AS_ANOTHER
    state[AVAILABILITY] = _code_runs(coder, buffer, ctx, base + 18, states, column, count, last)
    return OWN


@kernel
def fits(counts, states, column, distance, count, space):
    """Whether another column's counts lie inside this one's tube, wherever this one is available."""
    k = 0
    for i in range(count):
        if states[column, i] == _AVAILABLE:
            value = counts[column - distance, i]
            if value < space.low[k] or value > space.high[k]:
                return False
            k += 1
    return True


@kernel
def find_copy(counts, states, column, count, first, space):
    """Distance to a column before whose counts may stand for this one's; 0 if there is none."""
    if 0 < first <= column and fits(counts, states, column, first, count, space):
        return np.int64(first)
    for distance in range(1, min(column, CANDIDATES_MAX) + 1):
        if space.ticks[column - distance, 0] > 0 and fits(counts, states, column, distance, count, space):
            return np.int64(distance)
    return np.int64(0)


@kernel
def copy_column(counts, states, column, distance, count, values):
    """Lays the counts of another column at this one's available records one after the other."""
    k = 0
    for i in range(count):
        if states[column, i] == _AVAILABLE:
            values[k] = counts[column - distance, i]
            k += 1
