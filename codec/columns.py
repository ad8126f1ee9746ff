"""A block's body: column after column, each under the model that codes it in the fewest bits.

Rules
- `code_columns` writes a body or reads one: the same statements run on both sides. What only an encoder knows (the
  sampled counts, the tube) decides what is coded, never what a coded thing means.
- Values that are not available take no part: a model sees the available values of a column one after the other, and
  availability itself is coded as runs before them.
- Kernels allocate nothing and raise nothing; `Workspace` brings all arrays. A column's digest is a pair of sums over
  its reconstructed counts (Fletcher 1982), so that two sides whose predictors differ find out.
"""

from __future__ import annotations

import numpy as np

from codec import patterns
from codec.kernel import kernel
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
)
from codec.models import choose_model, run_model, settle
from codec.range_coder import DECODING, STATUS, STATUS_DAMAGED, code_bit, code_count, code_int
from codec.residuals import (
    AVAILABILITY,
    FRACTION,
    FRESH,
    HISTORY,
    LAST,
    LENGTH,
    LEVEL,
    MODEL,
    ORDER,
    RUN,
    TREND,
    too_large,
)
from codec.tube import fill_tube, unwrap

_AVAILABLE = 0


@kernel
def reset_state(state):
    """What a keyframe starts from; the filter's weights are the prior's business."""
    for k in range(HISTORY + ORDER):
        state[k] = 0
    state[LENGTH] = 1
    state[FRESH] = 1


@kernel
def _code_availability(coder, buffer, ctx, states, column, count, last):
    """Writes or reads states[:count, column] as runs. Returns the last state."""
    changed = 0
    if not coder[DECODING]:
        for i in range(count):
            if states[i, column] != last:
                changed = 1
                break
    if code_bit(coder, buffer, ctx, C_AVAILABILITY, changed) == 0:
        for i in range(count):
            states[i, column] = last
        return last
    position = 0
    while position < count:
        state = np.int64(states[position, column])
        row = C_AVAILABILITY + 1 + 4 * last
        high = code_bit(coder, buffer, ctx, row, state >> 1)
        state = 2 * high + code_bit(coder, buffer, ctx, row + 1 + high, state & 1)
        length = 0
        if not coder[DECODING]:
            end = position
            while end < count and states[end, column] == state:
                end += 1
            length = end - position if end < count else 0
        length = code_count(coder, buffer, ctx, C_AVAILABILITY + 17, length)
        if length == 0:
            length = count - position
        if position + length > count:
            coder[STATUS] = STATUS_DAMAGED
            return last
        for i in range(position, position + length):
            states[i, column] = state
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
def _gather(counts, states, changes, column, count, space):
    """Lays the available values of a column one after the other. Returns how many there are."""
    available = 0
    for i in range(count):
        if states[i, column] == _AVAILABLE:
            space.values[available] = counts[i, column]
            space.sent[available] = changes[i, column]
            available += 1
    return available


@kernel
def _scatter(counts, states, column, count, space, state, digest):
    """Puts the reconstructed values back in their places, 0 elsewhere, and sums up the column's digest."""
    total = np.uint64(0)
    weighted = np.uint64(count)
    k = 0
    for i in range(count):
        if states[i, column] == _AVAILABLE:
            counts[i, column] = space.column[k]
            total += np.uint64(space.column[k])
            k += 1
        else:
            counts[i, column] = 0
            total += np.uint64(states[i, column]) << np.uint64(60)
        weighted += total
    digest[0] = total + np.uint64(state[LEVEL]) + np.uint64(state[TREND])
    digest[1] = weighted


@kernel
def code_columns(
    coder, buffer, contexts, column_states, parameters, guards, counts, states, changes, count, space, digests
):  # fmt: skip
    """Writes the body of a block, or reads one, in place.

    counts int64[n, m] and states uint8[n, m]: sampled in, reconstructed out. `contexts` uint16[m, CONTEXTS, 3] and
    `column_states` int64[m, STATE_SIZE] go on from block to block. `changes` uint8[n, m] says, for pattern columns
    being written, which values have to be sent. digests uint64[m, 2] is filled.
    """
    for j in range(counts.shape[1]):
        ctx = contexts[j]
        state = column_states[j]
        state[AVAILABILITY] = _code_availability(coder, buffer, ctx, states, j, count, state[AVAILABILITY])
        if coder[STATUS] != 0:
            return
        available = _gather(counts, states, changes, j, count, space)
        if available > 0:
            if parameters[j, KIND] == SCALED:
                _code_scaled(coder, buffer, ctx, state, parameters[j], guards, available, space)
            else:
                _code_pattern(coder, buffer, ctx, state, available, space)
            if coder[STATUS] != 0:
                return
        _scatter(counts, states, j, count, space, state, digests[j])
