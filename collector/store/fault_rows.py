"""What is asked of the store about faults: those that are stored, with what operators said of them, and provisional ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from collector.store.tables import acknowledgements, faults, provisional_faults

if TYPE_CHECKING:
    from sqlalchemy import Select

# What operators said of a fault, under the names that its row has them.
_SAID = {"acknowledged_at": "at", "acknowledged_by": "by", "mark": "mark", "note": "note"}
_PLACE = ("outbox", "stream_no", "first_tick", "code")

# What nobody knows of a fault that is provisional.
UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("id", "started_at", "peak", *_SAID)), "approximate": False, "late": False
}  # fmt: skip


def wanted_faults(
    vin: str | None, severity: str | None, *, only_open: bool = False, after_id: int = 0
) -> Select[Any]:
    """In the order in which they were detected. `after_id`: those that are open or came later."""
    said = and_(*(acknowledgements.c[name] == faults.c[name] for name in _PLACE))
    wanted = (
        select(faults, *(acknowledgements.c[name].label(label) for label, name in _SAID.items()))
        .join_from(faults, acknowledgements, said, isouter=True)
        .order_by(faults.c.detected_at, faults.c.id)
    )
    if vin is not None:
        wanted = wanted.where(faults.c.vin == vin)
    if severity is not None:
        wanted = wanted.where(faults.c.severity == severity)
    if after_id:
        wanted = wanted.where(faults.c.ended_at.is_(None) | (faults.c.id > after_id))
    if only_open:
        wanted = wanted.where(faults.c.ended_at.is_(None))
    return wanted


def wanted_provisional_faults(vin: str | None, severity: str | None) -> Select[Any]:
    """By the time of the heartbeat that showed them."""
    wanted = select(provisional_faults).order_by(provisional_faults.c.detected_at)
    if vin is not None:
        wanted = wanted.where(provisional_faults.c.vin == vin)
    if severity is not None:
        wanted = wanted.where(provisional_faults.c.severity == severity)
    return wanted
