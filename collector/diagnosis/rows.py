"""Rows of `diagnoses`. Column names are those of store/tables.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector import times
from collector.diagnosis.explain import ranked
from collector.ingest.materialise import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.diagnosis.catalogue import Signature
    from collector.diagnosis.diagnose import Diagnosis, Sighting
    from collector.ingest.changes import Row

CONFIDENCE_DIGITS = 3
DIGITS = 12  # significant: more than any signal has


def diagnosis(
    outbox: int,
    vehicle_id: str,
    signature: Signature,
    one: Diagnosis,
    late: bool,
    wall_ns: Callable[[int, int], int],
    *,
    certain: bool,
) -> Row:
    """`wall_ns(stream_no, tick)` labels its ticks; whether these times are `certain`."""
    finding = one.finding
    causes = [
        {"cause": cause.cause, "confidence": round(confidence, CONFIDENCE_DIGITS), "action": cause.action}
        for confidence, cause in ranked(signature, one)
    ]
    seen = [_part(name, sighting, wall_ns) for name, sighting in finding.seen.items()]
    known = {*finding.seen, *finding.not_seen}
    unknown = [part.name for part in signature.parts if part.name not in known]
    return {
        "vin": vehicle_id,
        "signature": signature.code,
        "title": signature.title,
        "cause": causes[0]["cause"],
        "confidence": causes[0]["confidence"],
        "action": causes[0]["action"],
        "detected_at": times.to_text(wall_ns(finding.stream_no, finding.tick)),
        "causes": to_json({"causes": causes}),
        "evidence": to_json({"seen": seen, "not_seen": list(finding.not_seen), "cannot_be_told": unknown}),
        "approximate": one.approximate,
        "late": late,
        "time_uncertain": not certain,
        "outbox": outbox,
        "stream_no": finding.stream_no,
        "tick": finding.tick,
        **_end(one, wall_ns),
    }


def ended(outbox: int, one: Diagnosis, wall_ns: Callable[[int, int], int]) -> Row:
    """One whose signature is gone or reads differently now."""
    finding = one.finding
    return {
        "of_outbox": outbox,
        "of_stream_no": finding.stream_no,
        "of_tick": finding.tick,
        "of_signature": finding.code,
        **_end(one, wall_ns),
    }


def _end(one: Diagnosis, wall_ns: Callable[[int, int], int]) -> Row:
    """Where it ended; or was last seen, while it stands."""
    last = one.end or one.finding.gone
    last_at = None if last is None else times.to_text(wall_ns(*last))
    return {
        "last_seen_at": last_at,
        "ended_at": None if one.end is None else last_at,
        "end_reason": one.end_reason,
        "last_stream_no": None if last is None else last[0],
        "last_tick": None if last is None else last[1],
    }


def _written(value: float | None) -> float | None:
    """Without what a multiplication by a factor leaves behind its last digit."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _part(name: str, sighting: Sighting, wall_ns: Callable[[int, int], int]) -> dict[str, Any]:
    """What was seen, as readers get it. Its times are labels as they were then; its ticks count."""
    part = {
        "part": name,
        "source": sighting.source,
        "began_at": times.to_text(wall_ns(sighting.stream_no, sighting.first_tick)),
        "stream_no": sighting.stream_no,
        "first_tick": sighting.first_tick,
        "values": {name: _written(value) for name, value in sighting.values.items()},
        "peak": _written(sighting.peak),
    }
    if sighting.ended_ns is not None:
        part["ended_at"] = times.to_text(wall_ns(sighting.ended_stream_no, sighting.ended_tick))
    return part
