"""The tube: for every value, the counts that may stand for it.

Rules
- `low[i] <= reconstructed <= high[i]` is the whole promise: within D counts of the sampled value, and on its side of
  every guard. Whoever chooses a reconstruction chooses inside the tube; nothing else is checked anywhere.
- Angles are unwrapped first, so that a turn past north is a small step. A guard on an angle holds for its value in
  [0, turn): where there are guards, the tube ends at north.
"""

from __future__ import annotations

from codec.kernel import kernel


@kernel
def unwrap(values, count, turn, last):
    """Adds whole turns in place, so that no step is longer than half a turn. `last`: the value before the first."""
    for i in range(count):
        step = (values[i] - last) % turn
        if 2 * step >= turn:
            step -= turn
        last += step
        values[i] = last


@kernel
def fill_tube(values, count, error_max, turn, guards, guard_start, guard_stop, low, high):
    """Fills low[:count] and high[:count] for the (unwrapped) counts values[:count].

    `guards` is int64[g, 2]: rows guard_start..guard_stop are the intervals [low, high] of this signal's guards; whether
    a guard holds inside or outside of its interval makes no difference to sides.
    """
    for i in range(count):
        low[i] = values[i] - error_max
        high[i] = values[i] + error_max
    if guard_start == guard_stop:
        return
    for i in range(count):
        turns = values[i] - values[i] % turn if turn > 0 else 0
        value = values[i] - turns
        floor = low[i] - turns
        ceiling = high[i] - turns
        if turn > 0:
            floor = max(floor, 0)
            ceiling = min(ceiling, turn - 1)
        for g in range(guard_start, guard_stop):
            first = guards[g, 0]
            last = guards[g, 1]
            if first > last:
                continue
            if value < first:
                ceiling = min(ceiling, first - 1)
            elif value > last:
                floor = max(floor, last + 1)
            else:
                floor = max(floor, first)
                ceiling = min(ceiling, last)
        low[i] = floor + turns
        high[i] = ceiling + turns
