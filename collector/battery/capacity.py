"""Usable capacity by counting the charge between two states of charge.

Rules
- Q = 100 (charge between) / (change of SOC), over seconds that follow one another with the current known at every tick. A gap
  or an unavailable current begins again: what flowed in it is not known.
- The interval that is told is a bound, not a scatter: with every tick's current wrong by its threshold the same way, and both
  ends' SOC wrong by its threshold and by a count. A sensor that is off is in none of it, and the SOC is the vehicle's own
  reckoning: what is measured is the capacity that it believes in, in its own ampere-hours.
- SOC that jumps is set, not measured, and begins again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collector.battery.roles import Battery
    from collector.battery.seconds import Second

SOC_CHANGE_MIN = 5.0  # %
USABLE = 0.10  # half of the interval as a share of the value
JUMP = 0.5  # % in a second: no pack charges so fast
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Counting:
    """Since where SOC was `soc` (counts): charge in counts x ticks, ticks, and the last SOC that was known."""

    first_tick: int
    soc: int
    last_soc: int
    charge: int = 0
    ticks: int = 0

    def to_json(self) -> list[Any]:
        return [self.first_tick, self.soc, self.last_soc, self.charge, self.ticks]

    @classmethod
    def from_json(cls, document: list[Any]) -> Counting:
        return cls(*document)


@dataclass(frozen=True, slots=True)
class Capacity:
    """In Ah: the middle of the interval, and half of its width."""

    value: float
    uncertainty: float
    soc_from: float
    soc_to: float
    charge_ah: float
    over_s: float


def counted(
    battery: Battery, counting: Counting | None, second: Second
) -> tuple[Capacity | None, Counting | None]:
    """What was counted up to the first tick of this second, and what goes on from there."""
    if "soc" not in battery.measures or not second.known:
        return None, None
    soc = second.others[0]
    if counting is None:
        return None, None if soc is None else _from(battery, second, soc)
    if soc is not None:
        measure = battery.measures["soc"]
        if abs(soc - counting.last_soc) * measure.step > JUMP + 2 * measure.bound + measure.step:
            return None, _from(battery, second, soc)
        found = capacity(battery, counting, soc)
        if found is not None:
            return found, _from(battery, second, soc)
        counting = Counting(counting.first_tick, counting.soc, soc, counting.charge, counting.ticks)
    return None, _with(battery, counting, second)


def _from(battery: Battery, second: Second, soc: int) -> Counting:
    return _with(battery, Counting(second.tick, soc, soc), second)


def _with(battery: Battery, counting: Counting, second: Second) -> Counting:
    charge, ticks = counting.charge + second.charge, counting.ticks + battery.rate_hz
    return Counting(counting.first_tick, counting.soc, counting.last_soc, charge, ticks)


def capacity(battery: Battery, counting: Counting, soc: int) -> Capacity | None:
    """None where the change of SOC is too small for a bound that is worth telling."""
    measure = battery.measures["soc"]
    change = abs(soc - counting.soc) * measure.step
    soc_error = 2 * measure.bound + measure.step
    if change < max(SOC_CHANGE_MIN, soc_error / USABLE):
        return None
    hours = counting.ticks / battery.rate_hz / _SECONDS_PER_HOUR
    charge = counting.charge * battery.current_factor / battery.rate_hz / _SECONDS_PER_HOUR
    charge = abs(charge + battery.current_offset * hours)
    error = (battery.current_bound(charge / hours) + abs(battery.current_factor) / 2) * hours
    least = 100 * max(charge - error, 0.0) / (change + soc_error)
    most = 100 * (charge + error) / (change - soc_error)
    if not charge or (most - least) / (most + least) > USABLE:
        return None
    ends = (measure.value(counting.soc), measure.value(soc))
    return Capacity((least + most) / 2, (most - least) / 2, *ends, charge, hours * _SECONDS_PER_HOUR)
