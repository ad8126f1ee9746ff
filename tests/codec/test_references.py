"""What columns take from each other: states, values, and the records at which they change."""

from __future__ import annotations

import numpy as np
import pytest

from codec.contexts import Contexts, new_cells, next_stamp, packed
from codec.range_coder import (
    CODER_SIZE,
    SIZE,
    STATUS,
    STATUS_DAMAGED,
    finish_encoding,
    new_contexts,
    start_decoding,
    start_encoding,
)
from codec.records import Availability, Records
from codec.references import code_reference
from codec.schema import Schema, Signal
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder

FACTS = StreamFacts(b"stream-id-of-16b", 0, 0)
COUNT = 500


def size_of(columns: list[np.ndarray], states: np.ndarray | None = None) -> int:
    """Bytes of the second of two blocks, which both come back."""
    schema = Schema(50, tuple(Signal(f"signal{k}") for k in range(len(columns))))
    counts = np.stack(columns, axis=1).astype(np.int64)
    states = np.zeros(counts.shape, np.uint8) if states is None else states
    counts[states != Availability.AVAILABLE] = 0
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    half = len(counts) // 2
    for part in (slice(0, half), slice(half, None)):
        records = Records(part.start, counts[part], states[part])
        block = encoder.encode(records)
        assert decoder.decode(block.seq, block.content).records.equals(records)
    return len(block.content)


def test_a_copy_costs_next_to_nothing():
    noise = np.random.default_rng(1).integers(0, 256, 2 * COUNT)
    assert size_of([noise, noise, noise, noise]) <= size_of([noise]) + 3


def test_columns_that_do_not_change_cost_nothing_together():
    counts = [np.full(2 * COUNT, k) for k in range(400)]
    assert size_of(counts) <= 12


def test_states_of_one_message_are_told_once():
    rng = np.random.default_rng(2)
    states = np.repeat(np.cumsum(rng.random((2 * COUNT, 1)) < 0.1, axis=0) % 2 * 2, 40, axis=1).astype(
        np.uint8
    )
    levels = [np.full(2 * COUNT, k) for k in range(40)]
    assert size_of(levels, states) <= size_of(levels[:1], states[:, :1]) + 8


def test_who_changes_with_a_column_before_is_told_cheaply():
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.random(2 * COUNT) < 0.2)
    counter, checksum = arrivals % 16, rng.integers(0, 256, 2 * COUNT)[arrivals]
    changes = np.count_nonzero(np.diff(checksum[COUNT:]))
    alone = size_of([checksum])
    both = size_of([counter, checksum])
    assert both - size_of([counter]) < min(alone - 20, 1.15 * changes + 12)


@pytest.mark.parametrize("distance", [3, 1 << 40])
def test_a_reference_to_a_column_that_is_not_there_is_damage(distance):
    coder, buffer = np.zeros(CODER_SIZE, np.int64), np.zeros(200, np.uint8)
    start_encoding(coder, buffer)
    code_reference(coder, buffer, no_contexts(), 0, 1 << 50, 1, distance)
    finish_encoding(coder, buffer)
    start_decoding(coder, buffer, coder[SIZE])
    code_reference(coder, buffer, no_contexts(), 0, 2, 1, 0)
    assert coder[STATUS] == STATUS_DAMAGED


def no_contexts() -> Contexts:
    """That know nothing."""
    cells, used, place = new_cells(65)
    next_stamp(cells, place)
    return Contexts(cells, used, place, cells, place, packed(new_contexts((65,))))
