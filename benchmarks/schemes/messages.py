"""Whole records: one JSON object each, the same in zstd-3 by block, and one protobuf message each."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import zstandard

from benchmarks.values import from_physical
from demo.baselines import json_lines, message_class, protobuf_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.values import Values
    from codec.records import Records
    from codec.schema import Schema

ZSTD_LEVEL = 3


def encode_json(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    return [line for block in blocks for line in json_lines(schema, block)]


def decode_json(schema: Schema, contents: Sequence[bytes]) -> Values:
    names = schema.names
    rows = []
    for line in contents:
        document = json.loads(line)
        rows.append([document.get(name, math.nan) for name in names])
    return from_physical(schema, np.array(rows, np.float64))


def encode_json_zstd(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    return [compressor.compress(b"".join(json_lines(schema, block))) for block in blocks]


def decode_json_zstd(schema: Schema, contents: Sequence[bytes]) -> Values:
    decompressor = zstandard.ZstdDecompressor()
    lines = [line for content in contents for line in decompressor.decompress(content).splitlines()]
    return decode_json(schema, lines)


def encode_protobuf(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    return [message for block in blocks for message in protobuf_messages(schema, block)]


def decode_protobuf(schema: Schema, contents: Sequence[bytes]) -> Values:
    """A field that is not there reads as 0: proto3 says no more."""
    record = message_class(schema)
    columns = {field.name: int(field.name[1:]) for field in record.DESCRIPTOR.fields[1:]}
    values = np.zeros((len(contents), len(schema.signals)))
    for row, content in zip(values, contents, strict=True):
        for field, value in record.FromString(content).ListFields()[1:]:
            row[columns[field.name]] = value
    return from_physical(schema, values)
