"""Parquet: one file per block, a column of doubles per signal, null where there is no value, zstd-19."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.values import from_physical
from demo.baselines import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.values import Values
    from codec.records import Records
    from codec.schema import Schema

ZSTD_LEVEL = 19
BLOCKS_MAX = 40


def encode(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    contents = []
    for block in blocks:
        values = schema.to_physical(block.counts, block.states)
        columns = {"timestamp_ms": pa.array(milliseconds(schema, block), pa.int64())}
        for column, name in enumerate(schema.names):
            columns[f"{column} {name}"] = pa.array(np.ascontiguousarray(values[:, column]), from_pandas=True)
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink, compression="zstd", compression_level=ZSTD_LEVEL)
        contents.append(sink.getvalue())
    return contents


def decode(schema: Schema, contents: Sequence[bytes]) -> Values:
    parts = []
    for content in contents:
        table = pq.read_table(io.BytesIO(content))
        columns = [
            table.column(column + 1).to_numpy(zero_copy_only=False) for column in range(len(schema.signals))
        ]
        parts.append(np.stack(columns, axis=1).astype(np.float64))
    return from_physical(schema, np.concatenate(parts))
