"""Reading what the analyses found: diagnoses, battery health, and how vehicles were over time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from collector.store.tables import battery_health, diagnoses, vehicle_health

if TYPE_CHECKING:
    from sqlalchemy import Select

    from collector.store.reader import Store

    Rows = list[dict[str, Any]]


def diagnoses_of(store: Store, vin: str | None = None, *, only_open: bool = False) -> Rows:
    """One row per diagnosis, in the order in which they were made."""
    wanted = select(diagnoses).order_by(diagnoses.c.detected_at, diagnoses.c.id)
    if vin is not None:
        wanted = wanted.where(diagnoses.c.vin == vin)
    if only_open:
        wanted = wanted.where(diagnoses.c.ended_at.is_(None))
    rows = _rows(store, wanted)
    for row in rows:
        row["causes"] = json.loads(row["causes"])["causes"]
        row["evidence"] = json.loads(row["evidence"])
    return rows


def battery_health_of(
    store: Store,
    vin: str | None = None,
    kind: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> Rows:
    """One row per estimate with start <= at < end, by vehicle, kind and time."""
    table = battery_health
    wanted = select(table).order_by(table.c.vin, table.c.kind, table.c.at, table.c.id)
    if vin is not None:
        wanted = wanted.where(table.c.vin == vin)
    if kind is not None:
        wanted = wanted.where(table.c.kind == kind)
    if start is not None:
        wanted = wanted.where(table.c.at >= start)
    if end is not None:
        wanted = wanted.where(table.c.at < end)
    rows = _rows(store, wanted)
    for row in rows:
        row["conditions"] = json.loads(row["conditions"])
    return rows


def vehicle_health_of(store: Store, vin: str | None = None) -> Rows:
    """What was said of vehicles over time, by vehicle, oldest first."""
    wanted = select(vehicle_health).order_by(vehicle_health.c.vin, vehicle_health.c.id)
    return _rows(store, wanted if vin is None else wanted.where(vehicle_health.c.vin == vin))


def _rows(store: Store, statement: Select[Any]) -> Rows:
    return store._rows(statement)  # noqa: SLF001
