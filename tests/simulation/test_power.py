"""`FULL` keeps what it says that it keeps, and this test would notice if it did not: `NORMAL` loses."""

from __future__ import annotations

from tests.simulation.power import cost

CUTS = 10


def test_a_power_cut_costs_nothing_committed_under_full_and_something_under_normal(tmp_path):
    assert cost(tmp_path, "FULL", CUTS).records == 0
    assert cost(tmp_path, "NORMAL", CUTS).lossy > CUTS // 2
