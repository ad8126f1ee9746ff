"""What is written comes back, whatever the contexts expected, and in about as many bits as it is worth."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from codec.contexts import Contexts, new_cells, next_stamp, packed
from codec.range_coder import (
    CODER_SIZE,
    INT_CONTEXTS,
    POSITION,
    SIZE,
    SLACK_BYTES,
    STATUS,
    USES_MAX,
    code_bit,
    code_count,
    code_int,
    code_raw,
    finish_encoding,
    new_contexts,
    start_decoding,
    start_encoding,
)

NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-1000, 1000), st.integers(-(2**61), 2**61))


def opened(contexts):
    """A column's contexts that begin as these: uint16[k, 3]."""
    cells, used, place = new_cells(len(contexts))
    next_stamp(cells, place)
    return Contexts(cells, used, place, cells, place, packed(contexts))


@njit
def _code(coder, buffer, ctx, numbers):
    for i in range(numbers.size):
        numbers[i] = code_int(coder, buffer, ctx, 0, numbers[i])
        code_bit(coder, buffer, ctx, 2 * INT_CONTEXTS, 1)
        numbers[i] += code_count(coder, buffer, ctx, INT_CONTEXTS, abs(numbers[i])) * 0
        code_raw(coder, buffer, 5, 3)


def there_and_back(numbers, start):
    buffer, coder = np.zeros(64 + 40 * len(numbers), np.uint8), np.zeros(CODER_SIZE, np.int64)
    start_encoding(coder, buffer)
    _code(coder, buffer, opened(start), np.array(numbers, np.int64))
    finish_encoding(coder, buffer)
    written = buffer[: coder[SIZE]].copy()
    assert coder[STATUS] == 0
    start_decoding(coder, written, len(written))
    found = np.zeros(len(numbers), np.int64)
    _code(coder, written, opened(start), found)
    return found.tolist(), len(written)


@given(st.lists(NUMBERS, max_size=60), st.integers(0, 2**32))
def test_numbers_come_back_from_any_contexts(numbers, seed):
    contexts = np.random.default_rng(seed).integers(32, 65504, (2 * INT_CONTEXTS + 1, 3)).astype(np.uint16)
    contexts[:, 2] %= USES_MAX + 1
    assert there_and_back(numbers, contexts)[0] == numbers


def test_a_thousand_zeros_cost_a_few_bytes():
    found, size = there_and_back([0] * 1000, new_contexts((2 * INT_CONTEXTS + 1,)))
    assert found == [0] * 1000
    assert size < 3 * 1000 / 8 + 30  # the raw bits beside them cost three bits each


@njit
def _code_bits(coder, buffer, ctx, bits):
    for i in range(bits.size):
        bits[i] = code_bit(coder, buffer, ctx, 0, bits[i])


def test_a_reader_gets_so_far_past_the_end_and_no_further():
    # Stripping every trailing zero would lose 1 short block in 80,000: its reader would be too far past the end.
    rng, coder, buffer = np.random.default_rng(1), np.zeros(CODER_SIZE, np.int64), np.zeros(99, np.uint8)
    longest = 0
    for _ in range(50_000):
        bits = rng.integers(0, 2, rng.integers(1, 60))
        start_encoding(coder, buffer)
        _code_bits(coder, buffer, opened(new_contexts((1,))), bits)
        finish_encoding(coder, buffer)
        written = buffer[: coder[SIZE]].copy()
        start_decoding(coder, written, len(written))
        found = np.zeros_like(bits)
        _code_bits(coder, written, opened(new_contexts((1,))), found)
        assert np.array_equal(found, bits)
        longest = max(longest, int(coder[POSITION]) - len(written))
    assert longest == SLACK_BYTES
