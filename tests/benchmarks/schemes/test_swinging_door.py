"""Lines that no value is farther from than its bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.codec import cut
from benchmarks.schemes import swinging_door
from benchmarks.values import judge, values_of
from tests.benchmarks.drives import runs, schema

COUNTS = st.one_of(st.integers(-20, 20), st.integers(-(1 << 46), 1 << 46))


@pytest.mark.parametrize("share", [1.0, 0.1, 0.0])
@pytest.mark.parametrize("block", [5, 50, 1500])
def test_every_value_is_within_its_bound(share, block):
    blocks = cut(runs(), block)
    found = swinging_door.decode(schema(share), swinging_door.encode(schema(share), blocks))
    assert judge(schema(share), values_of(schema(share), blocks), found).records_out == 0


@given(arrays.arrays(np.int64, st.integers(1, 60), elements=COUNTS), st.integers(0, 10), st.booleans())
def test_lines_keep_the_bound(counts, error_max, fresh):
    found = np.empty(len(counts), np.int64)
    ends = found[: swinging_door.archive(counts, error_max, fresh, 0, found)]
    drawn = np.empty(len(counts), np.int64)
    swinging_door.draw(ends, np.diff(counts[ends], prepend=0), 0, drawn)
    assert np.all(np.abs(drawn - counts) <= error_max)
    assert ends[-1] == len(counts) - 1


def test_a_ramp_is_two_points():
    found = np.empty(100, np.int64)
    assert swinging_door.archive(np.arange(100) * 3, 0, True, 0, found) == 2
