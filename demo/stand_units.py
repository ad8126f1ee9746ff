"""The units that the test stand runs: engines of NASA's C-MAPSS where they are here, else ones that wear by a formula of ours. Pure.

Every fifth is a reference: it leaves after SHORT cycles, and what is usual is learnt from these. Of the others, every second runs until it
fails, and every second leaves after SHORT cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNITS = 100
SHORT = 60  # cycles of an acceptance test
FAILS_AFTER = (130, 340)  # cycles, of made-up units


class Fate(Enum):
    """What becomes of a unit on the stand."""

    REFERENCE = "reference"
    LEAVES = "leaves"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the stand measures. `fresh`, `wear` (in all, until failure) and `noise` are of made-up units."""

    name: str
    unit: str
    resolution: float
    fresh: float
    wear: float
    noise: float


# The sensors of C-MAPSS, in its order, with about its sizes. Source: Saxena, Goebel, Simon, Eklund, Damage Propagation Modeling (2008).
SENSORS = (
    Sensor("FanInletTemp", "degR", 0.01, 518.67, 0.0, 0.0),
    Sensor("LpcOutletTemp", "degR", 0.01, 642.2, 1.6, 0.35),
    Sensor("HpcOutletTemp", "degR", 0.01, 1585.0, 16.0, 4.5),
    Sensor("LptOutletTemp", "degR", 0.01, 1400.0, 30.0, 4.5),
    Sensor("FanInletPressure", "psia", 0.01, 14.62, 0.0, 0.0),
    Sensor("BypassPressure", "psia", 0.01, 21.61, 0.0, 0.001),
    Sensor("HpcOutletPressure", "psia", 0.01, 554.2, -2.6, 0.4),
    Sensor("FanSpeed", "rpm", 0.01, 2388.03, 0.2, 0.03),
    Sensor("CoreSpeed", "rpm", 0.01, 9055.0, 20.0, 6.0),
    Sensor("PressureRatio", "1", 0.01, 1.30, 0.0, 0.0),
    Sensor("HpcStaticPressure", "psia", 0.01, 47.3, 0.9, 0.12),
    Sensor("FuelRatio", "pps/psi", 0.01, 522.0, -2.4, 0.35),
    Sensor("FanSpeedCorrected", "rpm", 0.01, 2388.03, 0.2, 0.03),
    Sensor("CoreSpeedCorrected", "rpm", 0.01, 8135.0, 15.0, 5.5),
    Sensor("BypassRatio", "1", 0.0001, 8.41, 0.12, 0.018),
    Sensor("BurnerRatio", "1", 0.01, 0.03, 0.0, 0.0),
    Sensor("BleedEnthalpy", "1", 1.0, 391.8, 4.0, 0.7),
    Sensor("FanSpeedDemanded", "rpm", 1.0, 2388.0, 0.0, 0.0),
    Sensor("FanSpeedDemandedCorrected", "rpm", 0.01, 100.0, 0.0, 0.0),
    Sensor("HptBleed", "lbm/s", 0.01, 38.95, -0.5, 0.07),
    Sensor("LptBleed", "lbm/s", 0.0001, 23.37, -0.3, 0.04),
)


@dataclass(frozen=True, slots=True)
class StandUnit:
    """One unit and what the stand measures of it: float64[cycles, sensors], a cycle a second."""

    name: str
    fate: Fate
    values: NDArray[np.float64]

    @property
    def vehicle(self) -> str:
        return f"asset:{self.name}"


def from_cmapss(text: str) -> list[StandUnit]:
    """Of the file train_FD001.txt: unit, cycle, three settings, 21 sensors, in every line. Raises ValueError."""
    rows = np.array([line.split() for line in text.splitlines() if line.strip()], np.float64)
    if rows.ndim != 2 or rows.shape[1] != 5 + len(SENSORS):
        raise ValueError(f"is no table of {5 + len(SENSORS)} columns")
    numbers = np.unique(rows[:, 0])[:UNITS]
    return [_tested(place, rows[rows[:, 0] == number, 5:]) for place, number in enumerate(numbers)]


def made_up(seed: int = 1) -> list[StandUnit]:
    """Units that wear faster and faster, each at its own pace, all sensors by the same wear."""
    random = np.random.default_rng(seed)
    fresh, wear, noise = (
        np.array([getattr(one, name) for one in SENSORS]) for name in ("fresh", "wear", "noise")
    )
    units = []
    for place in range(UNITS):
        cycles = int(random.integers(*FAILS_AFTER))
        pace = random.uniform(4.0, 6.0)
        worn = np.expm1(pace * np.arange(cycles) / cycles) / np.expm1(pace)
        own = 0.3 * noise * random.normal(size=len(SENSORS))
        measured = fresh + own + worn[:, None] * wear + noise * random.normal(size=(cycles, len(SENSORS)))
        units.append(_tested(place, measured))
    return units


def _tested(place: int, values: NDArray[np.float64]) -> StandUnit:
    fate = Fate.REFERENCE if place % 5 == 0 else Fate.FAILS if place % 2 else Fate.LEAVES
    kept = values if fate is Fate.FAILS else values[:SHORT]
    steps = np.array([one.resolution for one in SENSORS])
    return StandUnit(f"unit-{place + 1:03d}", fate, np.round(kept / steps) * steps)
