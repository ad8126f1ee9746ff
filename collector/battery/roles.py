"""Which signals play which role in a battery.

Rules
- A role is filled by the signal that the mapping names, else by one of the usual names, else by the only signal whose unit and
  name suggest it. Two that suggest it are none: a wrong signal would give a number that looks right.
- What was guessed says so with every estimate.
- Everything below is reckoned in whole counts, so that sums do not depend on how a stream is cut: a signal's own counts, or
  steps of FLOAT_STEP of what is no scaled integer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from codec.schema import Kind, physical
from collector.toml_file import Table, document_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from codec.schema import Schema, Signal

FLOAT_STEP = 0.001
LEAST_V = (
    200.0  # of a car's pack: errors of a current that is power over voltage are told too large, not too small
)
# V, A, W, % or degC of a count: a DBC may say anything, and what is beyond measures no pack.
STEPS = (1e-9, 1e6)
OFFSET_MAX = 1e9
_COUNTS_MAX = 1 << 40  # of a step of what is no scaled integer: beyond, it is no measurement


class RolesError(ValueError):
    """A mapping that cannot be used; the message names file and key."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of signals by role; empty: find it. `power` is used where there is no current."""

    voltage: str = ""
    current: str = ""
    power: str = ""
    soc: str = ""
    imbalance: str = ""
    cell_max: str = ""
    cell_min: str = ""
    temperature: str = ""


SAMPLED = ("soc", "imbalance", "cell_max", "cell_min", "temperature")  # once a second is enough
ROLES = tuple(one.name for one in fields(Roles))
# Names as they stand in DBCs that we have met, the first that a schema has; then unit, what the name must say, and must not.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "voltage": ("PackVoltage", "BattVoltage132", "HVBattVoltage", "BMS_PackVoltage"),
    "current": ("PackCurrent", "SmoothBattCurrent132", "RawBattCurrent132", "BMS_PackCurrent"),
    "power": ("PackPower",),
    "soc": ("SOC", "SOCave292", "SOCUI292", "UI_SOC", "StateOfCharge"),
    "imbalance": ("CellImbalance",),
    "cell_max": ("CellVoltageMax", "BattBrickVoltageMax332"),
    "cell_min": ("CellVoltageMin", "BattBrickVoltageMin332"),
    "temperature": ("BatteryTempMax", "BattTempMax", "BMSmaxPackTemperature"),
}
_PACK = r"pack|batt?(?!12)|hv|traction|bms"
_NOT_MEASURED = r"lim|max|min|target|tgt|req|set|avail|12v|low|aux|charger|dcdc"
_GUESSED: Mapping[str, tuple[frozenset[str], str, str]] = {
    "voltage": (frozenset({"v"}), _PACK, _NOT_MEASURED + "|cell|brick|module"),
    "current": (frozenset({"a"}), _PACK, _NOT_MEASURED),
    "power": (frozenset({"kw", "w"}), _PACK, _NOT_MEASURED),
    "soc": (frozenset({"%"}), r"(^|[^a-z])soc|soc($|[^a-z])|state.?of.?charge", r"min|max|lim|target|tgt"),
    "imbalance": (frozenset({"v", "mv"}), r"imbalance|cell.?(spread|delta|diff)", "lim"),
    "cell_max": (frozenset({"v", "mv"}), r"(cell|brick).*max|max.*(cell|brick)", "lim|num|index"),
    "cell_min": (frozenset({"v", "mv"}), r"(cell|brick).*min|min.*(cell|brick)", "lim|num|index"),
    "temperature": (frozenset({"degc", "c", "°c"}), r"(batt?|pack|cell).*temp.*max|max.*(batt?|pack|cell).*temp", "lim"),
}  # fmt: skip
_SI: Mapping[str, float] = {"mv": 1e-3, "kw": 1e3, "ma": 1e-3}


@dataclass(frozen=True, slots=True)
class Measure:
    """One role's signal. A count stands for `factor`, and is wrong by `bound` at most, both in V, A, W, % or degC."""

    name: str
    column: int
    signal: Signal
    factor: float
    offset: float
    bound: float  # of the reconstruction: the threshold, and nothing of the sensor
    scaled: bool = True  # counts are the stream's own

    def whole(self, raw: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts of the stream as counts of this measure; what is not available has any."""
        if self.scaled:
            return raw
        with np.errstate(over="ignore"):
            steps = physical(self.signal, raw) * (_si(self.signal) / FLOAT_STEP)
        return _whole(np.nan_to_num(steps, nan=0.0))

    def value(self, counts: float) -> float:
        return counts * self.factor + self.offset

    @property
    def is_sensible(self) -> bool:
        return STEPS[0] <= self.step <= STEPS[1] and abs(self.offset) <= OFFSET_MAX

    @property
    def step(self) -> float:
        """What two neighbouring counts differ by."""
        return abs(self.factor)


@dataclass(frozen=True, slots=True)
class Battery:
    """The roles that signals of one schema play. Without voltage and current (or power) there is no battery to watch."""

    rate_hz: int
    measures: Mapping[str, Measure]
    guessed: frozenset[str] = frozenset()  # roles
    sampled: tuple[Measure | None, ...] = field(init=False)  # of SAMPLED

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampled", tuple(self.measures.get(role) for role in SAMPLED))

    @property
    def driver(self) -> str:
        """What tells the current: itself, or power."""
        return "current" if "current" in self.measures else "power"

    @property
    def electrical(self) -> bool:
        return "voltage" in self.measures and self.driver in self.measures

    def current_counts(self, raw: NDArray[np.int64], voltage: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the driver's counts and the voltage's, the current's, in counts of `current_factor`.

        Any where voltage or power is not available.
        """
        measure = self.measures[self.driver]
        counts = measure.whole(raw)
        if self.driver == "current":
            return counts
        volts = voltage * self.measures["voltage"].factor + self.measures["voltage"].offset
        watts = counts * measure.factor + measure.offset
        amperes = np.divide(watts, volts, out=np.zeros(counts.shape), where=volts > 1.0)
        return _whole(amperes / FLOAT_STEP)

    @property
    def current_factor(self) -> float:
        return self.measures["current"].factor if self.driver == "current" else FLOAT_STEP

    @property
    def current_offset(self) -> float:
        return self.measures["current"].offset if self.driver == "current" else 0.0

    def current_bound(self, amperes: float) -> float:
        """Largest error of a reconstructed current of this size. From power it is reckoned at LEAST_V."""
        if self.driver == "current":
            return self.measures["current"].bound
        return (self.measures["power"].bound + amperes * self.measures["voltage"].bound) / LEAST_V

    def described(self) -> dict[str, str]:
        """{role: signal}, with "(guessed)" after those that were."""
        return {
            role: measure.name + (" (guessed)" if role in self.guessed else "")
            for role, measure in self.measures.items()
        }


def bind(roles: Roles, schema: Schema) -> Battery:
    """The signals that play the roles in this schema."""
    found: dict[str, Measure] = {}
    guessed: set[str] = set()
    for role in ROLES:
        name = getattr(roles, role) or next((one for one in _USUAL[role] if one in schema.names), "")
        if not name:
            name = _guess(role, schema)
            guessed |= {role} if name else set()
        if name in schema.names and (measure := _measure(schema, name)).is_sensible:
            found[role] = measure
    return Battery(schema.rate_hz, found, frozenset(guessed))


def _guess(role: str, schema: Schema) -> str:
    units, wanted, unwanted = _GUESSED[role]
    fitting = [
        signal.name
        for signal in schema.signals
        if signal.unit.strip().lower() in units
        and re.search(wanted, signal.name, re.IGNORECASE)
        and not re.search(unwanted, signal.name, re.IGNORECASE)
        and not signal.labels
    ]
    return fitting[0] if len(fitting) == 1 else ""


def _si(signal: Signal) -> float:
    return _SI.get(signal.unit.strip().lower(), 1.0)


def _measure(schema: Schema, name: str) -> Measure:
    column = schema.index(name)
    signal = schema.signals[column]
    si = _si(signal)
    if signal.kind is Kind.SCALED:
        bound = signal.max_error_counts * abs(signal.factor) * si
        return Measure(name, column, signal, signal.factor * si, signal.offset * si, bound)
    return Measure(name, column, signal, FLOAT_STEP, 0.0, signal.threshold * si, scaled=False)


def _whole(steps: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(np.minimum(np.maximum(steps, -_COUNTS_MAX), _COUNTS_MAX)).astype(np.int64)


def load_roles(path: Path) -> Roles:
    """A TOML file of `role = "signal"`. Raises RolesError."""
    table = Table(document_of(text_of(path, RolesError), str(path), RolesError), str(path), RolesError)
    table.only(*ROLES)
    return Roles(**{role: table.text(role, "") for role in ROLES})
