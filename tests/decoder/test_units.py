from __future__ import annotations

import pytest

from decoder.units import plain_unit


@pytest.mark.parametrize(
    ("unit", "plain"),
    [
        ("°C", "degc"), ("Â°C", "degc"), ("Degrees C", "degc"), ("Unit_DegreCelsi", "degc"), ("temperature:C", "degc"),
        ("Degrees", "deg"), ("deg/sec", "deg/s"), ("Unit_DegreOfArcPerSecon", "deg/s"), ("radians/second", "rad/s"),
        ("1/min", "rpm"), ("Unit_MinutInver", "rpm"), ("rev/min", "rpm"), ("Revolutions per minute", "rpm"),
        ("kph", "km/h"), ("kilometer/hour", "km/h"), ("Unit_KiloMeterPerHour", "km/h"), ("miles per hour", "mph"), ("MPH", "mph"),
        ("m/s²", "m/s2"), ("meters/sec/sec", "m/s2"), ("Unit_MeterPerSeconSquar", "m/s2"), ("Unit_MeterPerSquareSecond", "m/s2"),
        ("kilopascal", "kpa"), ("Millibar", "mbar"), ("kilometre", "km"), ("Unit_Hours", "h"), ("millisecond", "ms"), ("amperes", "a"),
        ("torque:N.m", "nm"), ("Newton-meter", "nm"), ("ampere*hour", "ah"), ("kilowatt hours", "kwh"), ("%+1", "%"), ("per cent", "%"),
        ("julian day", "day"), ("Years", "year"),
    ],
)  # fmt: skip
def test_units_have_one_spelling(unit, plain):
    assert plain_unit(unit) == plain


@pytest.mark.parametrize("unit", ["kN", "Unit_KiloNewto", "kilonewtons"])
def test_a_kilonewton_is_no_knot(unit):
    assert plain_unit(unit) != plain_unit("kn")


@pytest.mark.parametrize("unit", ["", "gids", "pulse count", "dash bars", "minbar!", "W/m^2"])
def test_what_is_not_known_stays_as_it_is(unit):
    assert plain_unit(unit) == unit.lower().replace(" ", "")
