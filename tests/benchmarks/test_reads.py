"""The reads' benchmark in small: the store it makes, and that a wrong answer shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import reads
from collector.store import open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reads")
    assert reads.fill(folder / "reads.db", reads.plan_of(folder), 0.1) == 18_000
    return folder / "reads.db"


def test_a_measurement_says_what_it_measured_and_is_exact(store):
    row = reads.measure(store, 18_000, "VehicleSpeed", 0.1, 2000, lambda _: None)
    assert (row.signals, row.buckets, row.checked) == (36, 1000, True)
    assert 0 < row.cold_ms_min <= row.cold_ms


def test_an_answer_that_lost_a_peak_is_not_exact(store):
    vehicle = open_store(store).vehicle(reads.VIN)
    found = vehicle.reduced("VehicleSpeed", points=200)
    end_ns = found.start_ns + len(found) * found.step_ns
    assert reads.is_exact(vehicle, found, found.start_ns, end_ns)
    lost = found.high.copy()
    lost[17] -= 0.01
    assert not reads.is_exact(vehicle, replace(found, high=lost), found.start_ns, end_ns)
    assert not reads.is_exact(vehicle, replace(found, count=found.count + 1), found.start_ns, end_ns)
