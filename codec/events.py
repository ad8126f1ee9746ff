"""Look-ahead models: a column as a few levels (hold) or connected lines, found with the whole block in view.

Rules
- Only the encoder searches (`find_*`). What it found is an event list (position, value); `code_*` writes or reads the
  list and draws the column from it, in integers, on both sides alike.
- Values lie on a lattice of `step` counts around the column's last value; where no lattice point is inside the tube,
  the search takes the nearest and the correction that follows (columns.py) repairs that one value.

Hold-last with look-ahead is the cheapest constant between two sends; lines are Bristol's swinging door (1990) with
connected, quantised knots and a look-ahead by two.
"""

from __future__ import annotations

import numpy as np

from codec.kernel import kernel
from codec.range_coder import DECODING, INT_CONTEXTS, STATUS, STATUS_DAMAGED, code_count, code_int
from codec.residuals import too_large

CANDIDATES_MAX = 24  # ends that the look-ahead tries for one line
RING = 64  # reachable ends that it remembers
_REACH_WEIGHT = 64
_BITS_WEIGHT = 16

HOLD_CONTEXTS = 4 * INT_CONTEXTS
LINE_CONTEXTS = 20 * INT_CONTEXTS


@kernel
def _draw_line(column, at, start, end, length):
    """column[at + k] = start + (2 (end - start) k + length) // (2 length) for k = 1..length, without a division each.

    Dividing n < 2^26 by d = 2 length <= 2^13 is a multiplication by 2^39 / d, rounded up: n d < 2^39 bounds its error.
    """
    whole = (end - start) // length
    rest = 2 * (end - start - whole * length)
    reciprocal = (np.int64(1) << 39) // (2 * length) + 1
    line = column[at + 1 : at + 1 + length]
    height = start
    fraction = length * reciprocal
    for k in range(length):
        height += whole
        fraction += rest * reciprocal
        line[k] = height + (fraction >> 39)


@kernel
def _bucket(length):
    return 0 if length < 2 else 1 if length < 6 else 2 if length < 20 else 3


@kernel
def find_levels(low, high, count, step, level, at, value):
    """Fewest levels that stay inside the tube. Fills at[k], value[k]; returns how many levels begin in the block."""
    found = 0
    i = 0
    while i < count:
        if low[i] <= level <= high[i]:
            i += 1
            continue
        floor = low[i]
        ceiling = high[i]
        j = i + 1
        while j < count:
            tighter_floor = max(floor, low[j])
            tighter_ceiling = min(ceiling, high[j])
            if level + -((level - tighter_floor) // step) * step > tighter_ceiling:
                break
            floor = tighter_floor
            ceiling = tighter_ceiling
            j += 1
        if j == count:  # the block ends before the level does: the middle serves longest
            level += (((floor + ceiling) >> 1) - level + (step >> 1)) // step * step
            if level < floor:
                level += step
            elif level > ceiling:
                level -= step
        elif level < floor:
            level += -((level - floor) // step) * step
        else:
            level += (ceiling - level) // step * step
        at[found] = i
        value[found] = level
        found += 1
        i = j
    return found


@kernel
def code_levels(coder, buffer, ctx, base, count, step, level, at, value, found, column):
    """Writes or reads levels and draws column[:count]. `level`: the column's last value before the block."""
    position = 0
    k = 0
    gap_class = 0
    value_class = 0
    while position < count:
        gap = 0
        if not coder[DECODING] and k < found:
            gap = at[k] - position + 1
        gap = code_count(coder, buffer, ctx, base + gap_class * INT_CONTEXTS, gap)
        if gap == 0:
            break
        start = position + gap - 1
        if start >= count:
            coder[STATUS] = STATUS_DAMAGED
            return
        column[position:start] = level
        steps = 0
        if not coder[DECODING]:
            steps = (value[k] - level) // step
        steps = code_int(coder, buffer, ctx, base + (2 + value_class) * INT_CONTEXTS, steps)
        level += steps * step
        if too_large(level):
            coder[STATUS] = STATUS_DAMAGED
            return
        column[start] = level
        position = start + 1
        gap_class = 1
        value_class = 1 if steps > 0 else 0
        k += 1
    column[position:count] = level


@kernel
def _reach(low, high, count, step, from_at, from_value, ends, floors, ceilings):
    """Sweeps the cone of lines from a knot. Remembers the last RING reachable ends; returns how many there were."""
    slope_low = -1e300
    slope_high = 1e300
    reached = 0
    per_step = 1.0 / step
    for t in range(from_at + 1, count):
        length = t - from_at
        per_value = 1.0 / length
        below = np.float64(low[t] - from_value)
        above = np.float64(high[t] - from_value)
        slope_low = max(slope_low, (below - 0.499) * per_value)
        slope_high = min(slope_high, (above + 0.499) * per_value)
        if slope_low > slope_high:
            break
        floor = np.int64(np.ceil(max(slope_low * length, below) * per_step - 1e-9))
        ceiling = np.int64(np.floor(min(slope_high * length, above) * per_step + 1e-9))
        if floor <= ceiling:
            ends[reached & (RING - 1)] = t
            floors[reached & (RING - 1)] = floor
            ceilings[reached & (RING - 1)] = ceiling
            reached += 1
    return reached


@kernel
def _farthest(low, high, count, step, from_at, from_value):
    """The last end that one line from this knot reaches; from_at if none."""
    slope_low = -1e300
    slope_high = 1e300
    farthest = from_at
    per_step = 1.0 / step
    for t in range(from_at + 1, count):
        length = t - from_at
        per_value = 1.0 / length
        slope_low = max(slope_low, (low[t] - from_value - 0.499) * per_value)
        slope_high = min(slope_high, (high[t] - from_value + 0.499) * per_value)
        if slope_low > slope_high:
            break
        floor = np.ceil(slope_low * length * per_step - 1e-9)
        if floor * step <= slope_high * length + 1e-9:
            farthest = t
    return farthest


@kernel
def _fits(low, high, from_at, from_value, to_at, to_value):
    """Whether a line stays inside the tube; its heights as `_draw_line` has them."""
    length = to_at - from_at
    whole = (to_value - from_value) // length
    rest = 2 * (to_value - from_value - whole * length)
    reciprocal = (np.int64(1) << 39) // (2 * length) + 1
    height = from_value
    fraction = length * reciprocal
    for t in range(from_at + 1, to_at + 1):
        height += whole
        fraction += rest * reciprocal
        if height + (fraction >> 39) < low[t] or height + (fraction >> 39) > high[t]:
            return False
    return True


@kernel
def drift(rise, run, length, step):
    """Steps by which a line goes on that rose by `rise` counts in `run` values."""
    return (2 * rise * length + run * step) // (2 * run * step)


@kernel
def _rank(end, steps, expected, count, reach):
    """What a candidate is worth: how far it and its best successor reach, less what its height costs to tell."""
    surprise = abs(steps - expected)
    bits = 0
    while surprise > 0:
        surprise >>= 1
        bits += 1
    if end == count - 1:
        return 64 * count * _REACH_WEIGHT - bits
    return reach * _REACH_WEIGHT - bits * _BITS_WEIGHT


@kernel
def find_lines(low, high, count, step, start_value, rise, run, at, value, cone):
    """Knots of connected lines inside the tube from (-1, start_value) on; the last knot is at count - 1.

    rise / run is the slope of the line that ended there. `cone`: int64[3, RING] of working space. Returns the number of
    knots in at[], value[].
    """
    ends = cone[0]
    floors = cone[1]
    ceilings = cone[2]
    found = 0
    from_at = -1
    from_value = start_value
    while from_at < count - 1:
        reached = _reach(low, high, count, step, from_at, from_value, ends, floors, ceilings)
        best_at = -1
        best_value = np.int64(0)
        best_rank = np.int64(-(1 << 60))
        tried = 0
        k = reached - 1
        while k >= 0 and k > reached - RING and tried < CANDIDATES_MAX:
            end = ends[k & (RING - 1)]
            floor = floors[k & (RING - 1)]
            ceiling = ceilings[k & (RING - 1)]
            expected = drift(rise, run, end - from_at, step) if from_at < 0 else np.int64(0)
            samples = min(ceiling - floor, 4)
            for s in range(samples + 2):
                steps = min(max(expected, floor), ceiling)
                if s > 0:
                    steps = floor + ((ceiling - floor) * (s - 1)) // max(samples, 1)
                candidate = from_value + steps * step
                tried += 1
                if not _fits(low, high, from_at, from_value, end, candidate):
                    continue
                reach = end
                if end < count - 1:
                    reach = _farthest(low, high, count, step, end, candidate)
                rank = _rank(end, steps, expected, count, reach)
                if rank > best_rank:
                    best_rank = rank
                    best_at = end
                    best_value = candidate
            if best_at == count - 1:
                break
            k -= max(1, (reached - k) // 2)
        if best_at < 0:
            best_at = from_at + 1
            middle = (low[best_at] + high[best_at]) >> 1
            best_value = from_value + (middle - from_value + (step >> 1)) // step * step
        at[found] = best_at
        value[found] = best_value
        found += 1
        from_at = best_at
        from_value = best_value
    return found


@kernel
def code_lines(coder, buffer, ctx, base, count, step, start_value, slope, at, value, found, column):
    """Writes or reads knots and draws column[:count] from (-1, start_value) on.

    `slope` int64[2]: rise and run of the line that ended there; the last line's, afterwards.
    """
    from_at = -1
    from_value = start_value
    k = 0
    previous = 0
    direction = -1 if slope[0] < 0 else 1
    while from_at < count - 1:
        length = 0
        if not coder[DECODING] and k < found and at[k] < count - 1:
            length = at[k] - from_at
        length = code_count(coder, buffer, ctx, base + previous * INT_CONTEXTS, length)
        to_end = length == 0
        if to_end:
            length = count - 1 - from_at
        if from_at + length > count - 1:
            coder[STATUS] = STATUS_DAMAGED
            return
        expected = np.int64(0)
        row = 4 + _bucket(length) + (4 if to_end else 0)
        if from_at < 0:
            expected = drift(slope[0], slope[1], length, step)
            row += 8
        steps = np.int64(0)
        if not coder[DECODING]:
            steps = (value[k] - from_value) // step
        surprise = code_int(coder, buffer, ctx, base + row * INT_CONTEXTS, (steps - expected) * direction)
        steps = expected + surprise * direction
        to_value = from_value + steps * step
        if too_large(to_value):
            coder[STATUS] = STATUS_DAMAGED
            return
        _draw_line(column, from_at, from_value, to_value, length)
        if steps != 0:
            direction = 1 if steps > 0 else -1
        slope[0] = to_value - from_value
        slope[1] = length
        previous = _bucket(length)
        from_at += length
        from_value = to_value
        k += 1
