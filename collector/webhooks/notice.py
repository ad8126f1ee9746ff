"""A notice: that a fault opened, ended or turned out otherwise, as somebody is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["opened", "confirmed", "closed", "digest", "withdrawn"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ENDS = frozenset({"closed", "withdrawn"})


@dataclass(frozen=True, slots=True)
class Notice:
    """One row of the store's notices (collector/ingest/paging.py decides them; tables.py says what each kind means).

    They are numbered in the order in which they were written. `page` names the fault, the same in all of its notices.
    """

    id: int
    kind: Kind
    noted_ns: int  # on this collector's wall clock
    page: str
    vin: str
    code: str
    severity: str
    description: str
    detected_at: str
    ended_at: str | None = None
    age_s: float | None = None  # of the fault when it was noted; None: the vehicle's clock was not set
    provisional: bool = False  # a heartbeat alone shows it
    fault: int | None = None  # id of its row of faults, which `collector faults ack` takes; None: provisional
    action: str = ""
    peak: float | None = None
