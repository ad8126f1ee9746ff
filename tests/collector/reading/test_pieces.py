from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector.reading.pieces import HOLE_VALUES_MAX, Piece, batched, merged, thinned, with_holes

STEP = 20


def piece(ticks, phase=0, stream=0, step=STEP):
    """Records at these ticks; their value says which stream and tick they are of."""
    at = np.array(ticks, np.int64) * step + phase
    return Piece(at, np.array(ticks, np.float64).reshape(-1, 1) + 1000.0 * stream, step)


def times(pieces):
    return [int(t) for one in pieces for t in one.times_ns]


def values(pieces):
    return [float(v) for one in pieces for v in one.values[:, 0]]


@st.composite
def cut_streams(draw):
    """Streams of rising ticks, each cut into blocks at will, with phases that may make them interleave."""
    streams = []
    for number in range(draw(st.integers(1, 4))):
        ticks = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=30)))
        cuts = sorted(draw(st.sets(st.integers(0, len(ticks)), max_size=4)))
        edges = [0, *cuts, len(ticks)]
        phase = draw(st.integers(0, STEP - 1))
        parts = [piece(ticks[a:b], phase, number) for a, b in pairwise(edges)]
        streams.append(parts)
    return streams


@given(cut_streams())
def test_merged_streams_hold_every_record_once_in_the_order_of_time(streams):
    everything = sorted(
        (int(t), number, float(v))
        for number, parts in enumerate(streams)
        for one in parts
        for t, v in zip(one.times_ns, one.values[:, 0], strict=True)
    )
    openers = [(min(times(parts)), lambda parts=parts: iter(parts)) for parts in streams]
    found = list(merged(openers))
    assert all(len(one) for one in found)
    assert times(found) == [t for t, _, _ in everything]
    assert values(found) == [v for _, _, v in everything]


def test_a_stream_is_opened_when_its_time_has_come_and_blocks_pass_as_they_are():
    opened = []

    def opener(number, parts):
        def open_it():
            opened.append(number)
            return iter(parts)

        return open_it

    one, two = [piece([0, 1]), piece([2, 3])], [piece([10, 11])]
    found = merged([(200, opener(1, two)), (0, opener(0, one))])
    assert times([next(found)]) == [0, 20]
    assert opened == [0]
    assert [len(rest) for rest in found] == [2, 2]
    assert opened == [0, 1]


def test_a_stream_without_records_is_passed_over():
    assert list(merged([(0, lambda: iter([])), (0, lambda: iter([piece([])]))])) == []
    assert times(merged([(0, lambda: iter([])), (0, lambda: iter([piece([1])]))])) == [20]


@given(cut_streams(), st.integers(1, 200))
def test_thinned_streams_have_the_first_record_of_each_slot(streams, step):
    parts = [one for one in streams[0] if len(one)]
    at = times(parts)
    slots = {}
    for t in at:
        slots.setdefault(t // step, t)
    assert times(thinned(parts, step)) == (at if step <= STEP else list(slots.values()))


@given(cut_streams(), st.integers(0, 10))
def test_every_hole_has_nan_at_its_first_and_last_missing_tick_and_between_where_it_is_short(streams, fill):
    parts = [one for one in streams[0] if len(one)]
    at = times(parts)
    found = list(with_holes(parts, fill * STEP))
    rows = dict(zip(times(found), values(found), strict=True))
    assert len(rows) == len(times(found))
    assert list(rows) == sorted(rows)
    assert [t for t, v in rows.items() if not np.isnan(v)] == at
    expected = set()
    for a, b in pairwise(at):
        missing = list(range(a + STEP, b, STEP))
        expected |= set(missing if len(missing) <= fill else missing[:1] + missing[-1:])
    assert {t for t, v in rows.items() if np.isnan(v)} == expected


def test_a_hole_between_streams_of_other_grids_is_shown_where_a_tick_is_missing():
    assert times(with_holes([piece([0, 1]), piece([2], phase=1)], 0)) == [0, 20, 40, 41]
    assert times(with_holes([piece([0, 1]), piece([1], phase=19)], 0)) == [0, 20, 39]
    assert times(with_holes([piece([0, 1]), piece([9], phase=5, step=10)], 0)) == [0, 20, 40, 85, 95]


def test_a_slot_without_a_record_is_a_hole_and_a_record_late_in_its_slot_is_none():
    found = list(with_holes(thinned([piece([0, 1, 4, 5, 6, 7, 20])], 70), 0))
    assert times(found) == [0, 80, 140, 210, 280, 400]
    assert [np.isnan(v) for v in values(found)] == [False, False, False, True, True, False]


def test_a_long_hole_comes_in_pieces():
    found = list(with_holes([piece([0, 3 * HOLE_VALUES_MAX])], 1 << 60))
    assert max(map(len, found)) == HOLE_VALUES_MAX
    assert times(found) == list(range(0, 3 * HOLE_VALUES_MAX * STEP + 1, STEP))


@given(cut_streams(), st.integers(1, 40))
def test_batches_hold_the_same_records_in_pieces_of_a_bounded_size(streams, rows):
    parts = [one for one in streams[0] if len(one)]
    found = list(batched(parts, rows))
    assert (times(found), values(found)) == (times(parts), values(parts))
    assert all(len(one) >= rows for one in found[:-1])
    assert all(len(one) < rows + max(map(len, parts)) for one in found)
