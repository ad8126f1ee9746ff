"""Rows of `battery_health`. Column names are those of store/tables.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import times
from collector.battery.series import UNITS
from collector.ingest.materialise import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.battery.series import Estimate
    from collector.ingest.changes import Row

DIGITS = 6  # significant


def estimate(
    outbox: int,
    vehicle_id: str,
    one: Estimate,
    late: bool,
    wall_ns: Callable[[int], int],
    *,
    certain: bool,
) -> Row:
    """`wall_ns(tick)` labels its ticks; whether these times are `certain`."""
    return {
        "vin": vehicle_id,
        "kind": one.kind,
        "at": times.to_text(wall_ns(one.tick)),
        "value": _short(one.value),
        "uncertainty": _short(one.uncertainty),
        "unit": UNITS[one.kind],
        "n": one.n,
        "conditions": to_json(dict(one.conditions)),
        "approximate": False,
        "late": late,
        "time_uncertain": not certain,
        "outbox": outbox,
        "stream_no": one.stream_no,
        "first_tick": one.first_tick,
        "tick": one.tick,
    }


def _short(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
