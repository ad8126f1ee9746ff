from __future__ import annotations

import pytest

from codec.schema import Kind
from decoder import signals
from decoder.tables import Limits
from tests.decoder import dbc_writer

PLAIN = ' SG_ {} : {}|8@1+ (1,0) [0|0] "" X'


def signal(line: str, *more: str):
    return dbc_writer.dbc("BO_ 1 M: 64 X", line, *more).messages[0].signals[0]


def labelled(length: int, *labels: tuple[int, str], unit: str = "", sign: str = "+"):
    table = " ".join(f'{count} "{label}"' for count, label in labels)
    return signal(f' SG_ S : 0|{length}@1{sign} (1,0) [0|0] "{unit}" X', f"VAL_ 1 S {table} ;")


def names(*buses: signals.Bus) -> list[str]:
    messages, _ = signals.bus_messages(buses)
    return [entry.name for entry in signals.bus_signals(buses, messages)]


def test_a_name_is_as_long_as_it_has_to_be():
    two = (
        "BO_ 1 A: 8 X",
        PLAIN.format("Speed", 0),
        PLAIN.format("Gear", 8),
        "BO_ 2 B: 8 X",
        PLAIN.format("Speed", 0),
    )
    assert names(dbc_writer.bus(*two)) == ["A.Speed", "Gear", "B.Speed"]
    assert names(dbc_writer.bus(*two[:3]), dbc_writer.bus(*two[3:], name="can1")) == [
        "A.Speed",
        "Gear",
        "B.Speed",
    ]
    assert names(dbc_writer.bus(*two[:2]), dbc_writer.bus(*two[:2], name="can1")) == [
        "can0:A.Speed",
        "can1:A.Speed",
    ]


def test_the_id_tells_two_messages_of_one_name_apart():
    dbcs = (
        dbc_writer.dbc("BO_ 1 A: 8 X", PLAIN.format("S", 0)),
        dbc_writer.dbc("BO_ 2 A: 8 X", PLAIN.format("S", 0)),
    )
    assert names(signals.Bus("can0", dbcs)) == ["can0:A@1.S", "can0:A@2.S"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0|47@1+", Kind.SCALED), ("0|47@1-", Kind.SCALED), ("0|48@1+", Kind.WIDE_UNSIGNED), ("0|64@1-", Kind.WIDE_SIGNED),
    ],
)  # fmt: skip
def test_kinds_of_integers(text, kind):
    assert signals.kind_of(signal(f' SG_ S : {text} (1,0) [0|0] "" X')) is kind


@pytest.mark.parametrize(("length", "kind"), [(16, Kind.FLOAT32), (32, Kind.FLOAT32), (64, Kind.FLOAT64)])
def test_kinds_of_floats(length, kind):
    assert (
        signals.kind_of(signal(f' SG_ S : 0|{length}@1- (1,0) [0|0] "" X', "SIG_VALTYPE_ 1 S : 1;")) is kind
    )


class TestLabels:
    @pytest.mark.parametrize(
        "label", ["SNA", "LIGHT_SNA", "Not Available", "NOT_AVAILABLE", "NotAvailable", "n/a"]
    )
    def test_labels_that_say_not_available(self, label):
        assert signals.says_not_available(labelled(8, (0, "off"), (255, label)), 255)

    @pytest.mark.parametrize(
        "label",
        ["SNAPSHOT_FAILED", "no error", "Error not present", "available", "unavailable below 50 km/h"],
    )
    def test_and_that_do_not(self, label):
        assert not signals.says_not_available(labelled(8, (255, label)), 255)

    @pytest.mark.parametrize(
        ("length", "count", "sense"),
        [(8, 254, True), (8, 255, True), (2, 2, True), (8, 1, False), (1, 1, False)],
    )
    def test_error_and_invalid_say_so_as_one_of_the_two_highest_codes(self, length, count, sense):
        assert signals.says_not_available(labelled(length, (count, "Error")), count) is sense
        assert signals.says_not_available(labelled(length, (count, "Invalid")), count) is sense

    def test_the_words_are_a_list_that_can_be_changed(self):
        sleeping = labelled(8, (3, "Asleep"))
        assert not signals.says_not_available(sleeping, 3)
        assert signals.says_not_available(sleeping, 3, ("asleep",))

    def test_codes_are_raw_and_unsigned(self):
        assert signals.not_available(labelled(8, (-1, "SNA"), sign="-"), j1939=False).codes == (255,)

    def test_an_enumeration_names_its_values_not_only_those_that_are_missing(self):
        assert signals.is_enumeration(labelled(3, (0, "P"), (1, "R"), (7, "SNA")))
        assert not signals.is_enumeration(labelled(8, (255, "SNA")))
        assert not signals.is_enumeration(labelled(12, (0, "standstill"), unit="km/h"))


class TestJ1939:
    @pytest.mark.parametrize(
        ("length", "floor"),
        [(1, 0), (2, 2), (3, 7), (4, 14), (8, 0xFE), (16, 0xFE00), (32, 0xFE000000), (10, 0x3FE)],
    )
    def test_the_highest_codes_are_error_and_not_available(self, length, floor):
        assert signals.not_available(
            signal(f' SG_ S : 0|{length}@1+ (1,0) [0|0] "" X'), j1939=True
        ) == Limits(floor)

    def test_unless_the_value_table_gives_them_a_meaning(self):
        assert (
            signals.not_available(labelled(2, (2, "Lamp flashes"), (3, "Not available")), j1939=True).floor
            == 3
        )

    def test_signed_numbers_have_none(self):
        assert signals.not_available(signal(' SG_ S : 0|8@1- (1,0) [0|0] "" X'), j1939=True).floor == 0


@pytest.mark.parametrize(
    ("numbers", "bounds"),
    [
        ("(0.1,-40) [-40|100]", (0, 1400)),
        ("(-1,0) [-5|7]", (-7, 5)),
        ("(1,0) [0|0]", (-float("inf"), float("inf"))),
    ],
)
def test_values_outside_of_the_range_are_rejected_by_choice(numbers, bounds):
    limits = signals.not_available(
        signal(f' SG_ S : 0|16@1- {numbers} "" X'), j1939=False, reject_outside=True
    )
    assert (limits.low, limits.high) == bounds
