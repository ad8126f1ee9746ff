"""Units as DBC files spell them, in one spelling: "km/h" for kph, kilometers per hour and Unit_KiloMeterPerHour."""

from __future__ import annotations

import re

# Words that a spelled unit is made of, in the order in which they are tried; some files cut them short. "kn" is
# a knot.
_WORDS = {
    "kilonewto(?:ns?)?": "kilonewton", "kilo": "k", "hecto": "h", "centi": "c", "milli": "m",
    "met(?:er|re)s?": "m", "pascals?": "pa", "lit(?:er|re)s?": "l", "miles?": "mi", "newto(?:ns?)?": "n", "watts?": "w",
    "volts?": "v", "amp(?:er(?:es?)?|s)?": "a", "hertz": "hz", "bars?": "bar", "ohms?": "ohm", "radians?": "rad", "percent|pct": "%",
    "degre(?:es?)?(?:celsi(?:us)?|c)|celsi(?:us)?": "degc", "fahrenheit": "degf", "kelvin": "k", "degre(?:es?)?(?:ofarc)?": "deg",
    "sec(?:on(?:ds?)?|s)?": "s", "min(?:ut(?:es?)?|s)?": "min", "h(?:ou)?rs?": "h", "(?:julian)?days?": "day", "months?": "month",
    "y(?:ea)?rs?": "year", "rev(?:olution)?s?": "r", "inver(?:se)?": "-1", "per": "/", "squar(?:ed?)?": "2",
}  # fmt: skip
_WORD = re.compile("|".join(f"({word})" for word in _WORDS) + "|[-*._]")
_SPELLED = re.compile(f"(?:(?:{'|'.join(_WORDS)})[-*._]?/?)+")
_SYMBOLS = ("", *_WORDS.values())
_UNITS = {
    "kph": "km/h", "kmh": "km/h", "kmph": "km/h", "km/hr": "km/h", "mps": "m/s", "knots": "kn", "mi/h": "mph", "c": "degc", "f": "degf",
    "degk": "k", "degsc": "degc", "u/min": "rpm", "r/min": "rpm", "/min": "rpm", "min-1": "rpm", "1/min": "rpm", "m/s^2": "m/s2",
    "m/ss": "m/s2", "m/s/s": "m/s2", "m/2s": "m/s2", "m/sec": "m/s", "deg/sec": "deg/s", "rads/s": "rad/s", "n-m": "nm", "n*m": "nm", "n.m": "nm",
}  # fmt: skip


def plain_unit(unit: str) -> str:
    """In lower case and in one spelling, as far as it is known: "km/h" for kph, "degc" for °C, "kpa" for Kilopascal."""
    plain = (
        unit.rsplit(":", 1)[-1]
        .replace("kN", "kilonewton")
        .lower()
        .replace(" ", "")
        .replace("²", "2")
        .removeprefix("unit_")
    )
    plain = re.sub(r"\xe2?[°º˚]", "deg", plain)  # \xe2: the mark of UTF-8 read as Windows-1252
    plain = re.sub(r"^deg(rees?)?(?=[./])\.?", "deg", plain)
    plain = re.sub(r"^%[+*].*", "%", plain)  # "%+1": how to reckon with it
    if _SPELLED.fullmatch(plain):
        plain = _WORD.sub(lambda found: _SYMBOLS[found.lastindex or 0], plain)
    return _UNITS.get(plain, plain)
