from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Availability, Records
from codec.schema import NS, Kind, Schema, Signal
from collector.ingest.materialise import TEXT_BYTES, Readable, Room, first_of_steps, to_json
from tests.codec.strategies import records_of, schemas

SCHEMA = Schema(
    50,
    (
        Signal("Volt", factor=0.05, offset=-3.2),
        Signal("Gear", labels=((0, "P"), (1, "D"))),
        Signal("Whole", factor=2.0),
        Signal("Float", kind=Kind.FLOAT64),
    ),
)


def one(volt=0, gear=0, whole=0, number=0.0, states=(0, 0, 0, 0)) -> Records:
    counts = np.array([[volt, gear, whole, int(np.float64(number).view(np.int64))]], np.int64)
    return Records(0, counts, np.array([states], np.uint8))


def test_values_have_the_digits_of_their_signal_and_words_where_there_are_some():
    readable = Readable(SCHEMA)
    assert readable.values(one(7, 1, 21, 0.1 + 0.2), 0) == {
        "Volt": -2.85,
        "Gear": "D",
        "Whole": 42,
        "Float": 0.3,
    }
    assert readable.values(one(gear=5), 0)["Gear"] == 5


def test_what_is_not_available_or_no_number_is_none():
    values = Readable(SCHEMA).values(
        one(number=float("nan"), states=(Availability.STALE, 0, Availability.NEVER_SEEN, 0)), 0
    )
    assert (values["Volt"], values["Whole"], values["Float"]) == (None, None, None)
    assert json.dumps(values, allow_nan=False)


@pytest.mark.parametrize("kind", [Kind.SCALED, Kind.WIDE_UNSIGNED, Kind.FLOAT32])
@pytest.mark.parametrize("digits", [0, 1])
def test_what_is_too_large_for_a_number_is_none(kind, digits):
    schema = Schema(1, (Signal("Huge", kind=kind, factor=1e308, offset=digits / 2),))
    records = Records(0, np.full((1, 1), 0x7F000000, np.int64), np.zeros((1, 1), np.uint8))
    assert [data for _, _, data in Readable(schema).rows(records, [0], 0)] == ['{"Huge":null}']


@given(
    start=st.integers(-(10**6), 10**12),
    offset=st.one_of(st.integers(-(10**18), 10**18), st.sampled_from([-(1 << 62), 1 << 62])),
    lengths=st.lists(st.integers(1, 120), min_size=1, max_size=5),
    step=st.sampled_from([NS, NS // 10, NS // 50, NS * 10, NS // 3]),
)
def test_each_step_begins_once_however_blocks_are_cut(start, offset, lengths, step):
    period = NS // 50
    first = []
    tick = start
    for length in lengths:
        records = Records(tick, np.zeros((length, 1), np.int64), np.zeros((length, 1), np.uint8))
        first += [
            tick + int(i) for i in first_of_steps(records, period, offset, step, continues=tick > start)
        ]
        tick += length
    steps = [(t * period + offset) // step for t in range(start, tick)]
    assert [(t * period + offset) // step for t in first] == sorted(set(steps))


def test_rows_of_a_block_that_holds_an_hour_of_seconds_come_to_an_end():
    schema = Schema(1, tuple(Signal(f"{'name' * 50}{k}") for k in range(97)))
    shape = (4096, 97)
    records = Records(0, np.zeros(shape, np.int64), np.zeros(shape, np.uint8))
    rows = list(Readable(schema).rows(records, range(4096), 0))
    assert 0 < sum(len(data) for _, _, data in rows) < 5_000_000
    assert [second for second, _, _ in rows] == list(range(len(rows)))


@given(schemas(), st.integers(0, 2**32 - 1))
def test_text_is_the_json_of_the_values_whatever_was_written_before(schema, seed):
    readable = Readable(schema)
    records = records_of(np.random.default_rng(seed), schema, 0, 40)
    for index in (*range(len(records)), *range(len(records))):
        assert readable.text(records, index) == to_json(readable.values(records, index))


def test_texts_that_are_kept_are_bounded_over_all_schemas():
    room = Room(bytes_max=4000)
    readables = [Readable(SCHEMA, room) for _ in range(3)]
    for volt in range(100):
        texts = [readable.text(one(volt=volt), 0) for readable in readables]
        kept = [text for readable in readables for texts_ in readable._texts for text in texts_.values()]
        assert sum(map(len, kept)) + TEXT_BYTES * len(kept) <= 4000
    assert texts == ['{"Volt":1.75,"Gear":"P","Whole":0,"Float":0.0}'] * 3


def test_schemas_with_no_room_for_texts_are_written_too():
    text = Readable(SCHEMA, Room(bytes_max=1)).text(one(volt=7), 0)
    assert text == '{"Volt":-2.85,"Gear":"P","Whole":0,"Float":0.0}'
