"""What a column keeps of its contexts is what it has used, and nothing of another column's shows."""

import numpy as np

from codec.contexts import (
    STAMP,
    USED,
    Contexts,
    close_cells,
    first_use,
    new_cells,
    next_stamp,
    open_cells,
    packed,
    unpacked,
)

COUNT = 40
NOTHING = np.zeros(0, np.int64)


def contexts(seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).integers(32, 65504, (COUNT, 3)).astype(np.uint16)
    made[:, 2] %= 256
    return made


def test_contexts_come_back_from_cells():
    assert np.array_equal(unpacked(packed(contexts(1))), contexts(1))


def use(ctx: Contexts, i: int) -> int:
    """The cell of a context, without the stamp, after it was used."""
    if ctx.cells[i] >> 48 != ctx.place[STAMP]:
        ctx.cells[i] = first_use(ctx, i)
    return int(ctx.cells[i]) & (1 << 48) - 1


def test_columns_in_turn_keep_what_they_used_and_see_nothing_of_each_other():
    prior = packed(contexts(2))
    rng = np.random.default_rng(3)
    cells, used, place = new_cells(COUNT)
    kept = [NOTHING, NOTHING]
    wanted = [prior.copy(), prior.copy()]
    for turn in range(200):
        column = turn % 2
        if turn % 20 < 2:  # a keyframe
            kept[column], wanted[column] = NOTHING, prior.copy()
        open_cells(cells, used, place, kept[column], 0, len(kept[column]))
        ctx = Contexts(cells, used, place, cells, place, prior)
        for i in rng.integers(0, COUNT, 5).tolist():
            assert use(ctx, i) == wanted[column][i]
            wanted[column][i] += 1 << 20
            ctx.cells[i] += 1 << 20
        room = np.zeros(COUNT, np.int64)
        assert close_cells(cells, used, place, room, 0) == place[USED] <= COUNT
        kept[column] = room[: place[USED]]


def test_a_trial_starts_from_its_column_and_leaves_it_alone():
    prior = packed(contexts(4))
    cells, used, place = new_cells(COUNT)
    open_cells(cells, used, place, NOTHING, 0, 0)
    column = Contexts(cells, used, place, cells, place, prior)
    use(column, 7)
    column.cells[7] += 1
    own = new_cells(COUNT)
    for _ in range(2):
        next_stamp(own[0], own[2])
        trial = Contexts(*own, cells, place, prior)
        assert (use(trial, 7), use(trial, 8)) == (prior[7] + 1, prior[8])
        trial.cells[7] += 1
    assert (use(column, 7), use(column, 8)) == (prior[7] + 1, prior[8])


def test_stamps_begin_again_without_a_stale_cell_coming_back():
    cells, used, place = new_cells(COUNT)
    prior = packed(contexts(5))
    next_stamp(cells, place)
    use(Contexts(cells, used, place, cells, place, prior), 3)
    cells[3] += 1
    for _ in range((1 << 15) - 1):
        next_stamp(cells, place)
        assert place[STAMP] >= 1
    assert place[STAMP] == 1
    assert use(Contexts(cells, used, place, cells, place, prior), 3) == prior[3]
