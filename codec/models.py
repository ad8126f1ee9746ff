"""The models of a scaled column: how one is run, and how the encoder finds the cheapest.

Rules
- The encoder tries models on copies of the column's state and contexts, by coding for real into a trial buffer: what it
  compares are true costs.
- Whatever model a block used, `_settle` leaves the state that every other model would start from.
"""

from __future__ import annotations

import numpy as np

from codec import events, residuals
from codec.contexts import Contexts, next_stamp
from codec.kernel import kernel
from codec.layout import (
    C_CLASSIC,
    C_CORRECTION,
    C_FILTER,
    C_HOLD,
    C_HOLT,
    C_LINE,
    C_SMOOTH,
    C_SPARSE,
    CLASSIC,
    FILTER,
    FORCED,
    GRID,
    HOLD,
    HOLT,
    LINE,
    MODELS,
    SMOOTH,
    SPARSE,
    STEP,
)
from codec.range_coder import DECODING, STATUS, STATUS_DAMAGED, bits_written, start_encoding
from codec.residuals import (
    FRACTION,
    HISTORY,
    LAST,
    LENGTH,
    LEVEL,
    MODEL,
    ORDER,
    RISE,
    RUN,
    RUNS,
    STATE_SIZE,
    TREND,
    code_correction,
)

# alpha and beta in 1/65536 of SMOOTH (the limit a = 1 of single smoothing), CLASSIC (a = 0.3) and HOLT.
_ONE = 1 << 16
_CLASSIC_ALPHA = round(0.3 * _ONE)
_HOLT_BETA = round(0.25 * _ONE)

_ARITHMETIC_MAX = 1 << 30  # models that multiply are tried on counts below this
_CHEAP_BITS = 0.6  # per value: where look-ahead is that good, no causal model wins
_CHEAP_BLOCK_BITS = 8  # for a whole block: where hold without an event is that good, no search for lines pays
_SWITCH_BITS = 3  # about what it costs to name another model than last time


@kernel
def run_model(coder, buffer, ctx, model, correct, p, count, found, state, space):
    """Codes one column under one model into space.column. Returns how many values lie outside the tube.

    With `correct` it is always 0: each value outside is repaired by a correction.
    """
    outside = 0
    if model == HOLD or model == LINE:
        at = space.events_at[model]
        value = space.events_value[model]
        if model == HOLD:
            events.code_levels(
                coder, buffer, ctx, C_HOLD, count, p[GRID], state[LAST], at, value, found, space.column
            )
        else:
            events.code_lines(
                coder, buffer, ctx, C_LINE, count, p[GRID], state[LAST], state[RISE : LENGTH + 1], at, value, found,
                space.column,
            )  # fmt: skip
        for i in range(count):
            reached = space.column[i]
            if correct:
                space.column[i] = code_correction(
                    coder, buffer, ctx, C_CORRECTION, space.values[i], space.low[i], space.high[i], reached
                )
                if residuals.too_large(space.column[i]):
                    coder[STATUS] = STATUS_DAMAGED
            elif not coder[DECODING] and (reached < space.low[i] or reached > space.high[i]):
                outside += 1
    elif model == FILTER or model == SPARSE:
        base = C_FILTER if model == FILTER else C_SPARSE
        outside = residuals.code_filter(
            coder, buffer, ctx, base, C_CORRECTION, correct, model == SPARSE,
            space.values, space.low, space.high, count, p[STEP], state, space.column,
        )  # fmt: skip
    else:
        base = C_SMOOTH if model == SMOOTH else C_CLASSIC if model == CLASSIC else C_HOLT
        alpha = _CLASSIC_ALPHA if model == CLASSIC else _ONE
        beta = _HOLT_BETA if model == HOLT else 0
        outside = residuals.code_smooth(
            coder, buffer, ctx, base, C_CORRECTION, correct,
            space.values, space.low, space.high, count, p[STEP], alpha, beta, state, space.column,
        )  # fmt: skip
    return outside


@kernel
def settle(state, model, column, count):
    """Carries a block's end over into the state that the other models start from."""
    before = state[LAST]
    last = column[count - 1]
    if model != FILTER and model != SPARSE:
        fresh = min(ORDER, count)
        for k in range(ORDER - 1, fresh - 1, -1):
            state[HISTORY + k] = state[HISTORY + k - fresh]
        for k in range(fresh):
            i = count - 1 - k
            state[HISTORY + k] = column[i] - (column[i - 1] if i > 0 else before)
    run = 0
    while run < count and column[count - 1 - run] == last:
        run += 1
    state[RUN] = run - 1 if run < count or last != before else min(state[RUN] + count, RUNS)
    if model == HOLD or model == LINE or model == FILTER or model == SPARSE:
        state[LEVEL] = last << FRACTION
        state[TREND] = 0
        if model == LINE:
            state[TREND] = state[HISTORY] << FRACTION
    if model != LINE:
        state[RISE] = state[HISTORY] if model == HOLT else 0
        state[LENGTH] = 1
    state[LAST] = last
    state[MODEL] = model


@kernel
def _try_model(ctx, state, model, p, count, found, space):
    """True cost of a model in bits, and whether it needs corrections."""
    correct = False
    bits = 0.0
    for _ in range(2):
        next_stamp(space.trial_cells, space.trial_place)
        trial = Contexts(
            space.trial_cells, space.trial_used, space.trial_place, ctx.cells, ctx.place, ctx.prior
        )
        for k in range(STATE_SIZE):
            space.trial_state[k] = state[k]
        start_encoding(space.trial_coder, space.trial_buffer)
        outside = run_model(
            space.trial_coder, space.trial_buffer, trial, model, correct, p, count, found,
            space.trial_state, space,
        )  # fmt: skip
        bits = bits_written(space.trial_coder)
        if space.trial_coder[STATUS] != 0:
            bits = 1e300
        if outside == 0 or correct:
            break
        correct = True
    return bits, correct


@kernel
def choose_model(ctx, state, p, count, space):
    """The cheapest model: (model, whether it needs corrections, events found)."""
    largest = np.int64(0)
    for i in range(count):
        largest = max(largest, abs(space.values[i]))
    best = np.int64(HOLD)
    best_bits = 1e300
    best_correct = False
    best_found = np.int64(0)
    for model in range(MODELS):
        found = np.int64(0)
        if p[FORCED] >= 0:
            if model != p[FORCED]:
                continue
        elif model == LINE and best_found == 0 and best_bits < _CHEAP_BLOCK_BITS:
            continue
        elif model > LINE and (largest >= _ARITHMETIC_MAX or best_bits < _CHEAP_BITS * count + 8):
            break
        if model == HOLD:
            found = events.find_levels(
                space.low, space.high, count, p[GRID], state[LAST], space.events_at[HOLD], space.events_value[HOLD]
            )  # fmt: skip
        elif model == LINE:
            found = events.find_lines(
                space.low, space.high, count, p[GRID], state[LAST], state[RISE], state[LENGTH],
                space.events_at[LINE], space.events_value[LINE], space.ends,
            )  # fmt: skip
        bits, correct = _try_model(ctx, state, model, p, count, found, space)
        if model != state[MODEL]:
            bits += _SWITCH_BITS
        if bits < best_bits:
            best = np.int64(model)
            best_bits = bits
            best_correct = correct
            best_found = found
    return best, best_correct, best_found
