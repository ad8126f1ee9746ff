from __future__ import annotations

import numpy as np
import pytest

from codec.records import Records
from codec.schema import Kind, Schema, Signal
from collector.reading.signals import Columns, QueryError, SignalInfo, chosen_signals, known_signals

ONE = Schema(10, (Signal("VehicleSpeed", "km/h", factor=0.1), Signal("Gear", labels=((0, "P"), (1, "D")))))
TWO = Schema(
    50,
    (
        Signal("Gear", labels=((1, "Drive"), (2, "R"))),
        Signal("PackVoltage", "V"),
        Signal("Lat", kind=Kind.FLOAT64),
    ),
)
KNOWN = known_signals([ONE, TWO])


def test_signals_of_all_schemas_by_name_with_the_words_of_all():
    assert [info.name for info in KNOWN] == ["Gear", "Lat", "PackVoltage", "VehicleSpeed"]
    assert KNOWN[0].labels == ((0, "P"), (1, "Drive"), (2, "R"))


def test_chosen_signals_keep_the_order_of_the_question():
    assert [info.name for info in chosen_signals(["PackVoltage", "Gear", "Gear"], KNOWN, "v")] == [
        "PackVoltage",
        "Gear",
    ]
    assert chosen_signals(None, KNOWN, "v") == KNOWN


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vehiclespeed", "did you mean VehicleSpeed?"),
        ("Pack_Voltage", "did you mean PackVoltage?"),
        ("speed", "did you mean VehicleSpeed?"),
        ("xyz", "known are Gear, Lat, PackVoltage, VehicleSpeed"),
        ("", "known are Gear"),
    ],
)
def test_a_name_that_is_not_known_is_answered_with_the_nearest(name, says):
    with pytest.raises(QueryError, match=f"v has no signal {name}; {says[:-1]}"):
        chosen_signals([name], KNOWN, "v")


@pytest.mark.parametrize(
    ("signal", "enumeration"),
    [
        (Signal("Gear", labels=((0, "P"), (1, "D"), (7, "SNA"))), True),
        (Signal("Direction", labels=((-1, "R"), (0, "N"), (1, "D"))), True),
        (Signal("Speed", "km/h", factor=0.05, labels=((8191, "SNA"),)), False),
        (Signal("Power", "kW", labels=((0, "off"), (1, "least"))), False),
        (Signal("Counter", labels=((14, "Error"), (15, "SNA"))), False),
        (Signal("Plain"), False),
    ],
)
def test_an_enumeration_names_states(signal, enumeration):
    assert SignalInfo.of(signal).is_enumeration is enumeration


def test_no_names_and_nothing_stored_are_said():
    with pytest.raises(QueryError, match="no signal is named"):
        chosen_signals([], KNOWN, "v")
    with pytest.raises(QueryError, match="none is stored yet"):
        chosen_signals(["a"], (), "v")


def test_values_are_physical_and_nan_where_not_available_or_not_in_the_schema():
    records = Records(0, np.array([[100, 1], [101, 0]]), np.array([[0, 0], [0, 3]], np.uint8))
    found = Columns(ONE, ["Gear", "Lat", "VehicleSpeed"]).values(records)
    assert np.array_equal(found, [[1, np.nan, 10.0], [np.nan, np.nan, 101 * 0.1]], equal_nan=True)
