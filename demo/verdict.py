"""The verdict on one vehicle: what a comparison, the byte counts and the faults come to. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.settings import LOSS_MAX_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from demo.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Verdict:
    """All figures of one vehicle. `expected` and `found` name faults, so that equal numbers of other faults do not pass."""

    vin: str
    model: str
    rate_hz: int
    kills: int  # SIGKILLs to this vehicle's agent
    records_sampled: int
    lost_at_kill: int
    comparison: Comparison
    bytes_wire: int
    bytes_protobuf: int
    bytes_json: int
    expected: tuple[Any, ...]
    found: tuple[Any, ...]
    agent_status: int | None = 0  # exit status; None: still running when its time was over

    @property
    def reduction(self) -> float:
        """Share of the protobuf baseline's bytes that did not have to be sent."""
        return 1 - self.bytes_wire / self.bytes_protobuf if self.bytes_protobuf else 0.0

    @property
    def reduction_json(self) -> float:
        return 1 - self.bytes_wire / self.bytes_json if self.bytes_json else 0.0

    @property
    def lost_at_kill_max(self) -> int:
        """Records that kills may cost: those of `loss_max_s` of record time each."""
        return self.kills * math.ceil(LOSS_MAX_S * self.rate_hz)

    def complaints(self) -> list[str]:
        """What is wrong, in words; empty if nothing is."""
        c = self.comparison
        wrong = []
        if c.committed == 0:
            wrong.append("no record was ever committed")
        if c.missing:
            wrong.append(f"{c.missing:,} committed records are not in the store")
        if c.duplicated:
            wrong.append(f"{c.duplicated:,} records stand in the store again")
        if c.invented:
            wrong.append(f"{c.invented:,} records in the store were never committed")
        if c.availability_differs:
            wrong.append(f"{c.availability_differs:,} values are available on one side only")
        if c.max_error_over_threshold > 1:
            wrong.append(f"{c.worst_signal} is {c.max_error_over_threshold:.3g} thresholds off")
        if not 0 <= self.lost_at_kill <= self.lost_at_kill_max:
            wrong.append(
                f"{self.lost_at_kill:,} sampled records were not committed, at most {self.lost_at_kill_max} may be"
            )
        if self.agent_status != 0:
            how = (
                "did not end by itself"
                if self.agent_status is None
                else f"ended with status {self.agent_status}"
            )
            wrong.append(f"its agent {how}; see its log")
        if extra := _more(self.found, self.expected):
            wrong.append(f"faults that the sampled records do not show: {extra}")
        if lacking := _more(self.expected, self.found):
            wrong.append(f"faults that the store lacks: {lacking}")
        return wrong

    @property
    def ok(self) -> bool:
        return not self.complaints()

    def document(self) -> dict[str, Any]:
        """For --json. An unbounded error is null: JSON has no infinity."""
        worst = self.comparison.max_error_over_threshold
        return {
            "vin": self.vin,
            "records_sampled": self.records_sampled,
            "records_stored": self.comparison.stored,
            "missing": self.comparison.missing,
            "duplicated": self.comparison.duplicated,
            "lost_at_kill": self.lost_at_kill,
            "max_error_over_threshold": worst if math.isfinite(worst) else None,
            "bytes_wire": self.bytes_wire,
            "bytes_protobuf": self.bytes_protobuf,
            "bytes_json": self.bytes_json,
            "faults_expected": len(self.expected),
            "faults_found": len(self.found),
        }


def json_report(verdicts: Sequence[Verdict], *, ok: bool, wall_s: float) -> str:
    document = {
        "vehicles": [verdict.document() for verdict in verdicts],
        "ok": ok,
        "wall_s": round(wall_s, 1),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _more(these: Iterable[Any], than_those: Iterable[Any]) -> list[Any]:
    remaining = list(than_those)
    extra = []
    for one in these:
        if one in remaining:
            remaining.remove(one)
        else:
            extra.append(one)
    return extra
