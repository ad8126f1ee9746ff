"""The kernel of surveys: once over the columns of many blocks."""

from __future__ import annotations

from codec.guards import COUNTS_HIGH, COUNTS_LOW
from codec.kernel import entry
from codec.signature import F64, I64, I64x2, U8x2


@entry
def survey(counts: I64x2, states: U8x2, lows: I64, highs: I64, numbers: I64, sums: F64) -> None:
    """Of each row of counts int64[k, n]: least and greatest of the available ones, how many they are, and their sum."""
    for row in range(counts.shape[0]):
        low, high, number, total = COUNTS_HIGH, COUNTS_LOW, 0, 0.0
        for i in range(counts.shape[1]):
            if states[row, i] == 0:  # Availability.AVAILABLE
                count = counts[row, i]
                low = min(low, count)
                high = max(high, count)
                number += 1
                total += count
        lows[row], highs[row], numbers[row], sums[row] = low, high, number, total
