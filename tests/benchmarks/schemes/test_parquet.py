"""Lossless, and each block is a file of its own."""

from __future__ import annotations

from benchmarks.codec import cut
from benchmarks.schemes import parquet
from benchmarks.values import judge, values_of
from tests.benchmarks.drives import runs, schema


def test_every_value_comes_back():
    blocks = cut(runs(), 500)
    contents = parquet.encode(schema(0), blocks)
    assert all(content.startswith(b"PAR1") for content in contents)
    found = parquet.decode(schema(0), contents)
    assert judge(schema(0), values_of(schema(0), blocks), found).records_out == 0
