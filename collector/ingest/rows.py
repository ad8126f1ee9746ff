"""Rows of the store, made of items and of what they decode to. Column names are those of store/tables.py."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from collector import times
from collector.ingest import health
from collector.ingest.materialise import digits_of, to_json, written_number
from collector.ingest.paging import Fault
from protos import telemetry_pb2 as pb

RECKONED_DIGITS = 6  # decimals that a rate or a mean may have beyond its signal's
AS_BEFORE = "null"  # JSON of a fault whose evidence stands in the store already

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from codec.records import Records
    from codec.stream import DecodedBlock
    from collector.detectors.episodes import Episode as Anomaly
    from collector.ingest.active import ActiveStream
    from collector.ingest.changes import Row
    from collector.ingest.labels import Label
    from collector.ingest.minutes import Summary
    from collector.ingest.paging import FaultKey, Notice, Place, Provisional
    from collector.items import BatchItem, Beat, Description, Greeting
    from collector.rules import FaultSpan, Rule


def vehicle(item: Greeting, now: str) -> Row:
    return {
        "vin": item.key.vehicle,
        "model": item.model,
        "firmware_version": item.firmware_version,
        "agent_version": item.agent_version,
        "state": item.state,
        "first_seen": now,
        "last_seen": now,
    }


def stream(outbox: int, item: Description) -> Row:
    facts = item.facts
    return {
        "outbox": outbox,
        "stream_no": facts.stream_no,
        "stream_id": facts.stream_id,
        "boot_id": item.boot_id,
        "schema_hash": item.schema_hash,
        "origin_tick": facts.origin_tick,
        "facts_offset_ns": facts.clock.offset_ns,
        "facts_synchronised": facts.clock.synchronised,
        "guards_hash": facts.guards_hash,
        "prior_hash": facts.prior_hash,
        "offset_ns": facts.clock.offset_ns,
        "synchronised": False,  # its first keyframe will say: see `labels`
        "prev_last_seq": item.prev_last_seq,
        "prev_digest": item.prev_digest,
        "prev_stream_id": item.prev_stream_id,
    }


def stream_label(outbox: int, label: Label) -> Row:
    return {
        "of_outbox": outbox,
        "of_stream_no": label.stream_no,
        "offset_ns": label.offset_ns,
        "synchronised": label.synchronised,
    }


def times_of(outbox: int, label: Label) -> Row:
    """What readers' times of a stream that is stored already are made with now."""
    return {
        "of_outbox": outbox,
        "of_stream_no": label.stream_no,
        "of_period_ns": label.period_ns,
        "of_offset_ns": label.offset_ns,
        "uncertain": not label.synchronised,
    }


def batch(outbox: int, item: BatchItem, decoded: DecodedBlock, skip: int) -> Row:
    return {
        "outbox": outbox,
        "stream_no": item.stream_no,
        "seq": item.seq,
        "first_tick": decoded.records.first_tick,
        "record_count": len(decoded.records),
        "skip": skip,
        "keyframe": decoded.keyframe is not None,
        "late": item.late,
        "doubtful": False,
        "crc": zlib.crc32(item.content),
        "content": item.content,
    }


def batch_replaced(outbox: int, stream_no: int, decoded: DecodedBlock, content: bytes, skip: int) -> Row:
    return {
        "of_outbox": outbox,
        "of_stream_no": stream_no,
        "of_seq": decoded.seq,
        "first_tick": decoded.records.first_tick,
        "record_count": len(decoded.records),
        "skip": skip,
        "keyframe": decoded.keyframe is not None,
        "crc": zlib.crc32(content),
        "content": content,
    }


def telemetry(
    vehicle_id: str, outbox: int, active: ActiveStream, records: Records, indices: Iterable[int], late: bool
) -> list[Row]:
    """One row for each of these records."""
    return [
        {
            "vin": vehicle_id,
            "timestamp": timestamp,
            "data": data,
            "outbox": outbox,
            "stream_no": active.stream_no,
            "tick": tick,
            "late": late,
            "time_uncertain": not active.synchronised,
        }
        for tick, timestamp, data in active.reading.readable.rows(records, indices, active.offset_ns)
    ]


def rollup(vehicle_id: str, outbox: int, active: ActiveStream, summary: Summary) -> Row:
    return {
        "vin": vehicle_id,
        "signal": summary.signal,
        "outbox": outbox,
        "stream_no": active.stream_no,
        "tick": summary.tick,
        "timestamp": times.to_text(summary.tick * active.schema.period_ns + active.offset_ns),
        "min": summary.low,
        "max": summary.high,
        "mean": summary.mean,
        "count": summary.count,
    }


def rollups_gone(vehicle_id: str, outbox: int, active: ActiveStream, tick: int) -> list[Row]:
    """Every row that there may be of a minute."""
    place = {"of_vin": vehicle_id, "of_outbox": outbox, "of_stream_no": active.stream_no, "of_tick": tick}
    return [{**place, "of_signal": name} for name in active.schema.names]


def gap(
    outbox: int,
    stream_no: int,
    first_seq: int,
    last_seq: int | None,
    records: int | None,
    end_tick: int | None,
    reason: int,
    now: str,
) -> Row:
    known = pb.GapReason.values()
    name = pb.GapReason.Name(pb.GapReason.ValueType(reason)) if reason in known else f"GAP_REASON_{reason}"
    return {
        "outbox": outbox,
        "stream_no": stream_no,
        "first_seq": first_seq,
        "last_seq": last_seq,
        "records": records,
        "end_tick": end_tick,
        "reason": name.removeprefix("GAP_REASON_").lower(),
        "noted_at": now,
    }


def quarantined(outbox: int, item: BatchItem, why: str, now: str) -> Row:
    return {
        "outbox": outbox,
        "stream_no": item.stream_no,
        "seq": item.seq,
        "why": why,
        "received_at": now,
        "content": item.content,
    }


def fault(
    outbox: int,
    vehicle_id: str,
    stream: ActiveStream,
    span: FaultSpan,
    late: bool,
    wall_ns: Callable[[int, int], int],
    *,
    certain: bool,
) -> Row:
    """`wall_ns(stream_no, tick)` labels its ticks; whether these times are `certain`."""
    rule, ended_at = stream.bound.rule(span.code), None
    digits = {one.name: digits_of(one) for one in stream.schema.signals}
    if span.last_stream_no is not None and span.last_tick is not None:
        ended_at = times.to_text(wall_ns(span.last_stream_no, span.last_tick))
    return {
        "vin": vehicle_id,
        "code": span.code,
        "severity": span.severity,
        "description": rule.description,
        "action": rule.action,
        "signal": span.signal,
        "started_at": times.to_text(wall_ns(span.stream_no, span.first_tick)),
        "detected_at": times.to_text(wall_ns(span.stream_no, span.detected_tick)),
        "ended_at": ended_at,
        "end_reason": "cleared" if ended_at else None,
        "peak": None if span.peak is None else _peak(span.peak, digits.get(span.signal)),
        "evidence": _evidence(rule, span, stream.schema.rate_hz, digits) if span.evidence else AS_BEFORE,
        "occurrence": span.occurrence,
        "approximate": span.approximate,
        "late": late,
        "time_uncertain": not certain,
        "outbox": outbox,
        "stream_no": span.stream_no,
        "first_tick": span.first_tick,
        "detected_tick": span.detected_tick,
        "last_stream_no": span.last_stream_no,
        "last_tick": span.last_tick,
    }


def anomaly(
    outbox: int,
    vehicle_id: str,
    episode: Anomaly,
    window_s: int,
    late: bool,
    wall_ns: Callable[[int, int], int],
    *,
    certain: bool,
) -> Row:
    """`wall_ns(stream_no, tick)` labels its ticks; whether these times are `certain`."""
    last_ns = wall_ns(episode.stream_no, episode.last_tick)
    return {
        "vin": vehicle_id,
        "detector": episode.detector,
        "signal": episode.signal,
        "started_at": times.to_text(wall_ns(episode.stream_no, episode.first_tick)),
        "ended_at": times.to_text(last_ns) if episode.ended else None,
        "peak": episode.peak,
        "score": episode.score,
        "confidence": episode.confidence,
        "window_s": window_s,
        "approximate": False,
        "late": late,
        "time_uncertain": not certain,
        "outbox": outbox,
        "stream_no": episode.stream_no,
        "first_tick": episode.first_tick,
        "last_tick": episode.last_tick,
    }


def _peak(peak: float, digits: int | None) -> float:
    """At the signal's resolution, with what a rate or a mean of it has beyond that. `digits`: None of a float signal."""
    return peak if digits is None else round(peak, digits + RECKONED_DIGITS)


def _written(value: float | None, digits: int | None) -> float | None:
    return value if value is None or digits is None else written_number(value, digits)


def _evidence(rule: Rule, span: FaultSpan, rate_hz: int, digits: Mapping[str, int | None]) -> str:
    """JSON. Times are seconds from where the fault was detected."""
    assert span.evidence is not None
    window = {
        "from_s": round((span.evidence.first_tick - span.detected_tick) / rate_hz, 6),
        "step_s": round(span.evidence.step_ticks / rate_hz, 6),
        "values": {
            name: [_written(value, digits.get(name)) for value in values]
            for name, values in span.evidence.values.items()
        },
    }
    at_detection = {
        name: _written(value, digits.get(name)) for name, value in span.evidence.at_detection.items()
    }
    return to_json({"when": rule.when, "at_detection": at_detection, "window": window})


def fault_ended(outbox: int, key: FaultKey, at: Place, wall_ns: int, why: str) -> Row:
    """A fault that ended otherwise than by its rule. `at`: where it was last seen to hold."""
    stream_no, first_tick, code = key
    return {
        "of_outbox": outbox,
        "of_stream_no": stream_no,
        "of_first_tick": first_tick,
        "of_code": code,
        "ended_at": times.to_text(wall_ns),
        "end_reason": why,
        "last_stream_no": at[0],
        "last_tick": at[1],
    }


def fault_paged(outbox: int, fault: Fault) -> Row:
    return {
        "of_outbox": outbox,
        "of_stream_no": fault.stream_no,
        "of_first_tick": fault.first_tick,
        "of_code": fault.code,
        "page": fault.page,
    }


def provisional(
    outbox: int,
    vehicle_id: str,
    rule: Rule,
    shown: Provisional,
    wall_ns: int,
    ended_ns: int | None,
    *,
    certain: bool,
) -> Row:
    """`wall_ns` of its place, `ended_ns` of where it seemed to be over."""
    return {
        "outbox": outbox,
        "code": shown.code,
        "page": shown.page,
        "vin": vehicle_id,
        "severity": shown.severity,
        "description": shown.description,
        "action": rule.action,
        "signal": rule.signals[0],
        "evidence": to_json({"when": rule.when}),
        "rule_hash": shown.rule_hash,
        "detected_at": times.to_text(wall_ns),
        "ended_at": None if ended_ns is None else times.to_text(ended_ns),
        "time_uncertain": not certain,
        "stream_no": shown.stream_no,
        "tick": shown.tick,
        "ended_stream_no": None if shown.ended is None else shown.ended[0],
        "ended_tick": None if shown.ended is None else shown.ended[1],
    }


def notice(
    outbox: int,
    vehicle_id: str,
    told: Notice,
    wall_ns: int,
    ended_ns: int | None,
    now_ns: int,
    *,
    certain: bool,
) -> Row:
    """`wall_ns`: when the fault was detected, as `certain` as that is; `ended_ns`: when it ended."""
    fault = told.fault
    first_tick = fault.first_tick if isinstance(fault, Fault) else fault.tick
    return {
        "kind": told.kind.value,
        "page": told.page,
        "vin": vehicle_id,
        "code": fault.code,
        "severity": fault.severity,
        "description": fault.description,
        "provisional": not isinstance(fault, Fault),
        "detected_at": times.to_text(wall_ns),
        "ended_at": None if ended_ns is None else times.to_text(ended_ns),
        "age_s": max(0.0, round((now_ns - wall_ns) / times.NS, 3)) if certain else None,
        "at": times.to_text(now_ns),
        "outbox": outbox,
        "stream_no": fault.stream_no,
        "first_tick": first_tick,
    }


def heartbeat(item: Beat, latest: str, now: str) -> Row:
    words = health.summary(item.health)
    return {"of_vin": item.key.vehicle, "heartbeat": latest, "health": words, "last_seen": now}
