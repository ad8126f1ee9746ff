"""Default choices: every usable signal, with a threshold that its unit, range and name suggest.

Rules
- The four that every fleet watches have classic thresholds: speed 2 mph, power 5 kW, state of charge 0.5 %, heading 5 deg.
- Other measurements: 1 % of the range that is plausible, which is the smallest of what the DBC says, what the bits can
  hold and what the unit usually spans; at least one count.
- States, switches, small whole numbers, counters, what counts in seconds or longer, and what has no known range are exact.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codec.errors import SchemaError
from codec.schema import SIGNALS_MAX, Kind, Signal
from decoder import tables
from decoder.plan import SignalChoice, unusable
from decoder.signals import bus_messages, bus_signals, is_enumeration, kind_of
from decoder.units import plain_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cantools.database.can import Signal as DbcSignal

    from decoder.frames import Frames
    from decoder.signals import Bus, BusSignal

SPEED_MPH, POWER_KW, SOC_PERCENT, HEADING_DEG = 2.0, 5.0, 0.5, 5.0
POSITION_DEG = 0.0001
TURN_DEG = 360.0
SHARE = 0.01
EXACT_STEPS_MAX = 32  # a whole number with fewer values is a state, whatever it is called
COUNTER_BITS_MAX = 8  # a counter with a unit that is no wider counts frames, not what the unit says
KNOWN_BITS_MAX = 16  # the range that more bits can hold says nothing of the signal
_MPH_IN = {"mph": 1.0, "km/h": 1.609344, "m/s": 0.44704, "kn": 0.868976}
_KW_IN = {"kw": 1.0, "w": 1000.0}
# What signals of a unit span in most vehicles; more than this is what the bits can hold, not what happens.
_SPANS = {
    "%": 100.0, "degc": 100.0, "degf": 180.0, "k": 100.0, "rpm": 10_000.0, "v": 500.0, "mv": 5000.0, "a": 500.0, "ma": 5000.0,
    "nm": 500.0, "deg": 500.0, "rad": 8.0, "deg/s": 100.0, "m/s2": 20.0, "g": 2.0, "bar": 250.0, "kpa": 500.0,
    "hpa": 1100.0, "psi": 100.0, "mbar": 2500.0, "km": 10.0, "mi": 10.0, "m": 200.0, "l": 100.0, "l/h": 50.0, "kwh": 100.0, "wh": 100_000.0,
    "ah": 200.0, "hz": 100.0, "ohm": 1000.0, "kohm": 5000.0, "n": 5000.0, "mm": 1000.0, "cm": 1000.0, "s": 100.0, "min": 1000.0, "h": 100.0, "ms": 10_000.0,
}  # fmt: skip
# Seconds that a clock or a calendar counts in.
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86_400.0, "month": 2_629_746.0, "year": 31_556_952.0}
_SPEED = re.compile(r"speed|spd|velocity", re.IGNORECASE)
_VEHICLE_SPEED = re.compile(r"veh(icle)?_?spe?e?d", re.IGNORECASE)
_POWER = re.compile(r"power|pwr", re.IGNORECASE)
_SOC = re.compile(r"(^|[^a-z])soc|soc($|[^a-z])|state.?of.?charge", re.IGNORECASE)
_HEADING = re.compile(r"heading|course|bearing|compass", re.IGNORECASE)
_POSITION = re.compile(r"(^|[^a-z])(lat|lon|long)(itude)?($|[^a-z])|latitude|longitude", re.IGNORECASE)
_COUNTER = re.compile(
    r"counter|cntr|(^|[^a-z])cnt|(?<!per)cnt$|alive|che?ck_?su?m|(^|_)csum|m?prun(_|$)|chks|crc|rolling|(^|_)(cs|bz|mc|seq)$",
    re.IGNORECASE,
)
# Of many speeds, powers and charges, those that are no measurement of the vehicle as a whole.
_SIDE = re.compile(
    r"wheel|wh?l|[fr][lr]|target|tgt|lim|set|max|min|acc|obj|lead|rel|wind|fan|avail|rat|req|rq|pump|motor|corr|err|unknown",
    re.IGNORECASE,
)
_NO_UNITS = {
    "", "-", "--", "1", "unitless", "none", "n/a", "undefined", "bit", "bits", "#", "number", "count", "counts", "raw", "enum", "ascii",
    "status", "state", "flag", "flags", "mask", "bitmask", "modemask", "code", "dtc", "bool", "boolean", "0/1", "on/off",
}  # fmt: skip


def default_choices(buses: Sequence[Bus], frames: Frames | None = None) -> tuple[SignalChoice, ...]:
    """Every usable signal with a threshold and the reason for it, in the order of the DBCs; names are unique.

    With `frames`, only the signals of messages that occur among them; many DBCs have more than a schema can hold.
    """
    messages, _ = bus_messages(buses)
    entries = [entry for entry in bus_signals(buses, messages) if not unusable(entry)]
    if frames is not None:
        seen = tables.occurring(messages, frames.buses, frames.ids)
        entries = [entry for entry in entries if (entry.owner.bus, entry.owner.key) in seen]
    return tuple(_choice(entry) for entry in entries)


def most_wanted(choices: Sequence[SignalChoice]) -> tuple[tuple[SignalChoice, ...], tuple[str, ...]]:
    """As many as a schema holds, in their order, and a warning if some had to go: counters first, then states."""
    if len(choices) <= SIGNALS_MAX:
        return tuple(choices), ()
    ranks = sorted(range(len(choices)), key=lambda index: choices[index].priority)[:SIGNALS_MAX]
    warning = (
        f"{len(choices)} signals occur, and {SIGNALS_MAX} can be sampled: {len(choices) - SIGNALS_MAX} left out, counters "
        "and states first; give fewer DBCs to have others"
    )
    return tuple(choices[index] for index in sorted(ranks)), (warning,)


def _choice(entry: BusSignal) -> SignalChoice:
    threshold, rationale, priority, circular = _threshold(entry.signal)
    factor = abs(float(entry.signal.conversion.scale))
    if circular:
        try:
            Signal(name=entry.name, factor=factor, threshold=threshold, circular=circular)
        except SchemaError:  # a turn is no whole number of counts
            circular = 0.0
    return SignalChoice(
        name=entry.name,
        bus=entry.owner.bus,
        message=entry.owner.message.name,
        signal=entry.signal.name,
        threshold=threshold,
        circular=circular,
        rationale=rationale,
        priority=priority,
    )


def _threshold(signal: DbcSignal) -> tuple[float, str, int, float]:
    """Threshold, why, priority, and the length of a turn."""
    name, unit = signal.name, plain_unit(signal.unit or "")
    factor = abs(float(signal.conversion.scale))
    side = 1 if _SIDE.search(name) and not _VEHICLE_SPEED.search(name) else 0
    if kind_of(signal) in (Kind.WIDE_SIGNED, Kind.WIDE_UNSIGNED):
        return 0.0, "exact: too wide for a number", 3, 0.0
    if is_enumeration(signal):
        return 0.0, "exact: a state", 2, 0.0
    if signal.is_multiplexer:
        return 0.0, "exact: it only says which signals a frame carries", 3, 0.0
    if _COUNTER.search(name) and (not signal.unit or signal.length <= COUNTER_BITS_MAX):
        return 0.0, "exact: a counter or checksum, which changes with every frame", 3, 0.0
    span, source = _span(signal, unit)
    if not signal.is_float and span / factor < EXACT_STEPS_MAX:
        return 0.0, "exact: a switch or a small number", 2, 0.0
    if unit in _NO_UNITS and not signal.is_float and factor == 1 and signal.conversion.offset == 0:
        return 0.0, "exact: without unit and factor, it may be an identifier or bits", 2, 0.0
    if not signal.is_float and factor * _SECONDS.get(unit, 0.0) >= 1:
        return 0.0, "exact: a clock or a countdown, which moves seldom", 2, 0.0
    if unit in _MPH_IN:
        return round(SPEED_MPH * _MPH_IN[unit], 4), "2 mph", side if _SPEED.search(name) else 1, 0.0
    if unit in _KW_IN and span >= 10 * POWER_KW * _KW_IN[unit]:
        return POWER_KW * _KW_IN[unit], "5 kW", side if _POWER.search(name) else 1, 0.0
    if unit == "%" and _SOC.search(name):
        return SOC_PERCENT, "0.5 % of charge", side, 0.0
    if unit == "deg" and _HEADING.search(name) and _width(signal) >= TURN_DEG - 1:
        return HEADING_DEG, "5 degrees, on a circle", 0, TURN_DEG
    if unit in ("deg", "") and _POSITION.search(name) and factor < POSITION_DEG:
        return POSITION_DEG, "0.0001 degrees, 11 m on the ground", 1, 0.0
    if not source:
        return 0.0, "exact: the DBC gives no range", 2, 0.0
    threshold = _neat(span * SHARE)
    if not signal.is_float and threshold < factor:
        return factor, "one count", 1, 0.0
    return threshold, f"1 % of {source}", 1, 0.0


def _span(signal: DbcSignal, unit: str) -> tuple[float, str]:
    """The plausible range of values and what says so; infinite and "" if nothing does."""
    factor = abs(float(signal.conversion.scale))
    candidates: list[tuple[float, str]] = []
    if not signal.is_float:
        held = ((1 << signal.length) - 1) * factor
        if signal.length <= KNOWN_BITS_MAX or unit in _SPANS:
            candidates.append((held, f"the {signal.length} bits' range of {held:.6g}"))
    if 0 < _width(signal) < float("inf"):
        candidates.append((_width(signal), f"{signal.minimum:.6g} to {signal.maximum:.6g}"))
    if unit in _SPANS:
        candidates.append((_SPANS[unit], f"{_SPANS[unit]:.6g}, a common range"))
    usable = [candidate for candidate in candidates if candidate[0] > 0]
    if signal.is_float or signal.length > KNOWN_BITS_MAX:
        usable = [candidate for candidate in usable if candidate[0] < 1e6 * max(1.0, factor)] or []
    return min(usable, default=(float("inf"), ""))


def _width(signal: DbcSignal) -> float:
    """From the DBC's minimum to its maximum; 0 if it gives none."""
    return (
        float(signal.maximum - signal.minimum)
        if signal.maximum is not None and signal.minimum is not None
        else 0.0
    )


def _neat(number: float) -> float:
    """Rounded down to two digits."""
    digits = f"{number:.1e}"
    rounded = float(digits)
    return rounded if rounded <= number else float(f"{number * 0.95:.1e}")
