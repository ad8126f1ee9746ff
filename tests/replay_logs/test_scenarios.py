"""What happens in each committed drive, as its sensors report it: the shipped rules are tried on exactly this."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from replay_logs.generate import car_messages
from replay_logs.read import open_log
from replay_logs.scenarios import DRIVES

WATCHED = {
    "BatteryTempMax",
    "MotorTemp",
    "VehicleSpeed",
    "PackVoltage",
    "CellImbalance",
    "LowVoltage",
    "Latitude",
}


@cache
def reported(drive: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{signal: (seconds, values)} of a committed log; "not available" is NaN."""
    messages = {m.frame_id: m for m in car_messages() if WATCHED & {s.name for s in m.signals}}
    seconds: dict[str, list[float]] = {name: [] for name in WATCHED}
    values: dict[str, list[float]] = {name: [] for name in WATCHED}
    start = DRIVES[drive].start_unix_s
    turn = 0
    for frame in open_log(Path(str(files("replay_logs") / "drives" / f"{drive}.log.gz"))):
        message = messages.get(frame.arbitration_id)
        turn += 1
        if message is None or (message.cycle_time < 50 and turn % 5):
            continue
        for name, value in message.decode(frame.data).items():
            if name in WATCHED:
                seconds[name].append(frame.timestamp - start)
                values[name].append(float("nan") if str(value) == "SNA" else float(value))
    return {name: (np.array(seconds[name]), np.array(values[name])) for name in WATCHED}


def episodes(
    drive: str, signal: str, low: float, high: float, apart_s: float = 20
) -> list[tuple[float, float]]:
    """When the signal was beyond [low, high]; what is less than `apart_s` apart is one episode."""
    seconds, values = reported(drive)[signal]
    beyond = seconds[(values < low) | (values > high)]
    if not len(beyond):
        return []
    edges = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(beyond)) if b - a > apart_s), len(beyond)]
    return [(float(beyond[a]), float(beyond[b - 1])) for a, b in pairwise(edges)]


LIMITS = {
    "BatteryTempMax": (-40, 45), "MotorTemp": (-40, 150), "VehicleSpeed": (0, 180), "PackVoltage": (280, 460),
    "CellImbalance": (0, 80), "LowVoltage": (11.5, 16),
}  # fmt: skip
PLANTED = {
    ("highway", "VehicleSpeed"): [(287, 299)],
    ("aggressive", "MotorTemp"): [(229, 250)],
    ("aggressive", "LowVoltage"): [(96, 98.5), (286, 294.5)],
    ("overheating", "BatteryTempMax"): [(161, 420)],
}


@pytest.mark.parametrize("drive", sorted(DRIVES))
@pytest.mark.parametrize("signal", sorted(LIMITS))
def test_limits_are_passed_where_it_is_meant_and_nowhere_else(drive, signal):
    found = episodes(drive, signal, *LIMITS[signal])
    expected = PLANTED.get((drive, signal), [])
    assert len(found) == len(expected), found
    for (start, end), (expected_start, expected_end) in zip(found, expected, strict=True):
        assert start == pytest.approx(expected_start, abs=3)
        assert end == pytest.approx(expected_end, abs=3)


def test_the_overheating_battery_chatters_around_its_limit_before_it_runs_away():
    seconds, values = reported("overheating")["BatteryTempMax"]
    hovering = values[(seconds > 155) & (seconds < 240)]
    crossings = np.flatnonzero(np.diff(hovering > 45))
    assert len(crossings) > 40
    assert np.abs(hovering - 45).max() < 1
    assert values[seconds > 410].min() > 49


def test_one_supply_dip_is_shorter_and_one_longer_than_five_seconds():
    (first, second) = episodes("aggressive", "LowVoltage", 11.5, 16)
    assert first[1] - first[0] < 4
    assert second[1] - second[0] > 6


def test_the_tunnel_takes_the_position_away():
    seconds, values = reported("highway")["Latitude"]
    inside = (seconds > 138.5) & (seconds < 160.5)
    assert np.isnan(values[inside]).all()
    assert not np.isnan(values[(seconds > 162) | ((seconds > 10) & (seconds < 137))]).any()
