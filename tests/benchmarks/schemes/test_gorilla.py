"""Lossless to the bit, across blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.codec import cut
from benchmarks.schemes import gorilla
from benchmarks.values import judge, values_of
from tests.benchmarks.drives import runs, schema


@pytest.mark.parametrize("block", [5, 500])
def test_every_value_comes_back(block):
    blocks = cut(runs(), block)
    found = gorilla.decode(schema(0), gorilla.encode(schema(0), blocks))
    assert judge(schema(0), values_of(schema(0), blocks), found).records_out == 0


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=50))
def test_any_bits_come_back(numbers):
    patterns, found = np.array(numbers, np.uint64), np.zeros(len(numbers), np.uint64)
    buffer = np.zeros(len(numbers) * gorilla.BITS_PER_VALUE_MAX // 8 + 8, np.uint8)
    written = gorilla.put_series(buffer, 3, patterns, np.zeros(3, np.uint64))
    assert gorilla.get_series(buffer, 3, found, np.zeros(3, np.uint64)) == written
    assert np.array_equal(found, patterns)


def test_a_value_that_stays_is_one_bit():
    buffer = np.zeros(1000, np.uint8)
    first = gorilla.put_series(buffer, 0, np.full(1, 5, np.uint64), np.zeros(3, np.uint64))
    buffer[:] = 0
    assert gorilla.put_series(buffer, 0, np.full(100, 5, np.uint64), np.zeros(3, np.uint64)) == first + 99
