"""The same records as other people send them: one protobuf message per record, and one JSON object per record.

Measured, not estimated: every record becomes a real message (of drives with more than VALUES_MAX values, every k-th,
which then counts k times). The baselines are the lean forms of what they stand for: no
vehicle name, no envelope, no transport; a proto3 message leaves out what is 0 or not available, and JSON leaves out
what is not available and writes no more digits than the signal has.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from codec.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.message import Message

    from codec.records import Records
    from codec.schema import Schema, Signal

VALUES_MAX = 20_000_000  # ten seconds' work
NS_PER_MS = 1_000_000


def message_class(schema: Schema, *, presence: bool = False) -> type[Message]:
    """Message Record { int64 timestamp_ms = 1; double s0 = 2; double s1 = 3; ... }: names do not travel.

    With `presence` a field that is 0 is another thing than one that is not there.
    """
    syntax = "proto2" if presence else "proto3"
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package="baseline", syntax=syntax)
    message = file.message_type.add(name="Record")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="timestamp_ms", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    for column in range(len(schema.signals)):
        number = column + 2
        number += 1000 * (number >= 19000)  # 19000 to 19999 are protobuf's own
        message.field.add(
            name=f"s{column}", number=number, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("baseline.Record"))


def stride(record_count: int, signal_count: int) -> int:
    """Every how many records one is measured."""
    return max(1, -(-record_count * signal_count // VALUES_MAX))


def protobuf_bytes(schema: Schema, runs: Iterable[Records], every: int = 1) -> int:
    """Sum of the sizes of one serialised message per record; of every k-th record of a run, if `every` is k."""
    return sum(_size(protobuf_messages, schema, run, every) for run in runs)


def json_bytes(schema: Schema, runs: Iterable[Records], every: int = 1) -> int:
    """Sum of the sizes of one compact JSON object per record, newline included; `every` as above."""
    return sum(_size(json_lines, schema, run, every) for run in runs)


def protobuf_messages(schema: Schema, run: Records, every: int = 1) -> Iterator[bytes]:
    """One serialised message per record."""
    record = message_class(schema)
    names = [f"s{column}" for column in range(len(schema.signals))]
    rows = schema.to_physical(run.counts[::every], run.states[::every]).tolist()
    for timestamp_ms, row in zip(milliseconds(schema, run)[::every], rows, strict=True):
        values = {name: value for name, value in zip(names, row, strict=True) if value == value}  # noqa: PLR0124 (NaN)
        yield record(timestamp_ms=timestamp_ms, **values).SerializeToString()


def json_lines(schema: Schema, run: Records, every: int = 1) -> Iterator[bytes]:
    """One compact JSON object per record, with its newline."""
    names = schema.names
    values = schema.to_physical(run.counts[::every], run.states[::every])
    for column, signal in enumerate(schema.signals):
        places = _decimals(signal)
        if places is not None:
            values[:, column] = np.round(values[:, column], places)
    for timestamp_ms, row in zip(milliseconds(schema, run)[::every], values.tolist(), strict=True):
        document = {"timestamp_ms": timestamp_ms}
        document.update((name, value) for name, value in zip(names, row, strict=True) if value == value)  # noqa: PLR0124
        yield json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def milliseconds(schema: Schema, run: Records) -> list[int]:
    """Timestamps of the records, rounded down."""
    ticks = np.arange(run.first_tick, run.end_tick, dtype=np.int64)
    return [int(tick) for tick in ticks * schema.period_ns // NS_PER_MS]


def _size(
    coded: Callable[[Schema, Records, int], Iterator[bytes]], schema: Schema, run: Records, every: int
) -> int:
    part = sum(map(len, coded(schema, run, every)))
    return _scaled(part, -(-len(run) // every), len(run))


def _scaled(part_bytes: int, measured: int, records: int) -> int:
    return part_bytes if measured == records else round(part_bytes * records / measured)


def _decimals(signal: Signal) -> int | None:
    """Decimals that a scaled signal's values have; None where they are floats of their own."""
    if signal.kind is not Kind.SCALED:
        return None
    exponents = [
        Decimal(repr(number)).normalize().as_tuple().exponent for number in (signal.factor, signal.offset)
    ]
    return max(0, *(-int(exponent) for exponent in exponents))
