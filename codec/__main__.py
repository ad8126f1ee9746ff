"""Compiles every kernel once, into numba's cache, so that no daemon compiles while it should be capturing."""

from __future__ import annotations

import numpy as np

from codec.layout import MODEL_NAMES
from codec.records import Records
from codec.schema import Kind, Schema, Signal
from codec.stream import StreamDecoder, StreamEncoder, StreamFacts


def compile_kernels() -> None:
    """Encodes and decodes a few records of every kind under every model."""
    scaled = tuple(Signal(name) for name in MODEL_NAMES)
    schema = Schema(50, (*scaled, Signal("turn", circular=360), Signal("float", kind=Kind.FLOAT64)))
    facts = StreamFacts(bytes(16), 0, 0)
    encoder = StreamEncoder(schema, facts, models={name: name for name in MODEL_NAMES})
    shape = (20, len(schema.signals))
    records = Records(0, np.arange(shape[0] * shape[1]).reshape(shape), np.zeros(shape, np.uint8))
    block = encoder.encode(records)
    StreamDecoder(schema, facts).decode(block.seq, block.content)


if __name__ == "__main__":
    compile_kernels()
