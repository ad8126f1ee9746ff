"""Rows of the store as values with types: faults and gaps of a vehicle. Times are datetimes in UTC."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Fault:
    """One occurrence of a rule. `peak` in the signal's unit; `ended_at` None: still open."""

    code: str
    severity: str
    description: str
    action: str
    signal: str
    started_at: datetime
    detected_at: datetime
    ended_at: datetime | None
    peak: float | None
    evidence: Mapping[str, Any]
    approximate: bool
    late: bool
    time_uncertain: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """An accounted hole: blocks first_seq..last_seq of a stream. None: open-ended, or nobody knows how many records."""

    stream_no: int
    first_seq: int
    last_seq: int | None
    records: int | None
    reason: str
    noted_at: datetime


def typed(kind: type[Row], row: Mapping[str, Any]) -> Row:
    """A row of the store as one of these; columns that it does not have are left out."""
    values = {field.name: row[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name.endswith("_at") and isinstance(value, str):
            values[name] = datetime.fromisoformat(value)
    return kind(**values)
