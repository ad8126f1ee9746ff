"""The models of a scaled column: how one is run, and how the encoder finds the cheapest.

Rules
- The encoder tries models on copies of the column's state and contexts, by coding for real into a trial buffer: what it
  compares are true costs.
- Whatever model a block used, `_settle` leaves the state that every other model would start from.
"""

from __future__ import annotations

import numpy as np

from codec import events, recall, residuals
from codec.clocks import find_clock, note_changes, set_clock
from codec.contexts import Contexts, next_stamp
from codec.kernel import kernel
from codec.layout import (
    C_CLASSIC,
    C_CORRECTION,
    C_FILTER,
    C_HOLD,
    C_HOLT,
    C_LINE,
    C_RECALL,
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
    RECALL,
    SMOOTH,
    SPARSE,
    STEP,
    TABLES_AT,
)
from codec.range_coder import DECODING, STATUS, STATUS_DAMAGED, bits_written, start_encoding
from codec.residuals import (
    CLOCK,
    FRACTION,
    HISTORY,
    LAST,
    LENGTH,
    LEVEL,
    MODEL,
    ORDER,
    PREVIOUS,
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
_RECALL_BITS = 24  # for a whole block: where hold or line is that good, recall is not tried
_SWITCH_BITS = 3  # about what it costs to name another model than last time


@kernel
def run_model(coder, buffer, ctx, model, correct, literal, p, count, found, state, space):
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
        if correct:
            for i in range(count):
                space.column[i] = code_correction(
                    coder, buffer, ctx, C_CORRECTION, space.values[i], space.low[i], space.high[i], space.column[i]
                )  # fmt: skip
                if residuals.too_large(space.column[i]):
                    coder[STATUS] = STATUS_DAMAGED
        elif not coder[DECODING]:
            for i in range(count):
                reached = space.column[i]
                outside += 1 if reached < space.low[i] or reached > space.high[i] else 0
    elif model == FILTER or model == SPARSE:
        base = C_FILTER if model == FILTER else C_SPARSE
        outside = residuals.code_filter(
            coder, buffer, ctx, base, C_CORRECTION, correct, model == SPARSE,
            space.values, space.low, space.high, count, p[STEP], space.clock, state, space.column,
        )  # fmt: skip
    elif model == RECALL:
        outside = recall.code_recall(
            coder, buffer, ctx, C_RECALL, C_CORRECTION, TABLES_AT, correct, literal,
            space.values, space.low, space.high, count, p[STEP], space.clock, state, space.column,
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
def settle_run(state, column, count):
    """How long the last value has stood, and what was before it. LAST still is the value before the block."""
    before = state[LAST]
    last = column[count - 1]
    run = 0
    while run < count and column[count - 1 - run] == last:
        run += 1
    if run < count:
        state[PREVIOUS] = column[count - 1 - run]
        state[RUN] = run - 1
    elif last != before:
        state[PREVIOUS] = before
        state[RUN] = run - 1
    else:
        state[RUN] = min(state[RUN] + count, RUNS)


@kernel
def settle(state, model, column, count):
    """Carries a block's end over into the state that the other models start from."""
    before = state[LAST]
    last = column[count - 1]
    settle_run(state, column, count)
    if model != FILTER and model != SPARSE:
        fresh = min(ORDER, count)
        for k in range(ORDER - 1, fresh - 1, -1):
            state[HISTORY + k] = state[HISTORY + k - fresh]
        for k in range(fresh):
            i = count - 1 - k
            state[HISTORY + k] = column[i] - (column[i - 1] if i > 0 else before)
    if model < SMOOTH or model > HOLT:
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
def _try_model(ctx, state, model, literal, p, count, found, space):
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
            space.trial_coder, space.trial_buffer, trial, model, correct, literal, p, count, found,
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
def _tune_clock(counts, states, state, column, records, count, space):
    """Finds what tells best when the column changes. Returns the distance to it, 0 for none."""
    note_changes(counts, states, column, records, space.ticks)
    distance = find_clock(counts, states, column, records, state[CLOCK], space)
    set_clock(counts, states, space.before, column, distance, records, count, space.clock)
    return distance


@kernel
def _worth_trying(model, p, best, best_bits, best_found, largest, count):
    """Whether a model may beat what was found so far, in the order hold, line, causal models, recall."""
    if p[FORCED] >= 0:
        return model == p[FORCED]
    if model == LINE:
        return best_found > 0 or best_bits >= _CHEAP_BLOCK_BITS
    if model <= LINE or (largest < _ARITHMETIC_MAX and best_bits >= _CHEAP_BITS * count + 8):
        return True
    return model == RECALL and best_bits >= _RECALL_BITS and (p[STEP] == 1 or best == HOLD)


@kernel
def choose_model(ctx, counts, states, state, column, p, records, count, space):
    """The cheapest model: (model, whether it needs corrections, whether it is literal, clock, events found)."""
    largest = np.int64(0)
    for i in range(count):
        largest = max(largest, abs(space.values[i]))
    best = np.int64(HOLD)
    best_bits = 1e300
    best_correct = False
    best_found = np.int64(0)
    literal = False
    clock = np.int64(-1)
    for trial in range(MODELS + 1):
        model = min(trial, RECALL)
        found = np.int64(0)
        if not _worth_trying(model, p, best, best_bits, best_found, largest, count):
            continue
        if model == HOLD:
            found = events.find_levels(
                space.low, space.high, count, p[GRID], state[LAST], space.events_at[HOLD], space.events_value[HOLD]
            )  # fmt: skip
        elif model == LINE:
            found = events.find_lines(
                space.low, space.high, count, p[GRID], state[LAST], state[RISE], state[LENGTH],
                space.events_at[LINE], space.events_value[LINE], space.ends,
            )  # fmt: skip
        elif model >= SPARSE and clock < 0:
            clock = _tune_clock(counts, states, state, column, records, count, space)
        bits, correct = _try_model(ctx, state, model, trial > RECALL, p, count, found, space)
        if model != state[MODEL]:
            bits += _SWITCH_BITS
        if bits < best_bits:
            best = np.int64(model)
            best_bits = bits
            best_correct = correct
            best_found = found
            literal = trial > RECALL
    return best, best_correct, literal, max(clock, 0), best_found
