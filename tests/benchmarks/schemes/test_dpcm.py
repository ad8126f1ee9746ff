"""Within its bound at every threshold, exact without one, whatever the block length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.codec import cut
from benchmarks.schemes import dpcm
from benchmarks.values import judge, values_of
from tests.benchmarks.drives import runs, schema


@pytest.mark.parametrize("share", [1.0, 0.1, 0.0])
@pytest.mark.parametrize("block", [5, 50, 1500])
def test_every_value_is_within_its_bound(share, block):
    blocks = cut(runs(), block)
    found = dpcm.decode(schema(share), dpcm.encode(schema(share), blocks))
    assert judge(schema(share), values_of(schema(share), blocks), found).records_out == 0


@given(
    arrays.arrays(np.int64, st.integers(1, 50), elements=st.integers(-(1 << 46), 1 << 46)),
    st.integers(0, 1000),
)
def test_steps_add_up_to_within_the_error(counts, error_max):
    steps = np.empty(len(counts), np.int64)
    last = dpcm.quantise(counts, error_max, 7, steps)
    found = 7 + np.cumsum(steps * (2 * error_max + 1))
    assert np.all(np.abs(found - counts) <= error_max)
    assert last == found[-1]
