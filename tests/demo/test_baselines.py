"""Baselines are measured on real messages, and are the lean form of what they stand for."""

from __future__ import annotations

import json

import numpy as np

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from demo.baselines import json_bytes, message_class, protobuf_bytes, stride

SCHEMA = Schema(50, (Signal("Speed", factor=0.05), Signal("Torque"), Signal("Pressure", kind=Kind.FLOAT32)))
TICK = 1_700_000_000 * 50
PRESSURE_COUNT = int(np.float32(0.5).view(np.uint32))


def one_record(states: list[int] | None = None) -> Records:
    counts = np.array([[3, -7, PRESSURE_COUNT]], np.int64)
    return Records(TICK, counts, np.array([states or [0, 0, 0]], np.uint8))


def test_protobuf_is_one_message_per_record():
    expected = message_class(SCHEMA)(
        timestamp_ms=1_700_000_000_000, s0=3 * 0.05, s1=-7.0, s2=0.5
    ).SerializeToString()
    assert len(expected) == 7 + 3 * 9
    assert protobuf_bytes(SCHEMA, [one_record(), one_record()]) == 2 * len(expected)


def test_json_is_one_line_per_record_without_float_dust():
    expected = {"timestamp_ms": 1_700_000_000_000, "Speed": 0.15, "Torque": -7.0, "Pressure": 0.5}
    assert json_bytes(SCHEMA, [one_record()]) == len(json.dumps(expected, separators=(",", ":"))) + 1


def test_what_is_not_available_is_left_out():
    run = one_record([0, Availability.STALE, 0])
    assert protobuf_bytes(SCHEMA, [run]) == 7 + 2 * 9
    without = {"timestamp_ms": 1_700_000_000_000, "Speed": 0.15, "Pressure": 0.5}
    assert json_bytes(SCHEMA, [run]) == len(json.dumps(without, separators=(",", ":"))) + 1


def test_thousands_of_signals_stay_off_the_field_numbers_that_protobuf_keeps_for_itself():
    schema = Schema(50, tuple(Signal(f"S{number}") for number in range(4096)))
    assert len(message_class(schema).DESCRIPTOR.fields) == 4097


def test_of_a_wide_and_long_drive_every_kth_record_counts_k_times():
    assert stride(30_000, 37) == 1
    assert stride(30_000, 1600) == 3
    counts = np.tile(np.array([[3, -7, PRESSURE_COUNT]], np.int64), (50, 1))
    run = Records(TICK, counts, np.zeros((50, 3), np.uint8))
    for size in (protobuf_bytes, json_bytes):
        assert size(SCHEMA, [run], 3) == size(SCHEMA, [run])
