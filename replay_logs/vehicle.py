"""The car on the road: a driver who follows a speed plan, and what force, current and heat that takes.

`simulate` steps at 100 Hz in plain Python floats and `math`, so that a seed gives the same drive on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from replay_logs.noise import Noise, wander
from replay_logs.pack import Pack
from replay_logs.road import METRES_PER_DEGREE, Course, plan_course
from replay_logs.thermal import Heat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from replay_logs.models import VehicleModel
    from replay_logs.scenarios import Drive, Window

STEP_HZ = 100
STEP_S = 1.0 / STEP_HZ
GRAVITY = 9.81
AIR_DENSITY = 1.2
_ROTATING_MASS = 1.04
_BRAKE_N_MAX = 9.5  # per kg of car
_BRAKE_HOLD_PERCENT = 14.0
_PEDAL_REST = 0.14  # one-pedal driving: below it the car regenerates
_PARKED_S = 5.0  # until the driver chooses a gear
_REACTION_STEPS = 35  # how far ahead the driver looks on the plan
_CREEP_MPS = 0.06  # below it the brakes hold the car
_HEAT_STEPS = 10  # temperatures are slow
_DERATE_FROM_C, _DERATE_OVER_K, _DERATE_W_MIN = 46.5, 3.0, 30e3
_CHARGE_RAMP_W_PER_S = 14e3
GEAR_P, GEAR_R, GEAR_D = 0, 1, 3
DISCONNECTED, CONNECTED, PREPARING, CHARGING, COMPLETE = range(5)


@dataclass(frozen=True, slots=True)
class Trace:
    """What truly happened: each signal of car.dbc by name, float64[n], one value a step (STEP_HZ)."""

    columns: dict[str, NDArray[np.float64]]
    moving: NDArray[np.bool_]


@dataclass(slots=True)
class _Motion:
    """Where the car is and what its drive unit does. Speed is a magnitude; `direction` is -1 in reverse."""

    heading_deg: float
    latitude: float
    longitude: float
    speed: float = 0.0
    acceleration: float = 0.0
    distance: float = 0.0
    curvature: float = 0.0
    direction: float = 1.0
    torque: float = 0.0
    brake_n: float = 0.0
    pedal: float = 0.0  # share of the accelerator's way, as far as the driver pushes it
    mechanical_w: float = 0.0
    motor_loss_w: float = 0.0
    inverter_loss_w: float = 0.0


def simulate(model: VehicleModel, drive: Drive, seed: int, duration_s: float) -> Trace:
    """The drive's first `duration_s`. A longer one begins with the same values."""
    steps = round(duration_s * STEP_HZ)
    plan = drive.speed_plan()
    course = plan_course(drive.road, plan, Noise(seed, "road"))
    wanted = _follow(plan, steps + _REACTION_STEPS + 1)
    unrest = wander(Noise(seed, "driver").normal(steps), 1.6 * STEP_HZ, 0.10)
    weave = wander(Noise(seed, "steering").normal(steps), 0.7 * STEP_HZ, 0.45)
    climate = wander(Noise(seed, "climate").normal(steps), 40.0 * STEP_HZ, 180.0)
    pack = Pack(model, soc=drive.soc, temperature_c=drive.battery_c)
    heat = _heat_at_start(model, drive)
    motion = _Motion(drive.road.heading_deg, drive.road.latitude, drive.road.longitude)
    rows = []
    charger_w = 0.0
    for step in range(steps):
        time_s = step * STEP_S
        motion.direction = -1.0 if drive.reverse and drive.reverse.holds(time_s) else 1.0
        ahead = step + _REACTION_STEPS
        pull = (wanted[ahead + 1] - wanted[ahead]) * STEP_HZ + 1.2 * (wanted[ahead] - motion.speed)
        ready = wanted[ahead] > 0.15 or motion.speed > _CREEP_MPS
        _drive(
            motion, model, drive, course, pull + unrest[step] if ready else None, _power_limit(model, heat)
        )
        charge = _charge_state(drive, time_s)
        charger_w = _charger(charger_w, pack, on=charge == CHARGING)
        aux_w = 420.0 + 55.0 * abs(drive.ambient_c - 21.0) + climate[step] + 0.35 * heat.chiller_w
        pack.weakness = _growing(drive.cell_weak, time_s)
        pack.step(
            motion.mechanical_w + motion.motor_loss_w + motion.inverter_loss_w + aux_w - charger_w, STEP_S
        )
        if step % _HEAT_STEPS == 0:
            heat.step(
                pack_w=pack.heat_w,
                motor_w=motion.motor_loss_w,
                inverter_w=motion.inverter_loss_w,
                speed_mps=motion.speed,
                chiller=time_s < drive.chiller_trips_s,
                pump=_value(drive.pump_weak, time_s, 1.0),
                dt_s=STEP_S * _HEAT_STEPS,
            )
            pack.temperature_c = sum(heat.modules) / len(heat.modules)
        rows.append(_row(motion, model, pack, heat, drive, time_s, charge, weave[step]))
    table = np.array(rows)
    columns = {name: table[:, index] for index, name in enumerate(_NAMES)}
    return Trace(columns, columns["VehicleSpeed"] > 0)


def _follow(plan: NDArray[np.float64], steps: int) -> list[float]:
    """The plan (m/s, one a second) at STEP_HZ, joined by smooth cubics; its last speed for ever after."""
    seconds = steps // STEP_HZ + 2
    plan = np.concatenate((plan, np.full(max(seconds + 1 - len(plan), 0), plan[-1])))
    slope = np.gradient(plan)
    index = np.arange(steps) // STEP_HZ
    f = (np.arange(steps) % STEP_HZ) / STEP_HZ
    # cubic Hermite basis
    joined = (
        (2 * f**3 - 3 * f**2 + 1) * plan[index]
        + (f**3 - 2 * f**2 + f) * slope[index]
        + (3 * f**2 - 2 * f**3) * plan[index + 1]
        + (f**3 - f**2) * slope[index + 1]
    )
    return list(np.maximum(joined, 0.0).tolist())


def _heat_at_start(model: VehicleModel, drive: Drive) -> Heat:
    warm = drive.battery_c
    return Heat(
        model=model,
        modules=[warm - 0.5, warm - 0.8, warm, warm - 0.6],
        inlet=warm - 4.0,
        motor=drive.drive_unit_c,
        inverter=drive.drive_unit_c - 3.0,
        coolant=drive.drive_unit_c - 4.0,
        ambient=drive.ambient_c,
        failing_w=drive.failing_module_w,
        chiller_target=drive.chiller_target_c,
    )


def _power_limit(model: VehicleModel, heat: Heat) -> float:
    """Watts at the wheels: less and less above _DERATE_FROM_C, to save the battery."""
    left = 1.0 - (max(heat.modules) - _DERATE_FROM_C) / _DERATE_OVER_K
    return max(model.power_max_w * min(left, 1.0), _DERATE_W_MIN)


def _drive(
    motion: _Motion, model: VehicleModel, drive: Drive, course: Course, pull: float | None, power_max_w: float
) -> None:
    """One step: the acceleration that the driver wants (None: stand still) becomes torque, brake and motion."""
    rotor_per_metre = model.gear_ratio / model.wheel_radius_m
    rotor = motion.speed * rotor_per_metre
    weight = model.mass_kg * GRAVITY
    drag = 0.5 * AIR_DENSITY * model.drag_area_m2 * motion.speed**2
    rolling = model.rolling_resistance * weight if motion.speed > 0 or pull is not None else 0.0
    slope = weight * course.gradient_at(motion.distance) * motion.direction
    inertia = model.mass_kg * _ROTATING_MASS
    if pull is None:
        wanted_n = 0.0
        motion.speed = motion.acceleration = 0.0
    else:
        wanted = min(max(pull, -7.5), drive.acceleration_max_mps2)
        wanted_n = inertia * wanted + drag + rolling + slope
    torque_max = min(model.torque_max_nm, power_max_w / max(rotor, 1.0))
    # Regeneration fades out near standstill, where the friction brakes take over.
    fade = min(max((motion.speed - 0.8) / 2.0, 0.0), 1.0)
    torque_min = -fade * min(0.45 * model.torque_max_nm, model.regeneration_max_w / max(rotor, 1.0))
    wanted_torque = wanted_n / rotor_per_metre
    torque = min(max(wanted_torque, torque_min), torque_max)
    pedal = _pedal(wanted_torque, min(model.torque_max_nm, model.power_max_w / max(rotor, 1.0)), torque_max)
    motion.pedal += ((pedal if pull is not None else 0.0) - motion.pedal) * STEP_S / 0.10
    motion.torque += (torque - motion.torque) * STEP_S / 0.12
    brake_n = max(torque_min - wanted_torque, 0.0) * rotor_per_metre if pull is not None else 0.0
    motion.brake_n += (min(brake_n, _BRAKE_N_MAX * model.mass_kg) - motion.brake_n) * STEP_S / 0.15
    if pull is not None:
        force = motion.torque * rotor_per_metre - motion.brake_n - drag - rolling - slope
        motion.acceleration = force / inertia
        motion.speed = max(motion.speed + motion.acceleration * STEP_S, 0.0)
    _move(motion, course)
    motion.mechanical_w = motion.torque * rotor
    size = model.torque_max_nm / 520.0
    motion.motor_loss_w = 0.085 / size * motion.torque**2 + size * (0.75 * rotor + 3.5e-4 * rotor**2)
    motion.inverter_loss_w = 60.0 + 0.012 * abs(motion.mechanical_w) + 1.2 * abs(motion.torque)


def _move(motion: _Motion, course: Course) -> None:
    way = motion.speed * motion.direction * STEP_S
    motion.distance += way
    motion.curvature = course.curvature_at(motion.distance)
    motion.heading_deg = (motion.heading_deg + math.degrees(motion.curvature * way)) % 360.0
    heading = math.radians(motion.heading_deg)
    motion.latitude += way * math.cos(heading) / METRES_PER_DEGREE
    motion.longitude += (
        way * math.sin(heading) / (METRES_PER_DEGREE * math.cos(math.radians(motion.latitude)))
    )


def _charge_state(drive: Drive, time_s: float) -> int:
    stop = drive.charge
    if stop is None or time_s < stop.plug_s or time_s >= stop.unplug_s:
        return DISCONNECTED
    if time_s < stop.prepare_s:
        return CONNECTED
    if time_s < stop.charge_s:
        return PREPARING
    return CHARGING if time_s < stop.stop_s else COMPLETE


def _charger(power_w: float, pack: Pack, *, on: bool) -> float:
    """Next power of the charging station: ramps up, then as much as the cells take; off at once."""
    if not on:
        return max(power_w - 8 * _CHARGE_RAMP_W_PER_S * STEP_S, 0.0)
    return min(power_w + _CHARGE_RAMP_W_PER_S * STEP_S, pack.charge_power_max_w)


def _value(window: Window | None, time_s: float, otherwise: float) -> float:
    return window.value if window is not None and window.holds(time_s) else otherwise


def _growing(window: Window | None, time_s: float) -> float:
    """From 1 at the window's start to its value at its end, and so from then on."""
    if window is None or time_s < window.start_s:
        return 1.0
    return 1.0 + (window.value - 1.0) * min((time_s - window.start_s) / (window.end_s - window.start_s), 1.0)


_NAMES = (
    "VehicleSpeed", "WheelSpeedFL", "WheelSpeedFR", "WheelSpeedRL", "WheelSpeedRR", "SteeringAngle",
    "MotorTorque", "MotorSpeed", "AcceleratorPedal", "BrakePedal", "Gear",
    "PackVoltage", "PackCurrent", "PackPower", "CellVoltageMin", "CellVoltageMax", "CellImbalance",
    "ModuleTemp1", "ModuleTemp2", "ModuleTemp3", "ModuleTemp4", "BatteryTempMin", "BatteryTempMax",
    "BatteryInletTemp", "MotorTemp", "InverterTemp", "CoolantTemp", "SOC", "ChargeState",
    "Heading", "Latitude", "Longitude", "LowVoltage", "AmbientTemp", "TripEnergy", "FirmwareVersion",
)  # fmt: skip


def _row(
    motion: _Motion,
    model: VehicleModel,
    pack: Pack,
    heat: Heat,
    drive: Drive,
    time_s: float,
    charge: int,
    weave: float,
) -> tuple[float, ...]:
    """One value for each of _NAMES, in the units of car.dbc."""
    kmh = motion.speed * 3.6
    turning = motion.curvature * model.track_m / 2  # the outer wheels have the longer way
    slip = 1.0 + 0.02 * motion.torque * model.gear_ratio / model.wheel_radius_m / (model.mass_kg * GRAVITY)
    moving = motion.speed > 0
    steering = -math.degrees(math.atan(motion.curvature * model.wheelbase_m)) * model.steering_ratio
    rpm = motion.speed / model.wheel_radius_m * model.gear_ratio * 60 / math.tau * slip
    parked = (
        time_s < _PARKED_S
        or charge != DISCONNECTED
        or (drive.charge is not None and time_s < drive.charge.unplug_s + 6)
    )
    half_spread = pack.spread_v / 2
    supply = 13.85 - 0.0004 * abs(pack.current_a) if charge in (CHARGING, DISCONNECTED) else 13.6
    for dip in drive.dips:
        supply = _value(dip, time_s, supply)
    return (
        kmh, kmh * (1 + turning), kmh * (1 - turning), kmh * (1 + turning) * slip, kmh * (1 - turning) * slip,
        steering + (weave if moving else 0.0),
        motion.torque * motion.direction, rpm * motion.direction, 100.0 * motion.pedal, 0.0 if parked else _brake(motion, model),
        GEAR_P if parked else GEAR_R if motion.direction < 0 else GEAR_D,
        pack.voltage_v, pack.current_a, pack.voltage_v * pack.current_a / 1e3,
        pack.cell_voltage_v - half_spread, pack.cell_voltage_v + half_spread, pack.imbalance_v * 1e3,
        *heat.modules, min(heat.modules), max(heat.modules),
        heat.inlet, heat.motor, heat.inverter, heat.coolant, pack.soc, charge,
        motion.heading_deg, motion.latitude, motion.longitude,
        supply, drive.ambient_c, math.floor(pack.energy_j / 3.6e5) / 10, model.firmware_version,
    )  # fmt: skip


def _pedal(wanted: float, full: float, available: float) -> float:
    """Share of the pedal's way for a wanted torque, by what full throttle gives; floored when the car holds back."""
    if wanted < 0:
        return _PEDAL_REST * max(1.0 + wanted / (0.2 * full), 0.0)
    if wanted > available:
        return 1.0
    return _PEDAL_REST + (1.0 - _PEDAL_REST) * wanted / full


def _brake(motion: _Motion, model: VehicleModel) -> float:
    if motion.speed == 0.0:
        return _BRAKE_HOLD_PERCENT
    return 100.0 * motion.brake_n / (_BRAKE_N_MAX * model.mass_kg)
