"""Contexts: what the coder has learnt of each kind of bit, kept only where it was used since the keyframe.

Rules
- A cell is one context in 64 bits: fast | slow << 16 | uses << 32 | stamp << 48. The cells of one column lie open at a time,
  in an array that all columns of all streams share: those that bear the open column's stamp are its own, others are stale.
- A context is taken from below when it is first used: by a trial from the column that it is a trial for, by a column from
  the prior. So a keyframe costs nothing where nothing is used, and a trial copies nothing that it does not touch.
- Between blocks a column keeps the cells that it has used, with their index where the stamp was: some hundred bytes of
  the 43 kB that all of them take.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from codec.kernel import kernel

STAMP, USED = 0, 1  # indices of `place`
_STAMP_MAX = (1 << 15) - 1
STAMP_AT = 48
_CELL = (1 << STAMP_AT) - 1


class Contexts(NamedTuple):
    """The contexts of one column, or of a trial for it."""

    cells: np.ndarray  # int64[contexts]
    used: np.ndarray  # int64[contexts]: indices of those that bear the stamp, in the order of their first use
    place: np.ndarray  # int64[2]: the stamp, and how many are used
    below: np.ndarray  # cells and place of what a trial is a trial for; its own otherwise
    below_place: np.ndarray
    prior: np.ndarray  # int64[contexts]: cells without a stamp


def packed(contexts: np.ndarray) -> np.ndarray:
    """Cells int64[...] without a stamp of contexts uint16[..., 3]."""
    wide = contexts.astype(np.int64)
    return wide[..., 0] | wide[..., 1] << 16 | wide[..., 2] << 32


def unpacked(cells: np.ndarray) -> np.ndarray:
    """Inverse of `packed`, whatever the stamp."""
    return np.stack([cells & 0xFFFF, cells >> 16 & 0xFFFF, cells >> 32 & 0xFFFF], axis=-1).astype(np.uint16)


def new_cells(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`cells`, `used` and `place` for so many contexts."""
    return np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(2, np.int64)


@kernel
def next_stamp(cells, place):
    """Makes all cells stale."""
    place[USED] = 0
    place[STAMP] += 1
    if place[STAMP] > _STAMP_MAX:
        cells[:] = 0
        place[STAMP] = 1


@kernel
def open_cells(cells, used, place, kept, start, stop):
    """Lays open what a column has kept: kept[start:stop]."""
    next_stamp(cells, place)
    stamp = place[STAMP] << STAMP_AT
    for k in range(start, stop):
        i = kept[k] >> STAMP_AT
        cells[i] = kept[k] & _CELL | stamp
        used[k - start] = i
    place[USED] = stop - start


@kernel
def close_cells(cells, used, place, kept, start):
    """Keeps the cells that were used, in kept from `start` on. Returns the end."""
    count = place[USED]
    for k in range(count):
        i = used[k]
        kept[start + k] = cells[i] & _CELL | i << STAMP_AT
    return start + count


@kernel
def first_use(ctx, i):
    """The cell of a context that has not been used yet, taken from below, with the stamp."""
    cell = ctx.below[i]
    if cell >> STAMP_AT != ctx.below_place[STAMP]:
        cell = ctx.prior[i]
    ctx.used[ctx.place[USED]] = i
    ctx.place[USED] += 1
    return cell & _CELL | ctx.place[STAMP] << STAMP_AT


@kernel
def remembered(ctx, i):
    """What a cell that is no context holds: 48 bits, 0 before its first use."""
    cell = ctx.cells[i]
    if cell >> STAMP_AT != ctx.place[STAMP]:
        cell = ctx.below[i]
        if cell >> STAMP_AT != ctx.below_place[STAMP]:
            return np.int64(0)
    return cell & _CELL


@kernel
def remember(ctx, i, content):
    """Fills such a cell with 48 bits."""
    if ctx.cells[i] >> STAMP_AT != ctx.place[STAMP]:
        ctx.used[ctx.place[USED]] = i
        ctx.place[USED] += 1
    ctx.cells[i] = content & _CELL | ctx.place[STAMP] << STAMP_AT
