"""How a vehicle is, in a few words that change only when it does: what `vehicle_health` keeps over time.

Heartbeats carry counters and temperatures that are others every time. A row of history is worth writing when one of these changes:
state, firmware, model, agent version, or this summary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.ingest.changes import Row

BACKLOG_S = 600.0  # what waits on the vehicle for longer is a backlog
DISK_BYTES_MIN = 500_000_000  # free on the vehicle: below it, little
HOT_C = 90.0  # of its computer
SUMMARY_CHARACTERS_MAX = 500


def summary(health: Mapping[str, Any]) -> str:
    """Of a heartbeat's health as wire.py has it: `can0 up; can1 bus off (no ack); backlog`. Empty: nothing was told."""
    told = [_bus(bus) for bus in health.get("buses", ())]
    if health.get("outbox_oldest_s", 0.0) > BACKLOG_S:
        told.append("backlog")
    if 0 < health.get("disk_free_bytes", 0) < DISK_BYTES_MIN:
        told.append("disk nearly full")
    if count := health.get("outboxes_set_aside", 0):
        told.append(f"{count} damaged outbox{'es' if count > 1 else ''} set aside")
    if health.get("temperature_c", 0.0) > HOT_C:
        told.append("computer hot")
    return "; ".join(told)[:SUMMARY_CHARACTERS_MAX]


def _bus(bus: Mapping[str, Any]) -> str:
    trouble = bus.get("trouble", "")
    return f"{bus.get('name', '?')} {bus.get('state', '?').replace('_', ' ')}" + (
        f" ({trouble})" if trouble else ""
    )


def changed(vehicle: str, written_by: str, now: str) -> Row:
    """Somebody wrote to the vehicle's row: where it differs from the newest of its history now, that gets a row."""
    return {"of_vin": vehicle, "of_written_by": written_by, "of_at": now}
