"""A verdict passes only what may pass, and says what may not."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from demo.comparison import Comparison
from demo.verdict import Verdict, json_report

WHOLE = Comparison(
    committed=1000,
    stored=1000,
    missing=0,
    duplicated=0,
    invented=0,
    availability_differs=0,
    max_error_over_threshold=1.0,
    worst_signal="Speed",
)
FAULT = ("BATTERY_OVERTEMP", 0, 100, 100, 0, 200)
GOOD = Verdict(
    vin="5YJ3E1EA7JF000316",
    model="Model 3",
    rate_hz=50,
    kills=1,
    records_sampled=1050,
    lost_at_kill=50,
    comparison=WHOLE,
    bytes_wire=1000,
    bytes_protobuf=200_000,
    bytes_json=500_000,
    expected=(FAULT,),
    found=(FAULT,),
)


def test_what_may_pass_passes():
    assert GOOD.ok
    assert GOOD.reduction == pytest.approx(0.995)
    assert GOOD.reduction_json == pytest.approx(0.998)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"comparison": replace(WHOLE, committed=0, stored=0)}, "no record was ever committed"),
        ({"comparison": replace(WHOLE, missing=1)}, "1 committed records are not in the store"),
        ({"comparison": replace(WHOLE, duplicated=2)}, "2 records stand in the store again"),
        ({"comparison": replace(WHOLE, invented=3)}, "3 records in the store were never committed"),
        ({"comparison": replace(WHOLE, availability_differs=4)}, "4 values are available on one side only"),
        ({"comparison": replace(WHOLE, max_error_over_threshold=1.05)}, "Speed is 1.05 thresholds off"),
        ({"comparison": replace(WHOLE, max_error_over_threshold=math.inf)}, "Speed is inf thresholds off"),
        ({"lost_at_kill": 51}, "at most 50 may be"),
        ({"lost_at_kill": -1}, "-1 sampled records were not committed"),
        ({"kills": 0}, "at most 0 may be"),
        ({"agent_status": 1}, "its agent ended with status 1"),
        ({"agent_status": None}, "its agent did not end by itself"),
        ({"found": ()}, "faults that the store lacks"),
        ({"found": (FAULT, FAULT)}, "faults that the sampled records do not show"),
        ({"found": (("MOTOR_OVERTEMP", *FAULT[1:]),)}, "faults that the store lacks"),
    ],
)
def test_what_may_not_pass_is_said(change, says):
    complaints = replace(GOOD, **change).complaints()
    assert any(says in complaint for complaint in complaints), complaints


def test_json_has_the_documented_keys():
    report = json.loads(json_report([GOOD], ok=True, wall_s=81.234))
    assert report["ok"] is True
    assert report["wall_s"] == 81.2
    assert report["vehicles"] == [
        {
            "vin": GOOD.vin,
            "records_sampled": 1050,
            "records_stored": 1000,
            "missing": 0,
            "duplicated": 0,
            "lost_at_kill": 50,
            "max_error_over_threshold": 1.0,
            "bytes_wire": 1000,
            "bytes_protobuf": 200_000,
            "bytes_json": 500_000,
            "faults_expected": 1,
            "faults_found": 1,
        }
    ]


def test_an_unbounded_error_is_null_in_json():
    bad = replace(GOOD, comparison=replace(WHOLE, max_error_over_threshold=math.inf))
    assert (
        json.loads(json_report([bad], ok=False, wall_s=1))["vehicles"][0]["max_error_over_threshold"] is None
    )


def test_no_protobuf_no_reduction():
    assert replace(GOOD, bytes_protobuf=0, bytes_json=0).reduction == 0
