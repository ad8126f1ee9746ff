"""docs/wire-format.md is complete: a decoder that follows it, and shares no code with the codec, reads what the codec writes.

And it is true: the numbers that it states are the source's. (Its example: tests/vectors/test_vectors.py.)
"""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import layout, models, range_coder
from codec.errors import DamagedBlock, UnknownBlock
from codec.guards import Guard, GuardSet
from codec.layout import MODEL_NAMES
from codec.priors import Prior, built_in
from codec.records import Records
from codec.schema import Schema, Signal
from codec.stream import Clock, DecodedBlock, StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from codec.training import train
from tests.codec.strategies import records_of, schemas
from tests.codec.test_stream import runs
from tests.plain_decoder import document, words
from tests.plain_decoder.stream import Block
from tests.vectors.plain import plain_decoder

HERE = Path(__file__).resolve().parent
FACTS = StreamFacts(b"stream-id-of-16b", 3, 1000, Clock(1_700_000_000_000_000_000, synchronised=True))


def assert_same(found: Block, wanted: DecodedBlock) -> None:
    assert found.first_tick == wanted.records.first_tick
    assert found.states == wanted.records.states.T.tolist()
    assert found.counts == wanted.records.counts.T.tolist()
    header, keyframe = found.header, wanted.keyframe
    assert header.keyframe == (keyframe is not None)
    if keyframe:
        assert (header.first_record, header.previous_digest) == (
            keyframe.first_record,
            keyframe.previous_digest,
        )
        assert (header.guards_hash, header.prior_hash) == (keyframe.guards_hash, keyframe.prior_hash)
        assert header.clock_offset_ns == keyframe.clock_offset_ns
        assert header.clock_synchronised == keyframe.clock_synchronised


class Pair:
    """Both decoders, fed alike."""

    def __init__(self, schema: Schema, facts: StreamFacts = FACTS, *priors: Prior) -> None:
        self.plain = plain_decoder(schema, facts, *priors)
        self.codec = StreamDecoder(schema, facts, find_prior={prior.hash: prior for prior in priors}.get)

    def decode(self, seq: int, content: bytes) -> Records:
        wanted = self.codec.decode(seq, content)
        assert_same(self.plain.decode(seq, content), wanted)
        assert self.plain.group_digest == self.codec.group_digest
        return wanted.records


@given(runs())
def test_whatever_the_codec_writes_the_plain_decoder_reads(case):
    schema, guards, blocks = case
    encoder, pair = StreamEncoder(schema, FACTS, guards=guards), Pair(schema)
    for records, keyframe in blocks:
        block = encoder.encode(records, keyframe=keyframe)
        pair.decode(block.seq, block.content)


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(MODEL_NAMES), min_size=4, max_size=4))
def test_every_model_after_every_other(seed, names):
    # The encoder of each block is another, so that any model may follow any other on the same state.
    rng = np.random.default_rng(seed)
    scale = int(rng.choice([3, 1000, 1 << 40]))
    schema = Schema(
        50,
        (
            Signal("a", factor=0.1, threshold=float(rng.choice([0, 0.3, 2]))),
            Signal("b", factor=0.1, circular=360, threshold=1),
        ),
    )
    guards = GuardSet((Guard("a", ">", 0.5), Guard("b", "<", 0.3)))
    encoder, pair = StreamEncoder(schema, FACTS, guards=guards), Pair(schema)
    for k, name in enumerate(names):
        encoder._coding.start.parameters[:, layout.FORCED] = MODEL_NAMES.index(name)
        count = int(rng.integers(1, 80))
        walk = np.cumsum(rng.integers(-scale, scale + 1, (count, 2)), axis=0)
        walk[rng.random(count) < 0.3] = walk[0]
        counts = np.stack([walk[:, 0], walk[:, 1] % 3600], axis=1)
        block = encoder.encode(
            Records(encoder._coding.end_tick + k % 2, counts, np.zeros((count, 2), np.uint8))
        )
        assert block.models == (name, name)
        pair.decode(block.seq, block.content)


@given(st.data())
def test_damaged_blocks_are_damaged_to_both_or_to_none(data):
    schema = data.draw(schemas())
    encoder, pair = StreamEncoder(schema, FACTS), Pair(schema)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    first, second = (
        encoder.encode(records_of(rng, schema, FACTS.origin_tick + at, 30), keyframe=data.draw(st.booleans()))
        for at in (0, 30)
    )
    pair.decode(0, first.content)
    broken = bytearray(second.content)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    content = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    try:
        pair.decode(1, content)
    except (DamagedBlock, UnknownBlock) as refused:
        with pytest.raises(words.Unknown if isinstance(refused, UnknownBlock) else words.Damaged):
            pair.plain.decode(1, content)
        pair.decode(1, second.content)  # neither has changed


@pytest.mark.parametrize(
    ("drive", "share", "count"),
    [
        ("city", 1.0, 3000),
        ("highway", 1.0, 1000),
        ("aggressive", 1.0, 1000),
        ("charging", 1.0, 1000),
        ("overheating", 1.0, 1000),
        ("city", 0.1, 500),
        ("highway", 0.0, 500),
    ],
)
def test_the_start_of_a_drive(drive, share, count):
    given, records = _sampled(drive)
    schema = Schema(
        50, tuple(replace(signal, threshold=signal.threshold * share) for signal in given.signals)
    )
    facts = StreamFacts(bytes(16), 0, records.first_tick)
    encoder, pair = StreamEncoder(schema, facts), Pair(schema, facts)
    for at in range(0, count, 500):
        block = encoder.encode(records.slice(at, at + 500), keyframe=at % 1500 == 0)
        pair.decode(block.seq, block.content)


def _sampled(drive: str) -> tuple[Schema, Records]:
    from benchmarks.sampled import DRIVES, sample_drive

    sampled = sample_drive(DRIVES / "drives" / f"{drive}.log.gz", [DRIVES / "car.dbc"])
    return sampled.schema, sampled.runs[0]


def test_a_prior_of_ones_own_with_a_row_for_each_signal():
    t = np.arange(600)
    schema = Schema(50, (Signal("a", threshold=3), Signal("b")))
    records = Records(1000, np.stack([t * 7 // 3, (t * t) % 97], axis=1), np.zeros((600, 2), np.uint8))
    prior = train([(schema, records)])
    encoder, pair = StreamEncoder(schema, FACTS, prior=prior), Pair(schema, FACTS, prior)
    for at in (0, 300):
        block = encoder.encode(records.slice(at, at + 300))
        pair.decode(block.seq, block.content)
    with pytest.raises(words.Unknown):
        plain_decoder(schema, FACTS).decode(
            0, StreamEncoder(schema, FACTS, prior=prior).encode(records).content
        )


def test_the_decoder_was_not_helped():
    for source in HERE.glob("*.py"):
        if source.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] not in {"codec", "numpy", "numba", "zstandard"}, source.name


def test_the_documents_numbers_are_the_sources():
    assert (document.FAST, document.SLOW) == (range_coder._FAST, range_coder._SLOW)
    assert (document.CLASSIC_ALPHA, document.HOLT_BETA) == (models._CLASSIC_ALPHA, models._HOLT_BETA)
    assert document.CONTEXTS == layout.CONTEXTS
    names = {name.removeprefix("C_"): getattr(layout, name) for name in dir(layout) if name.startswith("C_")}
    assert {name: first for name, (first, _) in document.LAYOUT.items()} == names
    ends = [*sorted(names.values())[1:], layout.CONTEXTS]
    assert [first + size for first, size in sorted(document.LAYOUT.values())] == ends
    assert built_in().hash.hex() == document.BUILT_IN_PRIOR
