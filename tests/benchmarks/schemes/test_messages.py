"""Whole records come back exactly; proto3 alone cannot say what is not available."""

from __future__ import annotations

import pytest

from benchmarks.codec import cut
from benchmarks.schemes import messages
from benchmarks.values import judge, values_of
from tests.benchmarks.drives import runs, schema

BLOCKS = cut(runs(), 50)
EXPECTED = values_of(schema(0), BLOCKS)


@pytest.mark.parametrize(
    ("encode", "decode"),
    [(messages.encode_json, messages.decode_json), (messages.encode_json_zstd, messages.decode_json_zstd)],
)
def test_json_comes_back(encode, decode):
    found = decode(schema(0), encode(schema(0), BLOCKS))
    assert judge(schema(0), EXPECTED, found).records_out == 0


def test_protobuf_comes_back_but_for_availability():
    contents = messages.encode_protobuf(schema(0), BLOCKS)
    found = messages.decode_protobuf(schema(0), contents)
    assert len(contents) == len(EXPECTED)
    assert judge(schema(0), EXPECTED, found, availability=False).records_out == 0
    assert judge(schema(0), EXPECTED, found).records_out > 0


def test_zstd_blocks_are_smaller_than_their_lines():
    lines = sum(map(len, messages.encode_json(schema(), BLOCKS)))
    assert sum(map(len, messages.encode_json_zstd(schema(), BLOCKS))) < lines / 4
