"""The kernel of portions: once over voltage and current of many blocks."""

from __future__ import annotations

from codec.kernel import entry
from codec.signature import I64, I64x2, U8x2

SUMS = 6  # charge, ticks unknown; ticks counted, sums of uu, uw, ww: see `Second.ripple`


@entry
def add_up(
    voltage: I64x2, current: I64x2, bad: U8x2, starts: I64, rate: int, parts: int, most: int, sums: I64x2
) -> None:
    """Of each block [b, n] the sums [b * parts, 6] over its ticks before `starts` and over each second from there on.

    Second differences that need records before the block are left out; none is taken for more than `most`.
    """
    for block in range(voltage.shape[0]):
        part = block * parts
        left = starts[block]
        for i in range(voltage.shape[1]):
            if left == 0:
                part += 1
                left = rate
            left -= 1
            if bad[block, i]:
                sums[part, 1] += 1
                continue
            sums[part, 0] += current[block, i]
            if i < 2 or bad[block, i - 1] or bad[block, i - 2]:
                continue
            u = voltage[block, i] - 2 * voltage[block, i - 1] + voltage[block, i - 2]
            w = current[block, i] - 2 * current[block, i - 1] + current[block, i - 2]
            u = min(max(u, -most), most)
            w = min(max(w, -most), most)
            sums[part, 2] += 1
            sums[part, 3] += u * u
            sums[part, 4] += u * w
            sums[part, 5] += w * w
