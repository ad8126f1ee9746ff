from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal, physical
from collector.ingest.minutes import Minutes, minute_of

SCHEMA = Schema(
    2,
    (
        Signal("Up", factor=0.05, offset=-3.0),
        Signal("Down", factor=-0.5),
        Signal("Float", kind=Kind.FLOAT64),
    ),
)
SIZE = 120


@st.composite
def streams(draw):
    """Records of one stream, in blocks, with holes between some, and values that are not there or no numbers."""
    tick, blocks = draw(st.integers(-(10**9), 10**9)), []
    for length, hole in draw(
        st.lists(st.tuples(st.integers(1, 200), st.sampled_from([0, 0, 0, 1, 500])), max_size=6)
    ):
        seed = np.random.default_rng(draw(st.integers(0, 2**32)))
        counts = seed.integers(-1000, 1000, (length, 3))
        values = seed.normal(size=length)
        values[seed.random(length) < 0.1] = draw(st.sampled_from([np.nan, np.inf, 1.5]))
        counts[:, 2] = values.view(np.int64)
        states = (seed.random((length, 3)) < draw(st.sampled_from([0.0, 0.2, 1.0]))).astype(np.uint8)
        counts[states != 0] = 0
        blocks.append(Records(tick, counts, states))
        tick += length + hole
    return blocks


def by_hand(blocks):
    """{(minute, signal): (least, greatest, mean, number)}, value by value."""
    values = {}
    for block in blocks:
        for column, signal in enumerate(SCHEMA.signals):
            for index, value in enumerate(physical(signal, block.counts[:, column]).tolist()):
                if block.states[index, column] == Availability.AVAILABLE and np.isfinite(value):
                    minute = (block.first_tick + index) // SIZE * SIZE
                    values.setdefault((minute, signal.name), []).append(value)
    return {place: (min(v), max(v), sum(v) / len(v), len(v)) for place, v in values.items()}


@given(streams())
def test_minutes_are_what_their_values_come_to_however_blocks_are_cut(blocks):
    minutes = Minutes(SCHEMA, 0)
    found = [one for block in blocks for summaries in minutes.take(block) for one in summaries]
    found += minutes.so_far()
    wanted = by_hand(blocks)
    assert {(one.tick, one.signal) for one in found} == set(wanted)
    assert len(found) == len(wanted)
    for one in found:
        got = (one.low, one.high, one.mean, one.count)
        assert np.allclose(got, wanted[one.tick, one.signal], rtol=1e-12, atol=1e-9)


def test_a_minute_begins_at_a_multiple_of_its_ticks_before_zero_too():
    assert [minute_of(tick, SCHEMA) for tick in (-121, -1, 0, 119, 120)] == [-240, -120, 0, 0, 120]
