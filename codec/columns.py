"""A block's body: column after column, each under the model that codes it in the fewest bits.

Rules
- `_code_columns` writes a body or reads one: the same statements run on both sides. What only an encoder knows (the
  sampled counts, the tube) decides what is coded, never what a coded thing means.
- Values that are not available take no part: a model sees the available values of a column one after the other, and
  availability itself is coded as runs before them.
- Kernels allocate nothing and raise nothing; `Workspace` brings all arrays. A column's digest is a pair of sums over
  its reconstructed counts (Fletcher 1982), so that two sides whose predictors differ find out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codec import patterns
from codec.contexts import Contexts, close_cells, open_cells
from codec.kernel import entry, kernel
from codec.layout import (
    C_AVAILABILITY,
    C_FLAGS,
    C_INITIAL,
    C_MODEL,
    C_PATTERN,
    ERROR_MAX,
    GUARD_START,
    GUARD_STOP,
    HOLD,
    KIND,
    MODELS,
    SCALED,
    STEP,
    TURN,
    Workspace,
)
from codec.models import choose_model, run_model, settle
from codec.range_coder import (
    DECODING,
    POSITION,
    SLACK_BYTES,
    STATUS,
    STATUS_DAMAGED,
    STATUS_TOO_LARGE,
    code_bit,
    code_count,
    code_int,
    finish_encoding,
    start_decoding,
    start_encoding,
)
from codec.residuals import (
    AVAILABILITY,
    FRACTION,
    FRESH,
    LAST,
    LENGTH,
    LEVEL,
    MODEL,
    ORDER,
    RUN,
    STATE_SIZE,
    TREND,
    WEIGHTS,
    too_large,
)
from codec.schema import SCALED_BITS_MAX
from codec.signature import I64, I64x2, U8x2
from codec.tube import fill_tube, unwrap

_AVAILABLE = 0
_COUNTS_MAX = 1 << SCALED_BITS_MAX


@kernel
def _start_state(state, weights):
    """What a keyframe starts from."""
    state[:WEIGHTS] = 0
    state[LENGTH] = 1
    state[FRESH] = 1
    for k in range(ORDER):
        state[WEIGHTS + k] = weights[k]


@kernel
def _code_availability(coder, buffer, ctx, states, count, last):
    """Writes or reads states[:count] as runs. Returns the last state."""
    changed = 0
    if not coder[DECODING]:
        for i in range(count):
            if states[i] != last:
                changed = 1
                break
    if code_bit(coder, buffer, ctx, C_AVAILABILITY, changed) == 0:
        for i in range(count):
            states[i] = last
        return last
    position = 0
    while position < count:
        state = np.int64(states[position])
        row = C_AVAILABILITY + 1 + 4 * last
        high = code_bit(coder, buffer, ctx, row, state >> 1)
        state = 2 * high + code_bit(coder, buffer, ctx, row + 1 + high, state & 1)
        length = 0
        if not coder[DECODING]:
            end = position
            while end < count and states[end] == state:
                end += 1
            length = end - position if end < count else 0
        length = code_count(coder, buffer, ctx, C_AVAILABILITY + 17, length)
        if length == 0:
            length = count - position
        if position + length > count:
            coder[STATUS] = STATUS_DAMAGED
            return last
        for i in range(position, position + length):
            states[i] = state
        position += length
        last = state
    return last


@kernel
def _code_model(coder, buffer, ctx, fresh, last_model, model):
    row = MODELS if fresh else last_model
    if code_bit(coder, buffer, ctx, C_MODEL + row, 0 if model == last_model else 1) == 0:
        return last_model
    base = C_MODEL + 8 + 8 * row
    node = 1
    for k in range(2, -1, -1):
        node = 2 * node + code_bit(coder, buffer, ctx, base + node, (model >> k) & 1)
    if node - 8 >= MODELS:
        coder[STATUS] = STATUS_DAMAGED
        return np.int64(HOLD)
    return np.int64(node - 8)


@kernel
def _code_start(coder, buffer, ctx, state, step, first):
    """After a keyframe: about where the column is, in steps."""
    at = np.int64(0)
    if not coder[DECODING]:
        at = (first + (step >> 1)) // step
    state[LAST] = code_int(coder, buffer, ctx, C_INITIAL, at) * step
    state[LEVEL] = state[LAST] << FRACTION
    state[FRESH] = 0
    if too_large(state[LAST]):
        coder[STATUS] = STATUS_DAMAGED


@kernel
def _code_scaled(coder, buffer, ctx, state, p, guards, count, space):
    """One column of scaled counts: space.values[:count] in, reconstructed counts out in space.column."""
    encoding = not coder[DECODING]
    turn = p[TURN]
    circular = 0
    if turn > 0:
        if encoding:
            circular = 1
            for i in range(count):
                if space.values[i] < 0 or space.values[i] >= turn:
                    circular = 0
        circular = code_bit(coder, buffer, ctx, C_FLAGS, circular)
        turns = state[LAST] - state[LAST] % turn
        state[LAST] -= turns
        state[LEVEL] -= turns << FRACTION
    fresh = state[FRESH] == 1
    if fresh:
        _code_start(coder, buffer, ctx, state, p[STEP], space.values[0])
    model = np.int64(HOLD)
    correct = False
    found = np.int64(0)
    if encoding:
        for i in range(count):
            if space.values[i] > _COUNTS_MAX or space.values[i] < -_COUNTS_MAX:
                coder[STATUS] = STATUS_TOO_LARGE
                return
        if circular:
            unwrap(space.values, count, turn, state[LAST])
        fill_tube(
            space.values, count, p[ERROR_MAX], turn if circular else 0,
            guards, p[GUARD_START], p[GUARD_STOP], space.low, space.high,
        )  # fmt: skip
        model, correct, found = choose_model(ctx, state, p, count, space)
    model = _code_model(coder, buffer, ctx, fresh, state[MODEL], model)
    correct = code_bit(coder, buffer, ctx, C_FLAGS + 1, 1 if correct else 0) == 1
    run_model(coder, buffer, ctx, model, correct, p, count, found, state, space)
    settle(state, model, space.column, count)
    if circular:
        for i in range(count):
            space.column[i] = space.column[i] % turn


@kernel
def _code_pattern(coder, buffer, ctx, state, count, space):
    """One column of bit patterns: space.values and space.sent in, space.column out."""
    state[RUN] = patterns.code_patterns(
        coder, buffer, ctx, C_PATTERN, space.values, space.sent, count, state[LAST], state[RUN], space.column
    )
    state[LAST] = space.column[count - 1]


@kernel
def _gather(coder, counts, states, changes, count, space):
    """Lays the available values of a column one after the other, if there are any yet. Returns how many there are."""
    available = 0
    if coder[DECODING]:
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
def _scatter(counts, states, count, available, column, state, digest):
    """Puts the reconstructed values back in their places, 0 elsewhere, and sums up the column's digest."""
    total = np.uint64(0)
    weighted = np.uint64(count)
    if available == count:
        for i in range(count):
            counts[i] = column[i]
            value = np.uint64(column[i])
            total += value
            weighted += value * np.uint64(count - i)
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
            weighted += value * np.uint64(count - i)
    digest[0] = total + np.uint64(state[LEVEL]) + np.uint64(state[TREND])
    digest[1] = weighted


@kernel
def _code_column(coder, buffer, ctx, state, p, guards, counts, states, changes, count, space, digest):
    """One column, in place: counts and states in their order of time."""
    state[AVAILABILITY] = _code_availability(coder, buffer, ctx, states, count, state[AVAILABILITY])
    if coder[STATUS] != 0:
        return
    available = _gather(coder, counts, states, changes, count, space)
    if available > 0:
        if p[KIND] == SCALED:
            _code_scaled(coder, buffer, ctx, state, p, guards, available, space)
        else:
            _code_pattern(coder, buffer, ctx, state, available, space)
    _scatter(counts, states, count, available, space.column, state, digest)


@kernel
def _code_columns(prior, weights, memory, parameters, guards, counts, states, changes, space):
    """Writes the body of a block, or reads one, in place. Returns how many words of space.memory are filled."""
    coder = space.coder
    columns, count = counts.shape
    after = space.memory
    kept_from = columns * (STATE_SIZE + 1)  # here and in `memory`, which is empty before a keyframe
    kept_to = kept_from
    start = kept_from
    for j in range(columns):
        state = after[j * STATE_SIZE : (j + 1) * STATE_SIZE]
        stop = start
        if memory.size > 0:
            for k in range(STATE_SIZE):
                state[k] = memory[j * STATE_SIZE + k]
            stop = start + memory[columns * STATE_SIZE + j]
        else:
            _start_state(state, weights[min(j, len(weights) - 1)])
        open_cells(space.cells, space.used, space.place, memory, start, stop)
        start = stop
        ctx = Contexts(
            space.cells, space.used, space.place, space.cells, space.place, prior[min(j, len(prior) - 1)]
        )
        _code_column(
            coder, space.buffer, ctx, state, parameters[j], guards, counts[j], states[j], changes[j], count, space,
            space.digests[j],
        )  # fmt: skip
        if coder[STATUS] != 0:
            return 0
        end = close_cells(space.cells, space.used, space.place, after, kept_to)
        after[columns * STATE_SIZE + j] = end - kept_to
        kept_to = end
    return kept_to


@entry
def encode_columns(
    prior: I64x2, weights: I64x2, memory: I64, parameters: I64x2, guards: I64x2, counts: I64x2, states: U8x2,
    changes: U8x2, space: Workspace,
) -> Any:  # fmt: skip
    """Writes the body of a block: space.buffer[:space.coder[SIZE]].

    counts int64[m, n] and states uint8[m, n]: sampled in, reconstructed out. `prior` int64[rows, CONTEXTS] and `weights`
    int64[rows, ORDER] have one row for every column, or one for all. `memory` int64[...] is what the stream remembers
    of the block before, empty before a keyframe. `changes` uint8[m, n] says which values of pattern columns have to be
    sent. Fills space.digests[:m] and space.memory; returns how much of it, or less than 0: -STATUS.
    """
    coder = space.coder
    start_encoding(coder, space.buffer)
    filled = _code_columns(prior, weights, memory, parameters, guards, counts, states, changes, space)
    finish_encoding(coder, space.buffer)
    return filled if coder[STATUS] == 0 else -coder[STATUS]


@entry
def decode_columns(
    prior: I64x2, weights: I64x2, memory: I64, parameters: I64x2, counts: I64x2, states: U8x2, size: int, space: Workspace
) -> Any:  # fmt: skip
    """Reads the body of a block, space.buffer[:size], into counts int64[m, n] and states uint8[m, n].

    The rest is as for `encode_columns`. A reader needs neither guards nor changes: arrays of their types stand in.
    """
    coder = space.coder
    start_decoding(coder, space.buffer, size)
    filled = _code_columns(prior, weights, memory, parameters, parameters, counts, states, states, space)
    if coder[STATUS] == 0 and coder[POSITION] > size + SLACK_BYTES:
        coder[STATUS] = STATUS_DAMAGED
    return filled if coder[STATUS] == 0 else -coder[STATUS]
