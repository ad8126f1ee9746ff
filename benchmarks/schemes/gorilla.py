"""Gorilla (Pelkonen et al. 2015): doubles XORed with the one before, timestamps as deltas of deltas. Lossless.

Kind to it: all signals share one column of timestamps, and a block goes on from the one before it, so that only the
first block of all has values in full. What is not available is NaN. Bits are padded to bytes once in a block.

Block: uint16 records, int64 first timestamp_ms; then one bit per record for its timestamp (on a regular grid every
delta of deltas is 0; a run that begins elsewhere begins a block), then the signals one after the other.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.values import from_physical
from codec.kernel import kernel
from demo.baselines import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.values import Values
    from codec.records import Records
    from codec.schema import Schema

_HEAD = struct.Struct("<Hq")
BITS_PER_VALUE_MAX = 77  # two control bits, 5 for leading zeros, 6 for the length, 64 of value
PREVIOUS, LEADING, LENGTH = range(3)  # a signal's state: uint64[3]


@kernel
def put(buffer: Any, at: int, value: Any, bits: int) -> Any:
    for k in range(bits - 1, -1, -1):
        if value >> np.uint64(k) & np.uint64(1):
            buffer[at >> 3] |= np.uint8(128 >> (at & 7))
        at += 1
    return at


@kernel
def get(buffer: Any, at: int, bits: int) -> Any:
    value = np.uint64(0)
    for _ in range(bits):
        value = value << np.uint64(1) | np.uint64(buffer[at >> 3] >> (7 - (at & 7)) & 1)
        at += 1
    return value


@kernel
def put_series(buffer: Any, at: int, patterns: Any, state: Any) -> Any:
    for i in range(patterns.size):
        xor = patterns[i] ^ state[PREVIOUS]
        state[PREVIOUS] = patterns[i]
        if xor == 0:
            at += 1
            continue
        leading = 0
        while leading < 31 and not xor >> np.uint64(63 - leading) & np.uint64(1):
            leading += 1
        trailing = 0
        while not xor >> np.uint64(trailing) & np.uint64(1):
            trailing += 1
        old_leading, old_length = np.int64(state[LEADING]), np.int64(state[LENGTH])
        old_trailing = 64 - old_leading - old_length
        if old_length and leading >= old_leading and trailing >= old_trailing:
            at = put(buffer, at, np.uint64(2), 2)
            at = put(buffer, at, xor >> np.uint64(old_trailing), old_length)
        else:
            length = 64 - leading - trailing
            at = put(buffer, at, np.uint64(3), 2)
            at = put(buffer, at, np.uint64(leading), 5)
            at = put(buffer, at, np.uint64(length - 1), 6)
            at = put(buffer, at, xor >> np.uint64(trailing), length)
            state[LEADING], state[LENGTH] = leading, length
    return at


@kernel
def get_series(buffer: Any, at: int, patterns: Any, state: Any) -> Any:
    length: Any = 0
    for i in range(patterns.size):
        if get(buffer, at, 1) == 0:
            at += 1
        else:
            fresh = get(buffer, at + 1, 1)
            at += 2
            if fresh:
                state[LEADING] = get(buffer, at, 5)
                state[LENGTH] = get(buffer, at + 5, 6) + np.uint64(1)
                at += 11
            length = np.int64(state[LENGTH])
            up = np.uint64(64 - np.int64(state[LEADING]) - length)
            state[PREVIOUS] ^= get(buffer, at, length) << up
            at += length
        patterns[i] = state[PREVIOUS]
    return at


def encode(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    states = np.zeros((len(schema.signals), 3), np.uint64)
    contents = []
    for block in blocks:
        patterns = np.ascontiguousarray(schema.to_physical(block.counts, block.states).T).view(np.uint64)
        buffer = np.zeros(len(block) + patterns.size * BITS_PER_VALUE_MAX // 8 + 8, np.uint8)
        at = len(block)  # delta of deltas 0: a bit 0 each
        for row, state in zip(patterns, states, strict=True):
            at = put_series(buffer, at, row, state)
        head = _HEAD.pack(len(block), milliseconds(schema, block)[0])
        contents.append(head + buffer[: -(-at // 8)].tobytes())
    return contents


def decode(schema: Schema, contents: Sequence[bytes]) -> Values:
    states = np.zeros((len(schema.signals), 3), np.uint64)
    parts = []
    for content in contents:
        count, _ = _HEAD.unpack_from(content)
        buffer = np.frombuffer(content, np.uint8, offset=_HEAD.size)
        patterns = np.zeros((len(schema.signals), count), np.uint64)
        at = count
        for row, state in zip(patterns, states, strict=True):
            at = get_series(buffer, at, row, state)
        parts.append(patterns.view(np.float64).T)
    return from_physical(schema, np.concatenate(parts))
