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
from codec.available import any_too_large, gather, scatter
from codec.clocks import note_ticks, set_clock
from codec.contexts import Contexts, close_cells, open_cells
from codec.kernel import entry, kernel
from codec.layout import (
    C_CLOCK,
    C_FLAGS,
    C_INITIAL,
    C_MODEL,
    C_PATTERN,
    C_STATES,
    C_VALUES,
    CELLS,
    CODED,
    COPY,
    ERROR_MAX,
    FORCED,
    GUARD_START,
    GUARD_STOP,
    HOLD,
    KIND,
    LINE,
    MODELS,
    RECALL,
    SCALED,
    SPARSE,
    STEP,
    STILL,
    TURN,
    Start,
    Workspace,
)
from codec.models import choose_model, run_model, settle, settle_run
from codec.range_coder import (
    DECODING,
    POSITION,
    SLACK_BYTES,
    STATUS,
    STATUS_DAMAGED,
    code_bit,
    code_int,
    finish_encoding,
    start_decoding,
    start_encoding,
)
from codec.references import (
    AS_BEFORE,
    code_reference,
    code_states,
    copy_column,
    find_copy,
)
from codec.residuals import (
    BEFORE,
    CLOCK,
    COPIED,
    FRACTION,
    FRESH,
    HOW_STATES,
    HOW_VALUES,
    LAST,
    LENGTH,
    LEVEL,
    LIKE,
    MODEL,
    ORDER,
    RUN,
    RUNS,
    STATE_SIZE,
    WEIGHTS,
    too_large,
)
from codec.signature import I64, U8, I64x2, U8x2, U64x2
from codec.tube import fill_tube, unwrap


@kernel
def _start_state(state, weights):
    """What a keyframe starts from."""
    state[:WEIGHTS] = 0
    state[LENGTH] = 1
    state[FRESH] = 1
    state[LIKE] = 1
    for k in range(ORDER):
        state[WEIGHTS + k] = weights[k]


@kernel
def _code_model(coder, buffer, ctx, fresh, last_model, model):
    row = MODELS if fresh else last_model
    if code_bit(coder, buffer, ctx, C_MODEL + row, 0 if model == last_model else 1) == 0:
        return last_model
    base = C_MODEL + MODELS + 1 + 8 * row
    node = 1
    for k in range(2, -1, -1):
        node = 2 * node + code_bit(coder, buffer, ctx, base + node, (model >> k) & 1)
    return np.int64(node - 8)


@kernel
def _first_steps(value, step):
    """About where a column begins, in steps."""
    return (value + (step >> 1)) // step


@kernel
def _code_start(coder, buffer, ctx, state, step, first):
    """After a keyframe: about where the column is."""
    steps = np.int64(0) if coder[DECODING] else _first_steps(first, step)
    state[LAST] = code_int(coder, buffer, ctx, C_INITIAL, steps) * step
    state[LEVEL] = state[LAST] << FRACTION
    state[FRESH] = 0
    if too_large(state[LAST]):
        coder[STATUS] = STATUS_DAMAGED


@kernel
def _standing(state, turn):
    """What stands for every value of a column that does not change."""
    return state[LAST] % turn if turn > 0 else state[LAST]


@kernel
def _choose_values(counts, states, column, state, p, guards, records, count, space):
    """How an encoder codes a column's values; the distance to the column copied."""
    if p[FORCED] >= 0:
        return CODED, np.int64(0)
    scaled = p[KIND] == SCALED
    if scaled:
        fill_tube(
            space.values, count, p[ERROR_MAX], 0, guards, p[GUARD_START], p[GUARD_STOP], space.low, space.high
        )
    still = True
    if scaled:
        value = _standing(state, p[TURN])
        if state[FRESH] == 1:
            value = _first_steps(space.values[0], p[STEP]) * p[STEP]
            if p[TURN] > 0:
                value = value % p[TURN]
        for i in range(count):
            if value < space.low[i] or value > space.high[i]:
                still = False
                break
    else:
        for i in range(count):
            space.low[i] = space.values[i]
            space.high[i] = space.values[i]
            if space.sent[i]:
                still = False
    if still:
        return STILL, np.int64(0)
    distance = find_copy(counts, states, column, records, state[COPIED], space)
    return (COPY if distance > 0 else CODED), distance


@kernel
def _code_scaled(coder, buffer, ctx, starts, counts, states, state, column, p, guards, records, count, space):
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
        _code_start(coder, buffer, starts, state, p[STEP], space.values[0])
    model = np.int64(HOLD)
    correct = False
    literal = False
    clock = np.int64(0)
    found = np.int64(0)
    if encoding:
        if circular:
            unwrap(space.values, count, turn, state[LAST])
        fill_tube(
            space.values, count, p[ERROR_MAX], turn if circular else 0,
            guards, p[GUARD_START], p[GUARD_STOP], space.low, space.high,
        )  # fmt: skip
        model, correct, literal, clock, found = choose_model(
            ctx, counts, states, state, column, p, records, count, space
        )
    model = _code_model(coder, buffer, ctx, fresh, state[MODEL], model)
    correct = code_bit(coder, buffer, ctx, C_FLAGS + 1, 1 if correct else 0) == 1
    if model == RECALL:
        literal = code_bit(coder, buffer, ctx, C_FLAGS + 2, 1 if literal else 0) == 1
    if model == RECALL or model == SPARSE:
        state[CLOCK] = code_reference(coder, buffer, ctx, C_CLOCK, column, state[CLOCK], clock)
        set_clock(counts, states, space.before, column, state[CLOCK], records, count, space.clock)
    run_model(coder, buffer, ctx, model, correct, literal, p, count, found, state, space)
    settle(state, model, space.column, count)
    if circular:
        for i in range(count):
            if space.column[i] < 0 or space.column[i] >= turn:  # rarely: a division takes long
                space.column[i] = space.column[i] % turn


@kernel
def _code_pattern(coder, buffer, ctx, state, count, space):
    """One column of bit patterns: space.values and space.sent in, space.column out."""
    state[RUN] = patterns.code_patterns(
        coder, buffer, ctx, C_PATTERN, space.values, space.sent, count, state[LAST], state[RUN], space.column
    )
    state[LAST] = space.column[count - 1]


@kernel
def _code_values(
    coder, buffer, ctx, shared, starts, counts, states, state, column, p, guards, before, records, count, space
):  # fmt: skip
    """The available values of a column: they stand still, are another column's, or are coded. Returns which.

    `before`: which it was in the column before this one. `starts`: contexts of where columns begin.
    """
    scaled = p[KIND] == SCALED
    how = np.int64(CODED)
    distance = np.int64(0)
    if not coder[DECODING]:
        if scaled and any_too_large(coder, space.values, count):
            return how
        how, distance = _choose_values(counts, states, column, state, p, guards, records, count, space)
    row = 3 * (32 if state[FRESH] == 1 else state[HOW_VALUES])
    if code_bit(coder, buffer, shared, C_VALUES + row + before, 1 if how != STILL else 0) == 0:
        how = np.int64(STILL)
        if state[FRESH] == 1 and scaled:
            _code_start(coder, buffer, starts, state, p[STEP], space.values[0])
        value = _standing(state, p[TURN])
        for i in range(count):
            space.column[i] = value
        state[RUN] = min(state[RUN] + count, RUNS)
    elif (
        column > 0
        and code_bit(coder, buffer, shared, C_VALUES + 99 + row + before, 1 if how == COPY else 0) == 1
    ):
        how = np.int64(COPY)
        distance = code_reference(coder, buffer, shared, C_VALUES + 198, column, state[COPIED], distance)
        state[COPIED] = distance
        if distance == 0:
            coder[STATUS] = STATUS_DAMAGED
            return how
        copy_column(counts, states, column, distance, records, space.column)
        _settle_copy(coder, state, scaled, count, space)
    elif scaled:
        how = np.int64(CODED)
        _code_scaled(
            coder, buffer, ctx, starts, counts, states, state, column, p, guards, records, count, space
        )
    else:
        how = np.int64(CODED)
        _code_pattern(coder, buffer, ctx, state, count, space)
    state[HOW_VALUES] = ((state[HOW_VALUES] << 1) | (1 if how == CODED else 0)) & 31
    state[FRESH] = 0
    return how


@kernel
def _settle_copy(coder, state, scaled, count, space):
    if scaled:
        for i in range(count):
            if too_large(space.column[i]):
                coder[STATUS] = STATUS_DAMAGED
                return
        model = state[MODEL]
        settle(state, HOLD, space.column, count)
        state[MODEL] = model
    else:
        settle_run(state, space.column, count)
        state[LAST] = space.column[count - 1]


@kernel
def _code_column(
    coder, buffer, ctx, shared, starts, state, column, p, guards, counts, states, changes, how, count, digest, space
):  # fmt: skip
    """One column, in place. `how` int64[2]: how the states and the values of the column before it were coded; this one's,
    afterwards.
    """
    how[0] = code_states(
        coder,
        buffer,
        shared,
        C_STATES,
        state,
        3 * state[HOW_STATES] + how[0],
        LIKE,
        states,
        column,
        count,
        space.marks,
    )
    state[HOW_STATES] = how[0]
    if coder[STATUS] != 0:
        return
    available = gather(
        coder, counts[column], states[column], changes[column], how[0] == AS_BEFORE, count, space
    )
    if available > 0:
        how[1] = _code_values(
            coder,
            buffer,
            ctx,
            shared,
            starts,
            counts,
            states,
            state,
            column,
            p,
            guards,
            how[1],
            count,
            available,
            space,
        )
    scatter(counts[column], states[column], count, available, space.column, state, digest)
    if not coder[DECODING]:
        space.ticks[column, 0] = 0
        if available > 0 and how[1] == CODED and state[MODEL] != LINE:
            note_ticks(counts, column, state[BEFORE], count, space.ticks)
    state[BEFORE] = counts[column, count - 1]


@kernel
def _code_columns(
    buffer, prior, weights, memory, parameters, guards, counts, states, changes, digests, after, space
):  # fmt: skip
    """Writes the body of a block, or reads one, in place. Returns how many words of `after` are filled."""
    coder = space.coder
    columns, count = counts.shape
    how = space.how
    how[:] = 0
    kept_from = columns * (STATE_SIZE + 1) + 1  # here and in `memory`, which is empty before a keyframe
    kept_to = kept_from
    start = kept_from
    shared_from = memory.size
    space.before[:columns] = 0
    if memory.size > 0:
        shared_from -= memory[kept_from - 1]
        for j in range(columns):
            space.before[j] = memory[j * STATE_SIZE + BEFORE]
    open_cells(space.shared_cells, space.shared_used, space.shared_place, memory, shared_from, memory.size)
    shared = Contexts(
        space.shared_cells,
        space.shared_used,
        space.shared_place,
        space.shared_cells,
        space.shared_place,
        prior[0],
    )
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
            coder, buffer, ctx, shared, shared if len(prior) == 1 else ctx, state, j, parameters[j], guards,
            counts, states, changes, how, count, digests[j], space,
        )  # fmt: skip
        if coder[STATUS] != 0:
            return 0
        end = close_cells(space.cells, space.used, space.place, after, kept_to)
        after[columns * STATE_SIZE + j] = end - kept_to
        kept_to = end
    end = close_cells(space.shared_cells, space.shared_used, space.shared_place, after, kept_to)
    after[kept_from - 1] = end - kept_to
    return end


@entry
def encode_columns(
    start: Start, memory: I64, guards: I64x2, counts: I64x2, states: U8x2, changes: U8x2, space: Workspace
) -> Any:
    """Writes the body of a block: space.buffer[:space.coder[SIZE]].

    counts int64[m, n] and states uint8[m, n]: sampled in, reconstructed out. `memory` int64[...] is what the stream
    remembers of the block before, empty before a keyframe. `changes` uint8[m, n] says which values of pattern columns
    have to be sent. Fills space.digests[:m] and space.memory; returns how much of it, or less than 0: -STATUS.
    """
    coder = space.coder
    start_encoding(coder, space.buffer)
    filled = _code_columns(
        space.buffer, start.prior, start.weights, memory, start.parameters, guards, counts, states, changes,
        space.digests, space.memory, space,
    )  # fmt: skip
    finish_encoding(coder, space.buffer)
    return filled if coder[STATUS] == 0 else -coder[STATUS]


@kernel
def _read_columns(body, start, memory, counts, states, digests, after, space):
    coder = space.coder
    start_decoding(coder, body, body.size)
    filled = _code_columns(
        body, start.prior, start.weights, memory, start.parameters, start.parameters, counts, states, states, digests,
        after, space,
    )  # fmt: skip
    if coder[STATUS] == 0 and coder[POSITION] > body.size + SLACK_BYTES:
        coder[STATUS] = STATUS_DAMAGED
    return filled if coder[STATUS] == 0 else -coder[STATUS]


@entry
def decode_columns(
    start: Start, memory: I64, counts: I64x2, states: U8x2, size: int, space: Workspace
) -> Any:
    """Reads the body of a block, space.buffer[:size], into counts int64[m, n] and states uint8[m, n].

    The rest is as for `encode_columns`.
    """
    return _read_columns(
        space.buffer[:size], start, memory, counts, states, space.digests, space.memory, space
    )


@entry
def decode_together(
    start: Start, blocks: I64x2, bodies: U8, memory: I64, counts: I64x2, states: U8x2, digests: U64x2, space: Workspace
) -> Any:  # fmt: skip
    """Reads the bodies of k blocks of as many streams of one schema, of n records each. Returns how many it has read: fewer
    than k where space.memory has no room for one more.

    blocks int64[k, 5]: where in `bodies` a body begins and ends; where in `memory` what its stream remembers; and, filled, up
    to where space.memory has what the next stream remembers after its block, or less than 0: -STATUS. Fills counts
    int64[k m, n], states uint8[k m, n] and digests uint64[k m, 2].
    """
    signals = len(start.parameters)
    kept = np.int64(0)
    for k in range(len(blocks)):
        if kept + signals * (STATE_SIZE + 1 + CELLS) + 1 + CELLS > space.memory.size:
            return k
        first = k * signals
        last = first + signals
        filled = _read_columns(
            bodies[blocks[k, 0] : blocks[k, 1]], start, memory[blocks[k, 2] : blocks[k, 3]], counts[first:last],
            states[first:last], digests[first:last], space.memory[kept:], space,
        )  # fmt: skip
        kept += max(filled, 0)
        blocks[k, 4] = kept if filled >= 0 else filled
    return len(blocks)
