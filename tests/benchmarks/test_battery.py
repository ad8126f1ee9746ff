"""Battery health against the truth: the drives' generator knows its own pack."""

from __future__ import annotations

import pytest

from benchmarks import battery
from benchmarks.sampled import DRIVES, sample_drive

TOLERANCE = 0.07  # of the truth, for a resistance of one minute; a capacity: CAPACITY_TOLERANCE
CAPACITY_TOLERANCE = 0.02


@pytest.mark.parametrize(
    ("name", "kinds"), [("aggressive", {"resistance", "capacity"}), ("charging", {"capacity"})]
)
def test_estimates_are_within_what_they_state_and_near_the_truth(name, kinds):
    drive = sample_drive(DRIVES / "drives" / f"{name}.log.gz", [DRIVES / "car.dbc"])
    rows = battery.measure([drive], (0.0, 0.1))
    assert {row.kind for row in rows} == kinds
    assert {row.share for row in rows} == {0.0, 0.1}
    for row in rows:
        assert row.within, row
        allowed = TOLERANCE if row.kind == "resistance" else CAPACITY_TOLERANCE
        assert abs(row.error) <= allowed * row.truth, row


def test_a_wrong_estimate_is_outside():
    row = battery.Compared("city", 0.0, "resistance", 0.070, 0.003, 0.055, 20)
    assert not row.within
