"""A block's body: column after column, each under the model that codes it in the fewest bits.

Rules
- `code_columns` writes a body or reads one: the same statements run on both sides. What only an encoder knows (the
  sampled counts, the tube) decides what is coded, never what a coded thing means.
- The encoder tries the models on copies of the column's state and contexts, and takes the cheapest by its true cost.
- Values that are not available take no part: a model sees the available values of a column one after the other, and
  availability itself is coded as runs before them.
- Kernels allocate nothing and raise nothing; `Workspace` brings all arrays. A column's digest is a pair of sums over
  its reconstructed counts (Fletcher 1982), so that two sides whose predictors differ find out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from codec import events, patterns, range_coder, residuals
from codec.range_coder import (
    CODER_SIZE,
    DECODING,
    INT_CONTEXTS,
    STATUS,
    STATUS_DAMAGED,
    bits_written,
    code_bit,
    code_count,
    code_int,
    start_encoding,
)
from codec.residuals import (
    AVAILABILITY,
    CORRECTION_CONTEXTS,
    FRACTION,
    FRESH,
    HISTORY,
    LAST,
    LEVEL,
    MODEL,
    ORDER,
    RUN,
    SLOPE_SIGN,
    STATE_SIZE,
    TREND,
    code_correction,
)
from codec.tube import fill_tube, unwrap

# Models of a scaled column.
HOLD, LINE, SMOOTH, CLASSIC, HOLT, FILTER, SPARSE = range(7)
MODELS = 7
MODEL_NAMES = ("hold", "line", "smooth", "classic", "holt", "filter", "sparse")

# alpha and beta in 1/65536 of SMOOTH (the limit a = 1 of single smoothing), CLASSIC (a = 0.3) and HOLT.
_ONE = 1 << 16
_CLASSIC_ALPHA = round(0.3 * _ONE)
_HOLT_BETA = round(0.25 * _ONE)

# A column's parameters: int64[m, PARAMETERS].
KIND, ERROR_MAX, STEP, GRID, TURN, GUARD_START, GUARD_STOP, FORCED = range(8)
PARAMETERS = 8
SCALED, PATTERN = 0, 1

# Where the contexts of a column lie.
C_MODEL = 0  # "the same as last time", then a tree of three bits
C_FLAGS = C_MODEL + 16  # circular, corrected
C_AVAILABILITY = C_FLAGS + 2  # unchanged, next state (by last state), length of a run
C_INITIAL = C_AVAILABILITY + 1 + 16 + INT_CONTEXTS
C_CORRECTION = C_INITIAL + INT_CONTEXTS
C_HOLD = C_CORRECTION + CORRECTION_CONTEXTS
C_LINE = C_HOLD + events.HOLD_CONTEXTS
C_SMOOTH = C_LINE + events.LINE_CONTEXTS
C_CLASSIC = C_SMOOTH + residuals.SMOOTH_CONTEXTS
C_HOLT = C_CLASSIC + residuals.SMOOTH_CONTEXTS
C_FILTER = C_HOLT + residuals.SMOOTH_CONTEXTS
C_SPARSE = C_FILTER + residuals.FILTER_CONTEXTS
CONTEXTS = C_SPARSE + residuals.SPARSE_CONTEXTS
C_PATTERN = C_HOLD  # a column has patterns or models, never both
assert C_PATTERN + patterns.PATTERN_CONTEXTS <= CONTEXTS

_ARITHMETIC_MAX = 1 << 30  # models that multiply are tried on counts below this
_AVAILABLE = 0

# Room for a body: random 47-bit counts cost under 10 bytes each; contexts that expect otherwise, some more.
BODY_BYTES_PER_VALUE = 32
BODY_BYTES_MIN = 4096
_CHEAP_BITS = 0.6  # per value: where look-ahead is that good, no causal model wins


@dataclass(slots=True)
class Workspace:
    """Arrays that the kernels need, for blocks of at most `records` records."""

    records: int
    columns: np.ndarray = field(init=False)
    space: np.ndarray = field(init=False)
    trial_contexts: np.ndarray = field(init=False)
    trial_states: np.ndarray = field(init=False)
    trial_buffer: np.ndarray = field(init=False)
    trial_coder: np.ndarray = field(init=False)
    coder: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.columns = np.zeros((11, self.records + 1), np.int64)
        self.space = np.zeros((4, 64), np.int64)
        self.trial_contexts = np.zeros((CONTEXTS, 2), np.uint16)
        self.trial_states = np.zeros(STATE_SIZE, np.int64)
        self.trial_buffer = np.zeros(BODY_BYTES_PER_VALUE * self.records + BODY_BYTES_MIN, np.uint8)
        self.trial_coder = np.zeros(CODER_SIZE, np.int64)
        self.coder = np.zeros(CODER_SIZE, np.int64)


@njit(cache=True, error_model="numpy")
def reset_state(state):
    """What a keyframe starts from; the filter's weights are the prior's business."""
    for k in range(HISTORY + ORDER):
        state[k] = 0
    state[SLOPE_SIGN] = 1
    state[FRESH] = 1


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def _code_model(coder, buffer, ctx, last_model, model):
    if code_bit(coder, buffer, ctx, C_MODEL, 0 if model == last_model else 1) == 0:
        return last_model
    node = 1
    for k in range(2, -1, -1):
        node = 2 * node + code_bit(coder, buffer, ctx, C_MODEL + node, (model >> k) & 1)
    if node - 8 >= MODELS:
        coder[STATUS] = STATUS_DAMAGED
        return np.int64(HOLD)
    return np.int64(node - 8)


@njit(cache=True, error_model="numpy")
def _run_model(
    coder, buffer, ctx, model, correct, p, values, low, high, count, at, value, found, state, column
):
    """Codes one column under one model. Returns how many values lie outside the tube (0 with `correct`)."""
    outside = 0
    if model == HOLD or model == LINE:
        if model == HOLD:
            events.code_levels(
                coder, buffer, ctx, C_HOLD, count, p[GRID], state[LAST], at, value, found, column
            )
        else:
            state[SLOPE_SIGN] = events.code_lines(
                coder,
                buffer,
                ctx,
                C_LINE,
                count,
                p[GRID],
                state[LAST],
                state[SLOPE_SIGN],
                at,
                value,
                found,
                column,
            )
        for i in range(count):
            if correct:
                column[i] = code_correction(
                    coder, buffer, ctx, C_CORRECTION, values[i], low[i], high[i], column[i]
                )
            elif not coder[DECODING] and (column[i] < low[i] or column[i] > high[i]):
                outside += 1
    elif model == FILTER or model == SPARSE:
        outside = residuals.code_filter(
            coder, buffer, ctx, C_FILTER if model == FILTER else C_SPARSE, C_CORRECTION, correct, model == SPARSE,
            values, low, high, count, p[STEP], state, column,
        )  # fmt: skip
    else:
        base = C_SMOOTH if model == SMOOTH else C_CLASSIC if model == CLASSIC else C_HOLT
        alpha = _CLASSIC_ALPHA if model == CLASSIC else _ONE
        beta = _HOLT_BETA if model == HOLT else 0
        outside = residuals.code_smooth(
            coder, buffer, ctx, base, C_CORRECTION, correct,
            values, low, high, count, p[STEP], alpha, beta, state, column,
        )  # fmt: skip
    return outside


@njit(cache=True, error_model="numpy")
def _settle(state, model, column, count):
    """Carries a block's end over into the state that the other models start from."""
    last = column[count - 1]
    if model == HOLD or model == LINE or model == FILTER or model == SPARSE:
        state[LEVEL] = last << FRACTION
        state[TREND] = 0
        if model == LINE and count > 1:
            state[TREND] = (column[count - 1] - column[count - 2]) << FRACTION
    if model != FILTER and model != SPARSE:
        fresh = min(ORDER, count - 1)
        for k in range(ORDER - 1, fresh - 1, -1):
            state[HISTORY + k] = state[HISTORY + k - fresh]
        for k in range(fresh):
            state[HISTORY + k] = column[count - 1 - k] - column[count - 2 - k]
        run = 0
        while run < count - 1 and column[count - 1 - run] == column[count - 2 - run]:
            run += 1
        state[RUN] = run
    state[LAST] = last
    state[MODEL] = model


@njit(cache=True, error_model="numpy")
def _copy_contexts(source, target, start, stop):
    for i in range(start, stop):
        target[i, 0] = source[i, 0]
        target[i, 1] = source[i, 1]


@njit(cache=True, error_model="numpy")
def _context_range(model):
    if model == HOLD:
        return C_HOLD, C_LINE
    if model == LINE:
        return C_LINE, C_SMOOTH
    if model == SMOOTH:
        return C_SMOOTH, C_CLASSIC
    if model == CLASSIC:
        return C_CLASSIC, C_HOLT
    if model == HOLT:
        return C_HOLT, C_FILTER
    if model == FILTER:
        return C_FILTER, C_SPARSE
    return C_SPARSE, CONTEXTS


@njit(cache=True, error_model="numpy")
def _try_model(
    coder,
    buffer,
    trial_ctx,
    trial_state,
    ctx,
    state,
    model,
    p,
    values,
    low,
    high,
    count,
    at,
    value,
    found,
    column,
):
    """True cost of a model in bits, and whether it needs corrections."""
    first, stop = _context_range(model)
    correct = False
    bits = 0.0
    for _ in range(2):
        _copy_contexts(ctx, trial_ctx, first, stop)
        _copy_contexts(ctx, trial_ctx, C_CORRECTION, C_HOLD)
        for k in range(STATE_SIZE):
            trial_state[k] = state[k]
        start_encoding(coder)
        outside = _run_model(
            coder,
            buffer,
            trial_ctx,
            model,
            correct,
            p,
            values,
            low,
            high,
            count,
            at,
            value,
            found,
            trial_state,
            column,
        )
        bits = bits_written(coder)
        if coder[STATUS] != 0:
            bits = 1e300
        if outside == 0 or correct:
            break
        correct = True
    return bits, correct


@njit(cache=True, error_model="numpy")
def _choose_model(
    coder, buffer, trial_ctx, trial_state, ctx, state, p, values, low, high, count, work, space, column
):
    """The cheapest model: (model, corrected, events found)."""
    largest = np.int64(0)
    for i in range(count):
        largest = max(largest, abs(values[i]))
    best = np.int64(HOLD)
    best_bits = 1e300
    best_correct = False
    best_found = np.int64(0)
    for model in range(MODELS):
        if p[FORCED] >= 0 and model != p[FORCED]:
            continue
        if (
            model > LINE
            and p[FORCED] < 0
            and (largest >= _ARITHMETIC_MAX or best_bits < _CHEAP_BITS * count + 8)
        ):
            break
        at = work[2 * min(model, 2)]
        value = work[2 * min(model, 2) + 1]
        found = np.int64(0)
        if model == HOLD:
            found = events.find_levels(low, high, count, p[GRID], state[LAST], at, value)
        elif model == LINE:
            if best_bits < 8 and best_found == 0:
                continue
            found = events.find_lines(
                low, high, count, p[GRID], state[LAST], at, value, space[0], space[1], space[2]
            )
        bits, correct = _try_model(
            coder,
            buffer,
            trial_ctx,
            trial_state,
            ctx,
            state,
            model,
            p,
            values,
            low,
            high,
            count,
            at,
            value,
            found,
            column,
        )
        if model != state[MODEL]:
            bits += 4
        if bits < best_bits:
            best = np.int64(model)
            best_bits = bits
            best_correct = correct
            best_found = found
    return best, best_correct, best_found


@njit(cache=True, error_model="numpy")
def _code_scaled(
    coder,
    buffer,
    ctx,
    state,
    p,
    guards,
    values,
    count,
    work,
    space,
    trial_ctx,
    trial_state,
    trial_buffer,
    trial_coder,
):
    """One column of scaled counts; values[:count] in, reconstructed counts out (in work[8])."""
    low = work[6]
    high = work[7]
    column = work[8]
    encoding = not coder[DECODING]
    turn = p[TURN]
    circular = 0
    if turn > 0:
        if encoding:
            circular = 1
            for i in range(count):
                if values[i] < 0 or values[i] >= turn:
                    circular = 0
        circular = code_bit(coder, buffer, ctx, C_FLAGS, circular)
        state[LAST] = state[LAST] % turn
    if state[FRESH]:
        at = np.int64(0)
        if encoding:
            at = (values[0] + (p[STEP] >> 1)) // p[STEP]
        state[LAST] = code_int(coder, buffer, ctx, C_INITIAL, at) * p[STEP]
        state[LEVEL] = state[LAST] << FRACTION
        state[FRESH] = 0
    if encoding:
        if circular:
            unwrap(values, count, turn, state[LAST])
        fill_tube(
            values,
            count,
            p[ERROR_MAX],
            turn if circular else 0,
            guards,
            p[GUARD_START],
            p[GUARD_STOP],
            low,
            high,
        )
    model = np.int64(HOLD)
    correct = False
    found = np.int64(0)
    if encoding:
        model, correct, found = _choose_model(
            trial_coder,
            trial_buffer,
            trial_ctx,
            trial_state,
            ctx,
            state,
            p,
            values,
            low,
            high,
            count,
            work,
            space,
            column,
        )
    model = _code_model(coder, buffer, ctx, state[MODEL], model)
    correct = code_bit(coder, buffer, ctx, C_FLAGS + 1, 1 if correct else 0) == 1
    at = work[2 * min(model, 2)]
    value = work[2 * min(model, 2) + 1]
    _run_model(
        coder, buffer, ctx, model, correct, p, values, low, high, count, at, value, found, state, column
    )
    _settle(state, model, column, count)
    if circular:
        for i in range(count):
            column[i] = column[i] % turn


@njit(cache=True, error_model="numpy", nogil=True)
def code_columns(
    coder, buffer, contexts, column_states, parameters, guards, counts, states, changes, count,
    work, space, trial_ctx, trial_state, trial_buffer, trial_coder, digests,
):  # fmt: skip
    """Writes the body of a block, or reads one, in place.

    counts int64[n, m] and states uint8[n, m]: sampled in, reconstructed out. `contexts` uint16[m, CONTEXTS, 2] and
    `column_states` int64[m, STATE_SIZE] go on from block to block. `changes` uint8[n, m] says, for pattern columns
    being written, which values have to be sent. digests uint64[m, 2] is filled.
    """
    values = work[9]
    column = work[8]
    for j in range(counts.shape[1]):
        ctx = contexts[j]
        state = column_states[j]
        p = parameters[j]
        state[AVAILABILITY] = _code_availability(coder, buffer, ctx, states, j, count, state[AVAILABILITY])
        if coder[STATUS] != 0:
            return
        available = 0
        for i in range(count):
            if states[i, j] == _AVAILABLE:
                values[available] = counts[i, j]
                available += 1
        if available > 0:
            if p[KIND] == SCALED:
                _code_scaled(
                    coder, buffer, ctx, state, p, guards, values, available,
                    work, space, trial_ctx, trial_state, trial_buffer, trial_coder,
                )  # fmt: skip
            else:
                sent = work[10]
                if not coder[DECODING]:
                    k = 0
                    for i in range(count):
                        if states[i, j] == _AVAILABLE:
                            sent[k] = changes[i, j]
                            k += 1
                state[RUN] = patterns.code_patterns(
                    coder, buffer, ctx, C_PATTERN, values, sent, available, state[LAST], state[RUN], column
                )
                state[LAST] = column[available - 1]
            if coder[STATUS] != 0:
                return
        total = np.uint64(0)
        weighted = np.uint64(available)
        k = 0
        for i in range(count):
            if states[i, j] == _AVAILABLE:
                counts[i, j] = column[k]
                total += np.uint64(column[k])
                k += 1
            else:
                counts[i, j] = 0
                total += np.uint64(states[i, j]) << np.uint64(60)
            weighted += total
        digests[j, 0] = total + np.uint64(state[LEVEL]) + np.uint64(state[TREND])
        digests[j, 1] = weighted
