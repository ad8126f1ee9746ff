import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import SchemaError
from codec.records import Availability
from codec.schema import SCHEMA_BYTES_MAX, Kind, Schema, Signal, physical
from tests.codec.strategies import schemas


@given(schemas())
def test_a_schema_comes_back_from_its_bytes_with_the_same_hash(schema):
    again = Schema.from_bytes(schema.to_bytes())
    assert again == schema
    assert again.hash == schema.hash
    assert len(schema.hash) == 16


def test_labels_ranges_and_sources_are_part_of_it():
    gear = Signal("Gear", labels=((0, "P"), (4, "D")), minimum=0, maximum=15, source="can0/DriveState")
    schema = Schema(50, (gear,))
    assert Schema.from_bytes(schema.to_bytes()).signals[0] == gear


def test_whole_numbers_may_be_written_either_way():
    whole, broken = (
        Signal("a", factor=2, circular=360, minimum=0),
        Signal("a", factor=2.0, circular=360.0, minimum=0.0),
    )
    assert Schema(50, (whole,)).hash == Schema(50, (broken,)).hash


@pytest.mark.parametrize(
    ("threshold", "factor", "counts"),
    [(2.0, 0.05, 40), (0.15, 0.05, 3), (0.0, 0.05, 0), (0.04, 0.05, 0), (5.0, -0.1, 50)],
)
def test_the_bound_is_in_counts(threshold, factor, counts):
    signal = Signal("a", factor=factor, threshold=threshold)
    assert signal.max_error_counts == counts
    assert signal.step_counts == 2 * counts + 1


def test_a_resolution_makes_steps_finer_never_coarser_than_the_bound_allows():
    assert Signal("a", factor=0.1, threshold=2, resolution=0.5).step_counts == 5
    assert Signal("a", factor=0.1, threshold=0.2, resolution=50).step_counts == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": ""}, "no name"),
        ({"name": "a", "factor": 0}, "factor"),
        ({"name": "a", "threshold": -1}, "negative"),
        ({"name": "a", "threshold": float("nan")}, "finite"),
        ({"name": "a", "kind": Kind.WIDE_SIGNED, "threshold": 1}, "lossless"),
        ({"name": "a", "factor": 0.7, "circular": 360}, "whole number"),
        ({"name": "a", "circular": 360, "threshold": 180}, "leaves nothing"),
    ],
)
def test_signals_that_cannot_be_are_refused_in_words(arguments, words):
    with pytest.raises(SchemaError, match=words):
        Signal(**arguments)


def test_schemas_that_cannot_be_are_refused_in_words():
    with pytest.raises(SchemaError, match="rate_hz = 30"):
        Schema(30, (Signal("a"),))
    with pytest.raises(SchemaError, match="stand twice: a"):
        Schema(50, (Signal("a"), Signal("a")))
    with pytest.raises(SchemaError, match="1 to 4096"):
        Schema(50, ())


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_other_json_is_no_schema(document):
    for content in (json.dumps(document), json.dumps({"rate_hz": 50, "signals": document})):
        with pytest.raises(SchemaError):
            Schema.from_bytes(content.encode())


def test_physical_values_of_every_kind():
    schema = Schema(
        50,
        (
            Signal("scaled", factor=0.1, offset=-40),
            Signal("float32", kind=Kind.FLOAT32, factor=2),
            Signal("float64", kind=Kind.FLOAT64),
            Signal("unsigned", kind=Kind.WIDE_UNSIGNED),
            Signal("signed", kind=Kind.WIDE_SIGNED),
        ),
    )
    row = [653, np.float32(1.5).view(np.uint32), np.float64(-2.5).view(np.int64), -1, -1]
    values = schema.to_physical(np.array([row], np.int64), np.zeros((1, 5), np.uint8))
    assert values[0].tolist() == [653 * 0.1 - 40, 3.0, -2.5, float(2**64 - 1), -1.0]


def test_a_signalling_nan_is_one_without_a_warning():
    counts = np.array([0x7F800001, 0xFF800001], np.int64)
    assert np.isnan(physical(Signal("S", kind=Kind.FLOAT32), counts)).all()


def test_what_is_not_available_is_nan():
    schema = Schema(50, (Signal("a"),))
    states = np.array([[Availability.AVAILABLE], [Availability.STALE]], np.uint8)
    values = schema.to_physical(np.zeros((2, 1), np.int64), states)
    assert values[0, 0] == 0
    assert np.isnan(values[1, 0])


def test_index_names_the_column():
    schema = Schema(50, (Signal("a"), Signal("b")))
    assert schema.index("b") == 1
    with pytest.raises(KeyError):
        schema.index("c")
    assert physical(schema.signals[0], np.array([3])).tolist() == [3.0]


def test_a_schema_that_could_not_be_sent_is_none():
    labels = tuple((count, "x" * 1000) for count in range(SCHEMA_BYTES_MAX // 1000))
    with pytest.raises(SchemaError, match=r"value tables; at most 4194304: leave signals out"):
        Schema(50, (Signal("a", labels=labels),))


@pytest.mark.parametrize("wrong", [{"threshold": 1e300}, {"resolution": 1e300}, {"circular": 1e300}])
def test_numbers_that_are_too_large_for_their_factor_are_refused(wrong):
    with pytest.raises(SchemaError, match="more counts of 1e-300 than there are numbers"):
        Signal("x", factor=1e-300, **wrong)
