"""Causal models: predict, and code by how many steps the prediction misses. All run in a closed loop.

Rules
- Both sides update their state with the *reconstructed* value, so the states are equal to the bit and the error never
  exceeds the tube. (With the sampled value, as textbooks have it, a reader drifts: 60 mph wrong at +-2.)
- A prediction inside the tube costs a zero; that is the value which the classic scheme drops.
- Integers only: level and trend in 16 fractional bits, weights in 16 fractional bits. Equal bits on every machine.

Single smoothing: Brown 1956; level and trend: Holt 1957, in the error-correction form (Gardner 1985). The adaptive
filter is a normalised sign-data LMS of order 16 on the differences, gated against plain hold by which of the two has
missed by less lately.
"""

from __future__ import annotations

import numpy as np

from codec.kernel import kernel
from codec.range_coder import DECODING, INT_CONTEXTS, STATUS, STATUS_DAMAGED, code_bit, code_int

FRACTION = 16
_HALF = 1 << (FRACTION - 1)
_VALUE_LIMIT = 1 << 48  # twice a difference of two such, times 4096 records, stays inside int64

# A column's predictor state: int64[STATE_SIZE].
LAST = 0  # last reconstructed counts
LEVEL = 1
TREND = 2
RISE = 3  # slope of the last line: RISE counts in LENGTH values
LENGTH = 4
MAGNITUDE = 5  # running mean of |residual| of the filter, 4 fractional bits
RUN = 6  # values since the last change; contexts tell up to RUNS of them apart
MISS_HOLD = 7  # running means of |error|: of hold, of the filter
MISS_FILTER = 8
MODEL = 9  # model of the last block
FRESH = 10  # 1 until the first value after a keyframe
AVAILABILITY = 11  # of the last record
LIKE = 12  # distances to the columns last referred to: for states, for values, for changes
COPIED = 13
CLOCK = 14
HOW_STATES = 15  # how states and values were coded in the last block
HOW_VALUES = 16
BEFORE = 17  # counts of the last record before this block
PREVIOUS = 18  # the value before the last change
HITS = 19  # whether the last two changes were as recall expected
HISTORY = 20
ORDER = 16
WEIGHTS = HISTORY + ORDER
STATE_SIZE = WEIGHTS + ORDER

SMOOTH_CONTEXTS = 9 * INT_CONTEXTS
_BUCKETS = 12
RUNS = 64
FILTER_CONTEXTS = _BUCKETS * INT_CONTEXTS
CLOCK_FLAGS = 3 * RUNS  # for "changed": without a clock, when it stood, when it ticked
SPARSE_CONTEXTS = FILTER_CONTEXTS + CLOCK_FLAGS

# Contexts of corrections: a flag and an integer.
CORRECTION_CONTEXTS = 1 + INT_CONTEXTS


@kernel
def too_large(value):
    """For counts that no signal has."""
    return value > _VALUE_LIMIT or value < -_VALUE_LIMIT


@kernel
def _steps(value, low, high, predicted, step):
    """How many steps bring the prediction into the tube, or nearest to the value where none does."""
    if low <= predicted <= high:
        return np.int64(0)
    miss = value - predicted
    steps = (abs(miss) + (step >> 1)) // step
    if miss < 0:
        steps = -steps
    reached = predicted + steps * step
    if reached < low and reached + step <= high:
        steps += 1
    elif reached > high and reached - step >= low:
        steps -= 1
    return steps


@kernel
def code_correction(coder, buffer, ctx, base, value, low, high, reached):
    """Repairs a value that no step brought into the tube. Returns what stands for the value."""
    wrong = 0
    if not coder[DECODING]:
        wrong = 0 if low <= reached <= high else 1
    if code_bit(coder, buffer, ctx, base, wrong) == 0:
        return reached
    return reached + code_int(coder, buffer, ctx, base + 1, value - reached)


@kernel
def code_smooth(
    coder, buffer, ctx, base, fix, correct, values, low, high, count, step, alpha, beta, state, column
):
    """Single (beta = 0) or double smoothing; alpha, beta in 1/65536. `fix`: base of the correction contexts.

    Returns how many values lie outside the tube (always 0 with `correct`).
    """
    level = state[LEVEL]
    trend = state[TREND] if beta > 0 else np.int64(0)
    before = 0
    before_that = 0
    outside = 0
    for i in range(count):
        predicted_level = level + trend
        predicted = (predicted_level + _HALF) >> FRACTION
        steps = np.int64(0)
        if not coder[DECODING]:
            steps = _steps(values[i], low[i], high[i], predicted, step)
        steps = code_int(coder, buffer, ctx, base + (3 * before + before_that) * INT_CONTEXTS, steps)
        reached = predicted + steps * step
        if correct:
            reached = code_correction(coder, buffer, ctx, fix, values[i], low[i], high[i], reached)
        elif not coder[DECODING] and (reached < low[i] or reached > high[i]):
            outside += 1
        if too_large(reached):
            coder[STATUS] = STATUS_DAMAGED
            return outside
        column[i] = reached
        if reached == predicted:
            level = predicted_level  # nothing was learned: the fraction stays
        else:
            miss = (reached << FRACTION) - predicted_level
            level = predicted_level + ((alpha * (miss >> 8)) >> 8)
            trend += (beta * (miss >> 8)) >> 8
        before_that = before
        before = min(abs(steps), 2)
    state[LEVEL] = level
    state[TREND] = trend
    return outside


@kernel
def _filter_bucket(magnitude):
    """Context for a residual from the running mean of the last ones: two per octave."""
    bucket = 0
    m = magnitude + 8
    while m >= 24 and bucket < _BUCKETS - 2:
        m >>= 1
        bucket += 2
    return bucket + (1 if m >= 16 and bucket < _BUCKETS - 1 else 0)


@kernel
def code_filter(
    coder, buffer, ctx, base, fix, correct, sparse, values, low, high, count, step, clock, state, column
):
    """The adaptive filter. `sparse`: a flag tells first whether the value changed at all, for signals that are
    refreshed more rarely than they are sampled. Returns how many values lie outside the tube, as `code_smooth`.
    """
    last = state[LAST]
    magnitude = state[MAGNITUDE]
    run = state[RUN]
    outside = 0
    for i in range(count):
        if sparse:
            changed = 0
            if not coder[DECODING]:
                changed = 0 if low[i] <= last <= high[i] else 1
            changed = code_bit(
                coder, buffer, ctx, base + FILTER_CONTEXTS + RUNS * clock[0, i] + min(run, RUNS - 1), changed
            )
            if changed == 0:
                column[i] = last
                run += 1
                continue
            run = 0
        total = np.int64(0)
        energy = np.int64(1)
        for k in range(ORDER):
            total += state[WEIGHTS + k] * state[HISTORY + k]
            energy += abs(state[HISTORY + k])
        filtered = (total + _HALF) >> FRACTION
        predicted = last + (filtered if state[MISS_FILTER] < state[MISS_HOLD] else np.int64(0))
        steps = np.int64(0)
        if not coder[DECODING]:
            steps = _steps(values[i], low[i], high[i], predicted, step)
        steps = code_int(coder, buffer, ctx, base + _filter_bucket(magnitude) * INT_CONTEXTS, steps)
        reached = predicted + steps * step
        if correct:
            reached = code_correction(coder, buffer, ctx, fix, values[i], low[i], high[i], reached)
        elif not coder[DECODING] and (reached < low[i] or reached > high[i]):
            outside += 1
        if too_large(reached):
            coder[STATUS] = STATUS_DAMAGED
            return outside
        column[i] = reached
        magnitude += ((min(abs(steps), 1 << 20) << 4) - magnitude) >> 2
        difference = reached - last
        miss = difference - filtered
        state[MISS_HOLD] += ((abs(difference) << 8) - state[MISS_HOLD]) >> 7
        state[MISS_FILTER] += ((abs(miss) << 8) - state[MISS_FILTER]) >> 7
        gain = min(max((miss << 11) // energy, -2000), 2000)
        for k in range(ORDER):
            if state[HISTORY + k] > 0:
                state[WEIGHTS + k] += gain
            elif state[HISTORY + k] < 0:
                state[WEIGHTS + k] -= gain
        for k in range(ORDER - 1, 0, -1):
            state[HISTORY + k] = state[HISTORY + k - 1]
        state[HISTORY] = difference
        last = reached
    state[MAGNITUDE] = magnitude
    return outside
