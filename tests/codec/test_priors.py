import struct
import zlib

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import DamagedBlock, UnknownBlock
from codec.layout import CONTEXTS
from codec.priors import PRIOR_BYTES_MAX, WEIGHT_MAX, Prior, built_in, make_prior, prior_hash, untrained
from codec.range_coder import HIGHEST, LOWEST, USES_MAX
from codec.residuals import ORDER
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from codec.training import train
from tests.codec.test_stream import drive

HEAD = struct.Struct("<4s16sIIII")


def packed(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


@st.composite
def priors(draw):
    """Some contexts and weights of a few rows differ from the built-in prior, or from none."""
    rows = draw(st.integers(1, 3))
    base = draw(st.sampled_from([None, built_in()]))
    start = untrained() if base is None else base
    contexts, weights = np.repeat(start.contexts, rows, axis=0), np.repeat(start.weights, rows, axis=0)
    places = st.tuples(st.integers(0, rows - 1), st.integers(0, CONTEXTS - 1))
    values = st.tuples(st.integers(LOWEST, HIGHEST), st.integers(0, USES_MAX))
    for (row, context), (estimate, uses) in draw(st.dictionaries(places, values, max_size=20)).items():
        contexts[row, context] = estimate, estimate, uses
    for k, weight in draw(
        st.dictionaries(st.integers(0, ORDER - 1), st.integers(-WEIGHT_MAX, WEIGHT_MAX))
    ).items():
        weights[-1, k] = weight
    return make_prior(contexts, weights, base)


@given(priors())
def test_a_prior_comes_back_from_the_bytes_that_it_travels_as(prior):
    again = Prior.from_bytes(prior.content, len(prior.contexts))
    assert np.array_equal(again.contexts, prior.contexts)
    assert np.array_equal(again.weights, prior.weights)
    assert again.hash == prior.hash == prior_hash(prior.content)


@given(priors(), st.data())
def test_any_bytes_are_a_prior_or_one_error(prior, data):
    body = bytearray(zstandard.ZstdDecompressor().decompress(prior.content))
    for at, byte in data.draw(
        st.dictionaries(st.integers(0, len(body) - 1), st.integers(0, 255), max_size=8)
    ).items():
        body[at] = byte
    content = packed(bytes(body[: data.draw(st.integers(0, len(body)))]) + data.draw(st.binary(max_size=9)))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))] + data.draw(st.binary(max_size=40))
    rows = len(prior.contexts)
    try:
        found = Prior.from_bytes(content, rows)
    except DamagedBlock:
        return
    assert found.contexts.shape in ((1, CONTEXTS, 3), (rows, CONTEXTS, 3))
    assert found.contexts[..., :2].min() >= LOWEST
    assert found.contexts[..., :2].max() <= HIGHEST
    assert found.contexts[..., 2].max() <= USES_MAX
    assert np.abs(found.weights).max() <= WEIGHT_MAX


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (packed(HEAD.pack(b"DRP1", bytes(16), 4096, CONTEXTS, 0, 0)), "4096 signals, where there are 20"),
        (packed(HEAD.pack(b"DRP1", bytes(16), 1, CONTEXTS, 1 << 31, 0)), "longer or shorter"),
        (packed(HEAD.pack(b"DRP1", bytes(16), 1, CONTEXTS - 1, 0, 0)), "codec version"),
        (packed(HEAD.pack(b"DRP1", bytes(range(16)), 1, CONTEXTS, 0, 0)), "builds on 000102"),
        (
            packed(HEAD.pack(b"DRP1", bytes(16), 1, CONTEXTS, 1, 0) + struct.pack("<IHB", CONTEXTS, 99, 0)),
            "not there",
        ),
        (packed(bytes(2 << 20)), "impossible size"),
        (bytes(PRIOR_BYTES_MAX + 1), "at most"),
        (zlib.compress(b"prior"), "not a prior"),
    ],
)
def test_a_hostile_prior_takes_no_memory_and_is_told_why(content, why):
    with pytest.raises(DamagedBlock, match=why):
        Prior.from_bytes(content, 20)


def test_the_streams_of_a_fleet_share_what_was_parsed_once():
    content = built_in().content
    assert Prior.from_bytes(content, 1) is Prior.from_bytes(bytes(bytearray(content)), 1)


def test_the_built_in_prior_has_one_row_for_every_column():
    assert built_in().contexts.shape == (1, CONTEXTS, 3)


def test_a_prior_trained_on_a_drive_makes_its_keyframes_smaller_and_is_wanted_by_name():
    schema, records = drive(120)
    trained = train([(schema, records)])
    facts = StreamFacts(b"stream-id-of-16b", 0, records.first_tick, prior_hash=trained.hash)
    sizes = {}
    for name, prior in (("untrained", untrained()), ("built in", built_in()), ("trained", trained)):
        encoder = StreamEncoder(schema, facts, prior=prior)
        sizes[name] = len(encoder.encode(records.slice(0, 500)).content)
    assert sizes["trained"] < sizes["built in"] < sizes["untrained"]
    block = StreamEncoder(schema, facts, prior=trained).encode(records.slice(0, 500))
    with pytest.raises(UnknownBlock) as caught:
        StreamDecoder(schema, facts).decode(0, block.content)
    assert caught.value.missing == ("prior", trained.hash)
    StreamDecoder(schema, facts, find_prior={trained.hash: trained}.get).decode(0, block.content)


def test_a_prior_of_another_schema_is_damage():
    schema, records = drive(8)
    rows = len(schema.signals) + 1
    foreign = make_prior(
        np.repeat(built_in().contexts, rows, axis=0), np.repeat(built_in().weights, rows, axis=0), built_in()
    )
    facts = StreamFacts(b"stream-id-of-16b", 0, records.first_tick, prior_hash=foreign.hash)
    block = StreamEncoder(schema, facts).encode(records)
    content = bytes((block.content[0] & ~0x40,)) + block.content[1:]
    with pytest.raises(DamagedBlock, match="another schema"):
        StreamDecoder(schema, facts, find_prior={foreign.hash: foreign}.get).decode(0, content)
