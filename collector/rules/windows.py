"""Rolling windows over columns: the same values to the bit, wherever blocks were cut. Pure.

Rules
- Ticks are cut into segments of a window's length, at multiples of it. A window is the end of one segment and the
  beginning of the next, so that its value is made of two running values, each of which begins inside of it: nothing
  before the window is reckoned in, and nothing is ever taken out again, which would leave what rounding did. Each value
  costs the same, however long the window (van Herk's method for extremes, used for sums as well).
- A value is NaN where it is not available. A window's value is known once the window is full, and at least half of it is
  available.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]
    Rows = NDArray[np.float64]  # [segments, width]


def counted(column: Column, width: int) -> NDArray[np.int64]:
    """How many of the `width` values up to each one are available; those before the first are not."""
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(~np.isnan(column))])
    starts = np.maximum(np.arange(1, len(column) + 1) - width, 0)
    found: NDArray[np.int64] = sums[1:] - sums[starts]
    return found


def mean(column: Column, first_tick: int, width: int) -> Column:
    """Of the available values of each window."""
    counts = counted(column, width)
    present = np.where(np.isnan(column), 0.0, column)
    head, tail = _running(present, first_tick, width, np.add, 0.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _known((head + tail) / counts, counts, width)


def extreme(column: Column, first_tick: int, width: int, *, largest: bool) -> Column:
    """The largest or smallest available value of each window."""
    combine, nothing = (np.maximum, -np.inf) if largest else (np.minimum, np.inf)
    present = np.where(np.isnan(column), nothing, column)
    head, tail = _running(present, first_tick, width, combine, nothing)
    return _known(combine(head, tail), counted(column, width), width)


def deviation(column: Column, first_tick: int, width: int) -> Column:
    """Standard deviation of the available values of each window (of the values themselves: divided by their count).

    Source: Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979).
    """
    shift = _anchor(column, first_tick, width)
    heads: list[Column] = []
    tails: list[Column] = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for anchors, side in zip(shift, (heads, tails), strict=True):
            apart = np.where(np.isnan(column), 0.0, column - anchors)
            for part in ((~np.isnan(column)).astype(np.float64), apart, apart * apart):
                side.append(_running(part, first_tick, width, np.add, 0.0)[side is tails])
        (n1, s1, q1), (n2, s2, q2) = heads, tails
        m1, m2 = (np.divide(s, n, out=np.zeros_like(s), where=n > 0) for s, n in ((s1, n1), (s2, n2)))
        # The two anchors of a window: that of the segment it ends in, and that of the one before.
        between = (m1 + shift[0]) - (m2 + _at_start(shift[1], width))
        total = n1 + n2
        both = np.where((n1 > 0) & (n2 > 0), between * between * n1 * n2, 0.0)
        spread = (
            (q1 - s1 * m1) + (q2 - s2 * m2) + np.divide(both, total, out=np.zeros_like(both), where=total > 0)
        )
        found = np.sqrt(np.maximum(spread, 0.0) / total)
    return _known(found, counted(column, width), width)


def change(column: Column, width: int, turn: float = 0.0) -> Column:
    """Each value less the one `width` before it; on a circle of `turn`, the short way round."""
    found = np.full(len(column), np.nan)
    if len(column) > width:
        found[width:] = column[width:] - column[:-width]
    return found if not turn else (found + turn / 2) % turn - turn / 2


def _known(values: Column, counts: NDArray[np.int64], width: int) -> Column:
    full = np.arange(1, len(values) + 1) >= width
    return np.where(full & (2 * counts >= width), values, np.nan)


def _rows(column: Column, first_tick: int, width: int, nothing: float) -> tuple[Rows, int]:
    """Segments of the column, the first and last filled up with `nothing`; how much the first was."""
    before = first_tick % width
    whole = -(-(before + len(column)) // width) * width
    padded = np.full(whole, nothing)
    padded[before : before + len(column)] = column
    return padded.reshape(-1, width), before


def _running(
    column: Column, first_tick: int, width: int, combine: np.ufunc, nothing: float
) -> tuple[Column, Column]:
    """For each window, what its part in the segment where it ends comes to, and its part in the segment before."""
    rows, before = _rows(column, first_tick, width, nothing)
    with np.errstate(over="ignore", invalid="ignore"):
        heads = combine.accumulate(rows, axis=1).ravel()
        tails = combine.accumulate(rows[:, ::-1], axis=1)[:, ::-1].ravel()
    # A window that begins with its segment has no part in another.
    starts = np.arange(before, before + len(column)) - (width - 1)
    crosses = (starts % width != 0) & (starts >= 0)
    return heads[before : before + len(column)], np.where(crosses, tails[np.maximum(starts, 0)], nothing)


def _anchor(column: Column, first_tick: int, width: int) -> tuple[Column, Column]:
    """Per value, the first available value of its segment, and the last: one of them is inside any window's part."""
    rows, before = _rows(column, first_tick, width, np.nan)
    present = ~np.isnan(rows)
    lines = np.arange(len(rows))
    firsts = rows[lines, present.argmax(axis=1)]
    lasts = rows[lines, width - 1 - present[:, ::-1].argmax(axis=1)]
    cut = slice(before, before + len(column))
    return tuple(np.repeat(np.nan_to_num(one, nan=0.0), width)[cut] for one in (firsts, lasts))  # type: ignore[return-value]


def _at_start(anchors: Column, width: int) -> Column:
    """Per full window, the anchor at its first value."""
    found = np.zeros(len(anchors))
    found[width - 1 :] = anchors[: max(0, len(anchors) - width + 1)]
    return found
