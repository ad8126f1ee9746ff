from __future__ import annotations

import pytest

from decoder.defaults import default_choices, most_wanted
from decoder.plan import build_plan
from tests.decoder import dbc_writer


def choice(name: str, numbers: str, unit: str = "", bits: str = "16@1+", *more: str):
    bus = dbc_writer.bus("BO_ 1 M: 8 X", f' SG_ {name} : 0|{bits} {numbers} "{unit}" X', *more)
    (found,) = default_choices([bus])
    build_plan([bus], [found])  # whatever is chosen can be sampled
    return found


@pytest.mark.parametrize(
    ("unit", "threshold"), [("mph", 2.0), ("km/h", 3.2187), ("kph", 3.2187), ("m/s", 0.8941), ("KPH", 3.2187)]
)
def test_speed_within_2_mph_in_whatever_unit(unit, threshold):
    found = choice("VehicleSpeed", "(0.01,0) [0|300]", unit)
    assert (found.threshold, found.priority, found.rationale) == (threshold, 0, "2 mph")


def test_power_charge_and_heading_have_the_classic_thresholds():
    assert choice("PackPower", "(0.1,-500) [-500|500]", "kW").threshold == 5.0
    assert choice("PackPower", "(10,-300000) [-300000|300000]", "W").threshold == 5000.0
    assert choice("SOC", "(0.1,0) [0|100]", "%").threshold == 0.5
    heading = choice("Heading", "(0.1,0) [0|360]", "deg")
    assert (heading.threshold, heading.circular, heading.priority) == (5.0, 360.0, 0)


def test_a_turn_that_is_no_whole_number_of_counts_is_no_circle():
    assert choice("Heading", "(0.07,0) [0|360]", "deg").circular == 0.0


@pytest.mark.parametrize(
    ("name", "numbers", "unit", "threshold", "rationale"),
    [
        ("Torque", "(0.5,-100) [-100|300]", "Nm", 4.0, "1 % of -100 to 300"),
        ("Torque", "(0.5,0) [0|0]", "Nm", 5.0, "1 % of 500, a common range"),
        ("Temp", "(1,-40) [-40|215]", "°C", 1.0, "1 % of 100, a common range"),
        ("TyrePressure", "(4,0) [0|64255]", "kilopascal", 5.0, "1 % of 500, a common range"),
        ("Trip", "(0.125,0) [0|526385151]", "kilometer", 0.125, "one count"),
        ("Coarse", "(5,0) [0|300]", "Nm", 5.0, "one count"),
        ("Latitude", "(1e-06,0) [-90|90]", "deg", 0.0001, "0.0001 degrees, 11 m on the ground"),
    ],
)
def test_measurements_within_1_percent_of_what_is_plausible(name, numbers, unit, threshold, rationale):
    found = choice(name, numbers, unit)
    assert (found.threshold, found.rationale, found.priority) == (threshold, rationale, 1)


@pytest.mark.parametrize(
    ("bits", "numbers", "unit", "name", "priority"),
    [
        ("1@1+", "(1,0) [0|1]", "", "BrakeSwitch", 2),
        ("4@1+", "(1,0) [0|15]", "", "GearNumber", 2),
        ("16@1+", "(1,0) [0|65535]", "", "PartNumber", 2),
        ("8@1+", "(1,0) [0|255]", "", "MsgCounter", 3),
        ("8@1+", "(1,0) [0|255]", "", "CRC8", 3),
        ("8@1+", "(1,0) [0|255]", "CRC", "CRC_1DB", 3),
        ("8@1+", "(1,0) [0|255]", "", "CSUM_498", 3),
        ("2@1+", "(1,0) [0|3]", "", "LB_PRUN_1DB", 3),
        ("2@1+", "(1,0) [0|3]", "", "MPRUN", 3),
        ("8@1+", "(1,0) [0|255]", "DTC", "Trouble", 2),
        ("8@1+", "(1,0) [0|255]", "status", "ErrorCodes", 2),
        ("64@1+", "(1,0) [0|0]", "", "Serial", 3),
        ("8@1+", "(0.25,0) [0|62.5]", "minutes", "Minutes", 2),
        ("8@1+", "(1,1985) [1985|2235]", "Year", "Year", 2),
        ("16@1+", "(1,0) [0|65535]", "julian day", "Date", 2),
        ("16@1+", "(1,0) [0|65535]", "Number", "Serial", 2),
    ],
)
def test_states_identifiers_and_counters_are_exact(bits, numbers, unit, name, priority):
    found = choice(name, numbers, unit, bits)
    assert (found.threshold, found.priority) == (0.0, priority)
    assert found.rationale.startswith("exact: ")


def test_a_percentage_is_no_counter():
    assert choice("FUEL_ALCOHOL_PERCNT", "(0.5,0) [0|100]", "Percent", "8@1+").threshold == 1.0
    assert choice("MSGCNT", "(0.5,0) [0|100]", "Percent", "8@1+").threshold == 0.0


def test_enumerations_are_exact_and_labels_for_missing_values_make_none():
    assert (
        choice("Mode", "(1,0) [0|255]", "", "8@1+", 'VAL_ 1 Mode 0 "off" 1 "on" ;').rationale
        == "exact: a state"
    )
    assert choice("Volts", "(0.1,0) [0|20]", "V", "8@1+", 'VAL_ 1 Volts 255 "SNA" ;').threshold == 0.2


def test_a_float_without_a_range_or_a_unit_is_exact():
    assert choice("Thing", "(1,0) [0|0]", "", "32@1-", "SIG_VALTYPE_ 1 Thing : 1;").threshold == 0.0
    assert choice("Amps", "(1,0) [0|0]", "A", "32@1-", "SIG_VALTYPE_ 1 Amps : 1;").threshold == 5.0


def test_with_frames_only_messages_that_occur_are_chosen():
    bus = dbc_writer.bus(
        "BO_ 1 A: 8 X", ' SG_ A : 0|8@1+ (1,0) [0|0] "" X', "BO_ 2566844926 B: 8 X", ' SG_ B : 0|8@1+ (1,0) [0|0] "" X',
        "BO_ 3 C: 8 X", ' SG_ C : 0|8@1+ (1,0) [0|0] "" X', 'BA_ "ProtocolType" "J1939";',
    )  # fmt: skip
    frames = dbc_writer.frames((0, 1, "00"), (1, 0x98FEF155, "00"), (2, 9, "00"))
    assert [found.name for found in default_choices([bus], frames)] == ["A", "B"]
    assert len(default_choices([bus])) == 3


def test_a_multiplexor_comes_last_since_what_it_selects_is_sampled_anyway():
    bus = dbc_writer.bus(
        "BO_ 1 M: 8 X",
        ' SG_ Page M : 0|8@1+ (1,0) [0|3] "" X',
        ' SG_ Temp m0 : 8|8@1+ (0.5,-40) [-40|87] "degC" X',
    )
    priorities = {found.signal: found.priority for found in default_choices([bus])}
    assert priorities["Page"] == 3
    assert priorities["Temp"] == 1


def test_what_is_more_than_a_schema_holds_goes_counters_first(monkeypatch):
    bus = dbc_writer.bus(
        "BO_ 1 M: 8 X", ' SG_ Counter : 0|4@1+ (1,0) [0|0] "" X', ' SG_ Speed : 8|16@1+ (0.1,0) [0|250] "km/h" X',
        ' SG_ Torque : 24|16@1+ (1,0) [0|500] "Nm" X',
    )  # fmt: skip
    choices = default_choices([bus])
    assert most_wanted(choices) == (choices, ())
    monkeypatch.setattr("decoder.defaults.SIGNALS_MAX", 2)
    kept, warnings = most_wanted(choices)
    assert [one.name for one in kept] == ["Speed", "Torque"]
    assert warnings == (
        "3 signals occur, and 2 can be sampled: 1 left out, counters and states first; give fewer DBCs to have others",
    )
