"""Blocks of many streams at once are what each would have been alone."""

from __future__ import annotations

import numpy as np
import pytest

from codec.errors import CodecError, DamagedBlock, UnknownBlock
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from codec.stream import DecodedBlock, StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder, decode_all

SCHEMAS = (
    Schema(50, (Signal("a", threshold=2.0), Signal("b"), Signal("c", kind=Kind.FLOAT64))),
    Schema(50, tuple(Signal(f"s{k}", threshold=float(k % 3)) for k in range(40))),
)


def streams(count: int, blocks: int = 3) -> tuple[list[StreamFacts], list[Schema], list[list[bytes]]]:
    """Facts, schemas and blocks of so many streams of two schemas, with blocks of different lengths."""
    rng = np.random.default_rng(count)
    facts, schemas, contents = [], [], []
    for number in range(count):
        schema = SCHEMAS[number % 2]
        facts.append(StreamFacts(number.to_bytes(16, "big"), number, 0))
        encoder, tick, mine = StreamEncoder(schema, facts[-1]), 0, []
        for _ in range(blocks):
            size = (60, 60, 61, 1)[number % 4]
            shape = (size, len(schema.signals))
            counts = np.cumsum(rng.integers(-3, 4, shape), axis=0)
            states = np.where(rng.random(shape) < 0.05, Availability.STALE, Availability.AVAILABLE).astype(
                np.uint8
            )
            counts[states != Availability.AVAILABLE] = 0
            mine.append(encoder.encode(Records(tick, counts, states)).content)
            tick += size
        schemas.append(schema)
        contents.append(mine)
    return facts, schemas, contents


def outcome(decoder: StreamDecoder, content: bytes) -> DecodedBlock | CodecError:
    try:
        return decoder.decode(0, content)
    except CodecError as error:
        return error


@pytest.mark.parametrize("count", [1, 2, 7, 150])
def test_together_as_alone(count):
    facts, schemas, contents = streams(count)
    alone = [StreamDecoder(schema, fact) for schema, fact in zip(schemas, facts, strict=True)]
    together = [StreamDecoder(schema, fact) for schema, fact in zip(schemas, facts, strict=True)]
    for seq in range(3):
        expected = [one.decode(seq, mine[seq]) for one, mine in zip(alone, contents, strict=True)]
        found = decode_all([(one, seq, mine[seq]) for one, mine in zip(together, contents, strict=True)])
        for one, other in zip(found, expected, strict=True):
            assert one.records.equals(other.records)
            assert (one.seq, one.keyframe) == (other.seq, other.keyframe)
    for one, other in zip(alone, together, strict=True):
        assert one.group_digest == other.group_digest
        assert np.array_equal(one.contexts, other.contexts)
        assert np.array_equal(one.column_states, other.column_states)


def test_what_is_wrong_with_one_is_no_other_ones_affair():
    facts, schemas, contents = streams(40)
    decoders = [StreamDecoder(schema, fact) for schema, fact in zip(schemas, facts, strict=True)]
    rng = np.random.default_rng(5)
    wrong = {}
    for at in range(0, 40, 3):
        content = bytearray(contents[at][0])
        content[-1 - int(rng.integers(0, len(content) // 2))] ^= 1 << int(rng.integers(0, 8))
        wrong[at] = bytes(content)
    wrong |= {1: b"", 4: b"\x1f" + contents[4][0][1:], 7: contents[7][1]}
    jobs = [
        (one, 0, wrong.get(at, mine[0]))
        for at, (one, mine) in enumerate(zip(decoders, contents, strict=True))
    ]
    fresh = [StreamDecoder(schema, fact) for schema, fact in zip(schemas, facts, strict=True)]
    for at, (found, one) in enumerate(zip(decode_all(jobs), fresh, strict=True)):
        expected = outcome(one, jobs[at][2])
        if isinstance(expected, CodecError):
            assert (type(found), str(found)) == (type(expected), str(expected))
            expected = outcome(one, contents[at][0])
            assert outcome(decoders[at], contents[at][0]).records.equals(expected.records)
        else:
            assert found.records.equals(expected.records)
    assert isinstance(decode_all([jobs[1]])[0], DamagedBlock)
    assert isinstance(decode_all([jobs[4]])[0], UnknownBlock)


def test_nothing_is_nothing():
    assert decode_all([]) == []
