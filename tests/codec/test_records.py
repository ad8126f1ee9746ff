import numpy as np

from codec.records import Records, concatenate


def run(first, count):
    counts = np.arange(first, first + count).reshape(-1, 1)
    return Records(first, counts, np.zeros_like(counts, np.uint8))


def test_neighbours_become_one_run_and_holes_stay():
    runs = concatenate([run(0, 3), run(3, 2), run(5, 0), run(9, 1), run(10, 1)])
    assert [(r.first_tick, r.end_tick) for r in runs] == [(0, 5), (9, 11)]
    assert runs[0].equals(run(0, 5))


def test_a_slice_keeps_its_ticks():
    part = run(10, 5).slice(2, 4)
    assert (part.first_tick, len(part), part.counts.ravel().tolist()) == (12, 2, [12, 13])
