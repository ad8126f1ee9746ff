"""Columns that do again what they did before."""

from __future__ import annotations

import numpy as np
import pytest

from codec.records import Records
from codec.schema import Schema, Signal
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder

FACTS = StreamFacts(b"stream-id-of-16b", 0, 0)
BLOCK = 500


def sizes(column: np.ndarray, threshold: float = 0.0) -> list[int]:
    """Bytes of each block; what comes back is within the threshold."""
    schema = Schema(50, (Signal("a", threshold=threshold),))
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    found = []
    for at in range(0, len(column), BLOCK):
        part = column[at : at + BLOCK, None].astype(np.int64)
        block = encoder.encode(Records(at, part, np.zeros(part.shape, np.uint8)))
        decoded = decoder.decode(block.seq, block.content).records
        assert np.abs(decoded.counts - part).max() <= threshold
        found.append(len(block.content))
    return found


@pytest.mark.parametrize("threshold", [0, 3])
@pytest.mark.parametrize("period", [2, 3, 4, 7, 16, 24])
def test_a_cycle_of_any_numbers_costs_little_after_the_first_time(period, threshold):
    cycle = 10 * np.random.default_rng(3).permutation(256)[:period]
    assert sizes(np.tile(cycle, 3 * BLOCK // period + 1)[: 3 * BLOCK], threshold)[-1] <= 24


def test_tables_go_on_from_block_to_block():
    cycle = np.random.default_rng(1).integers(0, 256, 40)
    found = sizes(np.tile(cycle, 40)[: 3 * BLOCK])
    assert found[0] > 40
    assert found[2] < 40


@pytest.mark.parametrize("bits", [4, 8])
def test_what_nothing_predicts_costs_no_more_than_its_bits(bits):
    noise = np.random.default_rng(2).integers(0, 1 << bits, 4 * BLOCK)
    assert sizes(noise)[-1] < 1.1 * BLOCK * bits / 8
