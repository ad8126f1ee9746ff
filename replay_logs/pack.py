"""The battery: open-circuit voltage, internal resistance, state of charge, spread of its cells. SI units."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay_logs.models import VehicleModel

# A nickel-rich cell at rest: state of charge in %, volts
_REST = ((0, 3.05), (5, 3.34), (10, 3.45), (20, 3.55), (30, 3.61), (40, 3.67), (50, 3.74), (60, 3.83), (70, 3.93), (80, 4.02), (90, 4.10), (100, 4.19))  # fmt: skip
_REST_SOC = [float(soc) for soc, _ in _REST]
# Share of the largest charging power that the cells take, by state of charge
_TAKES = ((0, 0.70), (8, 1.0), (30, 0.97), (45, 0.74), (60, 0.52), (80, 0.28), (95, 0.06), (100, 0.0))
_TAKES_SOC = [float(soc) for soc, _ in _TAKES]

POLARISATION_S = 28.0
POLARISATION_SHARE = 0.45  # of the resistance, felt only after POLARISATION_S
SPREAD_V = 0.007  # highest less lowest cell at rest
SPREAD_RESISTANCE = 0.07  # the weakest cell's resistance above the best one's


def _between(points: tuple[tuple[float, float], ...], knots: list[float], x: float) -> float:
    right = min(max(bisect_right(knots, x), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@dataclass(slots=True)
class Pack:
    """State of the pack; current and power are positive when it discharges."""

    model: VehicleModel
    soc: float  # %
    temperature_c: float = 25.0  # mean of the modules
    polarisation_v: float = 0.0
    current_a: float = 0.0
    voltage_v: float = 0.0
    imbalance_v: float = SPREAD_V  # as filtered by the battery management
    energy_j: float = 0.0  # net, since power-on
    weakness: float = 1.0  # of the weakest cell: times the usual spread of resistance

    @property
    def resistance_ohm(self) -> float:
        cold = max(0.7, min(2.0, 1.0 + 0.012 * (25.0 - self.temperature_c)))
        return self.model.resistance_ohm * cold * (1.25 if self.soc < 12 else 1.0)

    @property
    def charge_power_max_w(self) -> float:
        return self.model.charge_power_max_w * _between(_TAKES, _TAKES_SOC, self.soc)

    def step(self, power_w: float, dt_s: float) -> None:
        """Draw `power_w` at the terminals for dt_s."""
        resistance = self.resistance_ohm
        rest_v = _between(_REST, _REST_SOC, self.soc) * self.model.cells_in_series
        source_v = rest_v - self.polarisation_v
        # power = (source - R I) I, the smaller root; never more than the pack can give
        root = max(source_v * source_v - 4.0 * resistance * power_w, 0.0)
        self.current_a = (source_v - math.sqrt(root)) / (2.0 * resistance)
        self.voltage_v = source_v - resistance * self.current_a
        target_v = POLARISATION_SHARE * resistance * self.current_a
        self.polarisation_v += (target_v - self.polarisation_v) * dt_s / POLARISATION_S
        self.soc -= 100.0 * self.current_a * dt_s / (3600.0 * self.model.capacity_ah)
        self.energy_j += self.voltage_v * self.current_a * dt_s
        self.imbalance_v += (self.spread_v - self.imbalance_v) * dt_s / 2.0

    @property
    def heat_w(self) -> float:
        return self.current_a * self.current_a * self.resistance_ohm * (1.0 + POLARISATION_SHARE)

    @property
    def spread_v(self) -> float:
        """Highest less lowest cell, now."""
        per_cell = self.resistance_ohm / self.model.cells_in_series
        return SPREAD_V + abs(self.current_a) * per_cell * SPREAD_RESISTANCE * self.weakness

    @property
    def cell_voltage_v(self) -> float:
        return self.voltage_v / self.model.cells_in_series
