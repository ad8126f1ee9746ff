"""What the simulated vehicles are: one message with three signals, two schemas to choose from, rules that watch them."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

import numpy as np

from codec.schema import NS
from collector.rules import load_rules
from decoder.plan import SignalChoice, build_plan
from tests.decoder import dbc_writer

if TYPE_CHECKING:
    from decoder.plan import Plan

FRAME_ID = 0x123
PARK_AFTER_S = 60.0
TIMEOUT_S = 10.0
_PAYLOAD = struct.Struct("<HHBxxx")
_BUS = dbc_writer.bus(
    f"BO_ {FRAME_ID} Car: 8 X",
    ' SG_ Temp : 0|16@1+ (0.5,0) [0|0] "degC" X',
    ' SG_ Speed : 16|16@1+ (0.1,0) [0|0] "km/h" X',
    ' SG_ Gear : 32|8@1+ (1,0) [0|0] "" X',
)
_SCHEMAS = (  # threshold by signal
    {"Temp": 2.0, "Speed": 3.0, "Gear": 0.0},
    {"Temp": 1.0, "Gear": 0.0},
)
COLUMNS = ({"Temp": 0, "Speed": 1, "Gear": 2}, {"Temp": 0, "Gear": 2})  # of what is driven, by schema

_HOT = """
[[rule]]
code = "HOT"
when = "Temp > 45"
clear = "Temp < 44"
severity = "CRITICAL"
description = "hot"
"""
_FAST = """
[[rule]]
code = "FAST"
when = "Speed >= 80"
for_s = 3
severity = "WARNING"
description = "fast"
"""
RULES = (load_rules(_HOT + _FAST), load_rules(_HOT.replace("45", "46")), load_rules(_FAST))


@functools.cache
def plan(rate_hz: int, variant: int) -> Plan:
    choices = [
        SignalChoice(name, 0, "Car", name, threshold, timeout_s=TIMEOUT_S)
        for name, threshold in _SCHEMAS[variant].items()
    ]
    return build_plan([_BUS], choices, rate_hz=rate_hz)


def drive(seed: int, count: int) -> np.ndarray:
    """int64[count, 3]: what the sensors show, in counts, wandering around the rules' limits."""
    rng = np.random.default_rng(seed)
    steps = np.stack([rng.integers(-3, 4, count), rng.integers(-25, 26, count)], axis=1)
    walk = np.cumsum(steps, axis=0) % 160
    walk = np.where(walk > 80, 160 - walk, walk)  # back and forth between 0 and 80
    gear = rng.integers(0, 6, count // 50 + 1).repeat(50)[:count]
    return np.stack([50 + walk[:, 0], 760 + walk[:, 1], gear], axis=1).astype(np.int64)


def payload(row: np.ndarray) -> bytes:
    return _PAYLOAD.pack(*row.tolist())


def period_ns(rate_hz: int) -> int:
    return NS // rate_hz
