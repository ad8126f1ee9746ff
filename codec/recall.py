"""Recall: a column that does again what it did before. For states, indices, toggles, counters and checksums.

Rules
- A value that changed is expected to be what followed the last time: after the same two values, or after the same one.
  Small tables per column remember it, from block to block; a keyframe empties them.
- With a clock, a third table knows what each value of the clock column goes with, up to a pattern of bits that both sides of
  a change have in common: a checksum is that of the message's counter, exclusive-or whatever the payload makes of it.
- Values count as they are, not their differences: what nothing predicts costs a number (or a step), and a checksum
  that nothing predicts no more than its bits.
- At which records a column changes is told by its clock, if it has one (references.py).

The idea is prediction by partial matching (Cleary and Witten 1984) with tables in place of trees.
"""

from __future__ import annotations

import numpy as np

from codec.contexts import remember, remembered
from codec.kernel import kernel
from codec.range_coder import DECODING, INT_CONTEXTS, STATUS, STATUS_DAMAGED, code_bit, code_int
from codec.residuals import CLOCK_FLAGS, HITS, LAST, PREVIOUS, RUN, RUNS, code_correction, too_large

_HITS = 16  # contexts of "as expected": how sure the entry is (4), and whether the last two changes were as expected
_LITERAL = CLOCK_FLAGS + 3 * _HITS
_STEP = _LITERAL + INT_CONTEXTS
RECALL_CONTEXTS = _STEP + INT_CONTEXTS

_SLOT_BITS = 8
_SLOTS = 1 << _SLOT_BITS
TABLE_CELLS = 3 * _SLOTS

_SURE_MAX = 3
_REMEMBERED_MAX = 1 << 44  # an entry has 48 bits
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(64 - _SLOT_BITS)


@kernel
def slot(key):
    return np.int64((np.uint64(key) * _MIX) >> _SHIFT)


@kernel
def _entry(ctx, at):
    """An entry: value x 8 + sureness x 2 + 1, or 0: nothing seen yet."""
    return remembered(ctx, at) << 16 >> 16


@kernel
def _learn(ctx, at, value):
    if abs(value) >= _REMEMBERED_MAX:
        return
    entry = _entry(ctx, at)
    sure = (entry >> 1) & 3
    if entry & 1 == 1 and entry >> 3 == value:
        sure = min(sure + 1, _SURE_MAX)
    elif entry & 1 == 1 and sure > 0:
        value = entry >> 3
        sure -= 1
    else:
        sure = 0
    remember(ctx, at, (value << 3) | (sure << 1) | 1)


@kernel
def with_clock(at_then, at_now, last):
    """What a value becomes by the entries of the clock's value before and now: `last` where they do not tell."""
    if at_then == 0 or at_now == 0:
        return last
    return last ^ (at_then >> 3) ^ (at_now >> 3)


@kernel
def _learn_clock(ctx, then, now, last, value):
    if _entry(ctx, then) == 0:
        _learn(ctx, then, last)
    held = _entry(ctx, then)
    if held != 0:
        _learn(ctx, now, value ^ last ^ (held >> 3))


@kernel
def _code_hit(coder, buffer, ctx, row, expected, low, high):
    hit = 0
    if not coder[DECODING]:
        hit = 1 if low <= expected <= high else 0
    return code_bit(coder, buffer, ctx, row, hit) == 1


@kernel
def _code_expected(coder, buffer, ctx, base, then, now, first, second, last, low, high):
    """Whether a value that changed became what one of three entries expects: (whether, what).

    `then`, `now`: entries of the clock's value before and now, equal where it has none or stood.
    """
    clocked = last
    if then != now:
        entry = _entry(ctx, now)
        sure = (entry >> 1) & 3
        if sure > 0:
            clocked = with_clock(_entry(ctx, then), entry, last)
        if clocked != last and _code_hit(coder, buffer, ctx, base + 2 * _HITS + 4 * sure, clocked, low, high):
            return True, clocked
    passed = last
    for k in range(2):
        entry = _entry(ctx, second if k == 1 else first)
        expected = entry >> 3
        if entry == 0 or expected == last or expected == clocked or expected == passed:
            continue
        passed = expected
        if _code_hit(coder, buffer, ctx, base + _HITS * k + 4 * ((entry >> 1) & 3), expected, low, high):
            return True, expected
    return False, last


@kernel
def code_recall(
    coder, buffer, ctx, base, fix, tables, correct, literal, values, low, high, count, step, clock, state, column
):  # fmt: skip
    """Codes a column into column[:count]. clock int64[3, count]: 0 no clock, 1 it stood, 2 it ticked; what it showed before
    and now. `literal`: what nothing predicts is a number of its own, not a step. Returns how many values lie outside the
    tube, as `code_smooth`.
    """
    last = state[LAST]
    run = state[RUN]
    before = state[PREVIOUS]
    hits = state[HITS]
    outside = 0
    for i in range(count):
        changed = 0
        if not coder[DECODING]:
            changed = 0 if low[i] <= last <= high[i] else 1
        if code_bit(coder, buffer, ctx, base + RUNS * clock[0, i] + min(run, RUNS - 1), changed) == 0:
            column[i] = last
            run += 1
            continue
        run = 0
        first = tables + slot(last * 31 + before)
        second = tables + _SLOTS + slot(last)
        then = tables + 2 * _SLOTS + slot(clock[1, i])
        now = tables + 2 * _SLOTS + slot(clock[2, i])
        told, reached = _code_expected(
            coder, buffer, ctx, base + CLOCK_FLAGS + hits, then, now, first, second, last, low[i], high[i]
        )
        hits = ((hits << 1) & 3) | (1 if told else 0)
        if not told:
            origin = np.int64(0) if literal else last
            steps = np.int64(0)
            if not coder[DECODING]:
                error = values[i] - origin
                steps = (abs(error) + (step >> 1)) // step
                if error < 0:
                    steps = -steps
            reached = (
                origin + code_int(coder, buffer, ctx, base + (_LITERAL if literal else _STEP), steps) * step
            )
            if correct:
                reached = code_correction(coder, buffer, ctx, fix, values[i], low[i], high[i], reached)
            elif not coder[DECODING] and (reached < low[i] or reached > high[i]):
                outside += 1
        if too_large(reached):
            coder[STATUS] = STATUS_DAMAGED
            return outside
        if then != now:
            _learn_clock(ctx, then, now, last, reached)
        _learn(ctx, first, reached)
        _learn(ctx, second, reached)
        if reached != last:
            before = last
        last = reached
        column[i] = last
    state[HITS] = hits
    return outside
