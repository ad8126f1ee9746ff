from __future__ import annotations

from dataclasses import replace

import numpy as np

from replay_logs.generate import candump_lines
from replay_logs.models import MODELS
from replay_logs.scenarios import DRIVES, Window
from replay_logs.sensor_faults import SensorFault, reported
from replay_logs.vehicle import simulate

TIMES = np.arange(0, 100, 0.5)
TRUTH = np.sin(TIMES)


def told(kind, size=0.0, signal="Temp"):
    return reported(TRUTH, "Temp", TIMES, [SensorFault(signal, kind, 20.0, 60.0, size)])


def test_a_sensor_tells_the_truth_before_and_after():
    for kind in ("stuck", "drift", "spike"):
        values = told(kind, 2.0)
        np.testing.assert_array_equal(values[:40], TRUTH[:40])
        np.testing.assert_array_equal(values[120:], TRUTH[120:])
        assert (values[40:120] != TRUTH[40:120]).any()


def test_each_fault_is_what_it_says():
    assert set(told("stuck")[40:120]) == {TRUTH[40]}
    np.testing.assert_allclose((told("drift", 0.1) - TRUTH)[40:120], 0.1 * (TIMES[40:120] - 20))
    off = told("spike", 5.0) - TRUTH
    np.testing.assert_allclose(off[40:44], 5.0)
    np.testing.assert_allclose(off[44:100], 0.0)
    np.testing.assert_allclose(off[100:104], 5.0)


def test_other_sensors_are_left_alone():
    np.testing.assert_array_equal(told("stuck", signal="Other"), TRUTH)
    np.testing.assert_array_equal(
        reported(TRUTH, "Temp", TIMES, [SensorFault("Temp", "drift", 500, 600, 1)]), TRUTH
    )


def test_faults_change_what_the_log_says_of_that_signal_and_nothing_before_it():
    drive = DRIVES["city"]
    faulty = replace(drive, sensor_faults=(SensorFault("PackVoltage", "stuck", 12.0, 20.0),))
    healthy, broken = (list(candump_lines(MODELS[drive.model], one, 3, 20)) for one in (drive, faulty))
    changed = [a for a, b in zip(healthy, broken, strict=True) if a != b]
    assert changed
    assert {line.split()[2][:3] for line in changed} == {"132"}
    assert min(float(line[1:18]) for line in changed) >= drive.start_unix_s + 12


def test_a_weak_cell_spreads_the_cells_more_and_more():
    drive = DRIVES["city"]
    weak = replace(drive, cell_weak=Window(10.0, 40.0, 8.0))
    healthy, going = (
        simulate(MODELS[drive.model], one, 3, 40).columns["CellImbalance"] for one in (drive, weak)
    )
    np.testing.assert_array_equal(healthy[:1000], going[:1000])
    assert going[-1] > healthy[-1] + 4  # mV
