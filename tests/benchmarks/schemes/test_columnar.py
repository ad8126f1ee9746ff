"""What the columnar schemes stand on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.schemes import columnar
from codec.records import Records
from codec.schema import Kind, Signal

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(INT64, max_size=30))
def test_zigzag_varints_come_back(numbers):
    signed = np.array(numbers, np.int64)
    listed = columnar.zigzag(signed)
    packed = columnar.varints(listed)
    found = np.empty(len(numbers), np.uint64)
    assert columnar.get_varints(np.frombuffer(packed, np.uint8), 0, found) == len(packed)
    assert np.array_equal(columnar.unzigzag(found), signed)


def test_small_numbers_of_either_sign_are_small():
    assert columnar.zigzag(np.array([0, -1, 1, -2], np.int64)).tolist() == [0, 1, 2, 3]


def test_a_block_says_what_is_available():
    states = np.array([[0, 1, 0], [0, 1, 2], [0, 1, 0]], np.uint8)
    block = Records(100, np.zeros((3, 3), np.int64), states)
    reader = columnar.Reader(columnar.Writer().frame(block, b"\7"), 3)
    assert reader.available.T.tolist() == (states == 0).tolist()
    assert reader.bytes(1).tolist() == [7]


def test_a_circle_is_unrolled():
    assert columnar.unwrapped(np.array([3590, 10, 3500]), 3600, 3600).tolist() == [3590, 3610, 3500]


def test_a_float_is_held_while_it_is_close():
    signal = Signal("P", kind=Kind.FLOAT32, threshold=0.5)
    bits = np.array([1.0, 1.4, 1.6, 1.2], np.float32).view(np.uint32).astype(np.int64)
    assert columnar.held(signal, bits, 0).tolist() == [bits[0], bits[0], bits[2], bits[2]]
