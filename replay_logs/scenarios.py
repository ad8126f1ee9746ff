"""The drives: who drives where, how fast, and what goes wrong on the way.

A drive is a value. Times are seconds from power-on; every speed plan is in m/s, one value a second, and comes from an
EPA schedule but for the manoeuvres named here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from replay_logs.schedule import load_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from replay_logs.sensor_faults import SensorFault


@dataclass(frozen=True, slots=True)
class Window:
    """Something that lasts from start_s up to end_s."""

    start_s: float
    end_s: float
    value: float = 0.0

    def holds(self, time_s: float) -> bool:
        return self.start_s <= time_s < self.end_s


@dataclass(frozen=True, slots=True)
class ChargeStop:
    """A DC fast charge: plugged in, isolation checked, charging, ended by the driver, unplugged."""

    plug_s: float
    prepare_s: float
    charge_s: float
    stop_s: float
    unplug_s: float


@dataclass(frozen=True, slots=True)
class Road:
    """How the road bends and climbs. Bends are planned by distance, never tighter than lateral_max allows."""

    latitude: float
    longitude: float
    heading_deg: float
    lateral_max_mps2: float
    bend_radius_m: tuple[float, float]
    turns_at_stops: bool = False
    climb: float = 0.0  # mean gradient
    hills: float = 0.0  # amplitude of the gradient around it


@dataclass(frozen=True, slots=True)
class Drive:
    """One drive; `model` and `duration_s` are what the committed log has."""

    name: str
    summary: str
    model: str
    duration_s: int
    start_unix_s: int
    speed_plan: Callable[[], NDArray[np.float64]]
    road: Road
    soc: float
    ambient_c: float
    battery_c: float
    drive_unit_c: float  # motor, inverter and their coolant at power-on
    acceleration_max_mps2: float = 2.5
    reverse: Window | None = None
    charge: ChargeStop | None = None
    dips: tuple[Window, ...] = ()  # 12 V supply falls to `value` volts
    tunnels: tuple[Window, ...] = ()  # no position
    pump_weak: Window | None = None  # cooling of the drive unit falls to the share `value`
    failing_module_w: float = 0.0  # heat that a module with a soft short makes of itself, at 45 degC
    chiller_target_c: float = 36.0
    chiller_trips_s: float = field(default=float("inf"))
    cell_weak: Window | None = None  # the weakest cell's share of resistance grows to `value` times, evenly
    sensor_faults: tuple[SensorFault, ...] = ()


def _city() -> NDArray[np.float64]:
    return _standing(load_schedule("udds"))


def _highway() -> NDArray[np.float64]:
    """HWFET a quarter faster, and one overtaking at full power to 190 km/h."""
    plan = load_schedule("hwfet") * 1.25
    overtaking = _ramp(len(plan), start_s=262, rise_mps2=2.6, top_mps=190 / 3.6, hold_s=9, fall_mps2=1.7)
    return _standing(np.maximum(plan, overtaking))


def _aggressive() -> NDArray[np.float64]:
    """The UDDS after its fast hill, half as fast again and each speed wanted early; sprints on an open road."""
    plan = load_schedule("udds")[345:] * 1.5
    plan = np.array([plan[second : second + 5].max() for second in range(len(plan))])
    for start_s, top_kmh in (
        (62, 158),
        (84, 165),
        (107, 160),
        (129, 170),
        (151, 163),
        (173, 172),
        (196, 160),
        (219, 168),
    ):
        sprint = _ramp(
            len(plan), start_s=start_s, rise_mps2=8.0, top_mps=top_kmh / 3.6, hold_s=3, fall_mps2=4.5
        )
        plan = np.maximum(plan, sprint)
    return _standing(plan)


def _overheating() -> NDArray[np.float64]:
    return _standing(load_schedule("hwfet") * 1.10)


def _charging() -> NDArray[np.float64]:
    """Parked; after the charge the car backs out of the bay and leaves it at walking pace."""
    plan = np.zeros(700)
    plan[577:585] = 1.6
    plan[588:700] = 4.5
    return plan


def _standing(plan: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same plan after the seconds in which the car wakes up."""
    return np.concatenate((np.zeros(8), plan))


def _ramp(
    count: int, *, start_s: float, rise_mps2: float, top_mps: float, hold_s: float, fall_mps2: float
) -> NDArray[np.float64]:
    time = np.arange(count, dtype=np.float64)
    top_from_s = start_s + top_mps / rise_mps2
    rise = (time - start_s) * rise_mps2
    fall = top_mps - (time - top_from_s - hold_s) * fall_mps2
    return np.clip(np.minimum(rise, fall), 0.0, top_mps)


_ALL = (
    Drive(
        name="city", summary="urban traffic with stops and turns; nothing wrong", model="model-3",
        duration_s=420, start_unix_s=1_795_161_600, speed_plan=_city,
        road=Road(37.7699, -122.4468, 81.0, 2.6, (60, 300), turns_at_stops=True, hills=0.012),
        soc=71.0, ambient_c=16.0, battery_c=22.0, drive_unit_c=24.0,
    ),
    Drive(
        name="highway", summary="motorway, one overtaking beyond 180 km/h, a tunnel", model="model-y",
        duration_s=420, start_unix_s=1_795_168_800, speed_plan=_highway,
        road=Road(51.5420, 12.1090, 128.0, 1.3, (700, 2500), hills=0.010),
        soc=83.0, ambient_c=11.0, battery_c=27.0, drive_unit_c=38.0, acceleration_max_mps2=3.2,
        tunnels=(Window(138.0, 161.0),),
    ),
    Drive(
        name="aggressive", summary="full throttle and late brakes until the motor is too hot; the 12 V supply dips",
        model="model-s-plaid",
        duration_s=390, start_unix_s=1_795_176_000, speed_plan=_aggressive,
        road=Road(34.2390, -118.2630, 12.0, 5.0, (45, 220), turns_at_stops=True, climb=0.010, hills=0.030),
        soc=78.0, ambient_c=33.0, battery_c=34.0, drive_unit_c=72.0, acceleration_max_mps2=9.5,
        dips=(Window(96.0, 98.5, 10.9), Window(286.0, 294.5, 11.1)),
        pump_weak=Window(64.0, 252.0, 0.15),
    ),
    Drive(
        name="charging", summary="DC fast charge from 18 %, then leaves the bay", model="r1t",
        duration_s=610, start_unix_s=1_795_183_200, speed_plan=_charging,
        road=Road(47.6205, -117.3820, 255.0, 2.0, (12, 30)),
        soc=18.0, ambient_c=19.0, battery_c=31.0, drive_unit_c=33.0, reverse=Window(574.0, 587.0),
        charge=ChargeStop(plug_s=22.0, prepare_s=27.5, charge_s=41.0, stop_s=548.0, unplug_s=561.0),
    ),
    Drive(
        name="overheating", summary="long climb on a hot day with a failing battery module; the chiller trips",
        model="model-x",
        duration_s=420, start_unix_s=1_795_190_400, speed_plan=_overheating,
        road=Road(35.3760, -115.8920, 224.0, 1.8, (250, 1200), climb=0.040, hills=0.012),
        soc=66.0, ambient_c=39.0, battery_c=43.4, drive_unit_c=57.0, acceleration_max_mps2=2.2,
        failing_module_w=2150.0, chiller_target_c=43.65, chiller_trips_s=225.0,
    ),
)  # fmt: skip
DRIVES = {drive.name: drive for drive in _ALL}
