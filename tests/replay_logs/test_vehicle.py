"""A simulated drive obeys physics: energy, current and voltage, motion and position agree with each other."""

from __future__ import annotations

import numpy as np
import pytest

from replay_logs.models import MODELS
from replay_logs.road import METRES_PER_DEGREE
from replay_logs.scenarios import DRIVES
from replay_logs.vehicle import STEP_S, Trace, simulate


@pytest.fixture(scope="module", params=sorted(DRIVES))
def drive(request):
    return DRIVES[request.param]


@pytest.fixture(scope="module")
def trace(drive) -> Trace:
    return simulate(MODELS[drive.model], drive, 1, drive.duration_s)


def test_power_is_voltage_times_current(trace):
    columns = trace.columns
    assert np.allclose(columns["PackPower"], columns["PackVoltage"] * columns["PackCurrent"] / 1000)


def test_charge_is_the_integral_of_current(drive, trace):
    columns, model = trace.columns, MODELS[drive.model]
    used_ah = columns["PackCurrent"].sum() * STEP_S / 3600
    assert 100 * used_ah / model.capacity_ah == pytest.approx(drive.soc - columns["SOC"][-1], abs=0.01)
    used_kwh = columns["PackPower"].sum() * STEP_S / 3600
    assert columns["TripEnergy"][-1] == pytest.approx(used_kwh, abs=0.11)  # shown in steps of 0.1


def test_voltage_sags_with_current(drive, trace):
    current, voltage = trace.columns["PackCurrent"], trace.columns["PackVoltage"]
    jumps = np.abs(np.diff(current)) > 5
    if jumps.any():
        ohm = -np.diff(voltage)[jumps] / np.diff(current)[jumps]
        assert ohm == pytest.approx(MODELS[drive.model].resistance_ohm, rel=0.3)


def test_the_car_stays_within_its_power_and_its_grip(drive, trace):
    columns, model = trace.columns, MODELS[drive.model]
    rotor = columns["MotorSpeed"] * 2 * np.pi / 60
    assert np.abs(columns["MotorTorque"]).max() <= model.torque_max_nm
    assert (columns["MotorTorque"] * rotor).max() <= model.power_max_w * 1.05  # wheels slip a little
    acceleration = np.diff(columns["VehicleSpeed"] / 3.6) / STEP_S
    assert np.abs(acceleration).max() < 11
    assert columns["VehicleSpeed"].min() >= 0


def test_the_position_is_where_speed_and_heading_lead(drive, trace):
    columns = trace.columns
    way = np.where(columns["Gear"] == 1, -1, 1) * columns["VehicleSpeed"] / 3.6 * STEP_S
    heading = np.radians(columns["Heading"])
    north = np.cumsum(way * np.cos(heading)) / METRES_PER_DEGREE
    east = np.cumsum(way * np.sin(heading) / np.cos(np.radians(columns["Latitude"]))) / METRES_PER_DEGREE
    assert columns["Latitude"] - drive.road.latitude == pytest.approx(north, abs=2e-5)
    assert columns["Longitude"] - drive.road.longitude == pytest.approx(east, abs=2e-5)


def test_turns_stay_within_the_lateral_limit(drive, trace):
    columns = trace.columns
    turn = np.diff(np.unwrap(np.radians(columns["Heading"]))) / STEP_S
    lateral = np.abs(turn * columns["VehicleSpeed"][1:] / 3.6)
    assert lateral.max() < 1.8 * drive.road.lateral_max_mps2


def test_the_pedals_say_what_the_car_does(trace):
    columns = trace.columns
    assert not ((columns["AcceleratorPedal"] > 30) & (columns["BrakePedal"] > 30)).any()
    pushing = (columns["MotorTorque"] > 50) & (columns["Gear"] == 3)
    assert columns["AcceleratorPedal"][pushing].min() > 5


def test_cells_and_modules_are_ordered(trace):
    columns = trace.columns
    assert (columns["CellVoltageMin"] < columns["CellVoltageMax"]).all()
    assert (columns["BatteryTempMin"] <= columns["BatteryTempMax"]).all()
    assert columns["CellVoltageMax"].max() < 4.25
    assert columns["CellVoltageMin"].min() > 2.8
