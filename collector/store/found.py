"""What was found in records: the rows of detectors, and what is put right later in these and those of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, case, delete, select, update

from collector.detectors.episodes import Episode
from collector.store.engine import insert_new, of_stream, time_of, upsert
from collector.store.tables import anomalies, batches, faults, telemetry_logs

if TYPE_CHECKING:
    from sqlalchemy import Connection


def open_anomalies(connection: Connection, outbox: int) -> list[Episode]:
    """See `Ledger.open_anomalies`."""
    wanted = (
        select(anomalies)
        .where(anomalies.c.outbox == outbox, anomalies.c.ended_at.is_(None))
        .order_by(anomalies.c.id)
    )
    return [
        Episode(
            row.detector,
            row.signal,
            row.stream_no,
            row.first_tick,
            row.last_tick,
            row.peak,
            row.score,
            row.confidence,
        )
        for row in connection.execute(wanted)
    ]


PUT_ANOMALY = upsert(
    anomalies,
    ["outbox", "stream_no", "first_tick", "detector", "signal"],
    ["ended_at", "peak", "score", "confidence", "late", "last_tick"],
)
SET_TIMES = (
    update(telemetry_logs)
    .where(of_stream(telemetry_logs.c.outbox, telemetry_logs.c.stream_no))
    .values(timestamp=time_of(telemetry_logs.c.tick), time_uncertain=bindparam("uncertain")),
    update(faults)
    .where(of_stream(faults.c.outbox, faults.c.stream_no))
    .values(
        started_at=time_of(faults.c.first_tick),
        detected_at=time_of(faults.c.detected_tick),
        time_uncertain=bindparam("uncertain"),
    ),
    update(faults)
    .where(of_stream(faults.c.outbox, faults.c.last_stream_no), faults.c.ended_at.is_not(None))
    .values(ended_at=time_of(faults.c.last_tick)),
    update(anomalies)
    .where(of_stream(anomalies.c.outbox, anomalies.c.stream_no))
    .values(
        started_at=time_of(anomalies.c.first_tick),
        ended_at=case((anomalies.c.ended_at.is_not(None), time_of(anomalies.c.last_tick))),
        time_uncertain=bindparam("uncertain"),
    ),
)
APPROXIMATE = (
    update(faults)
    .where(
        faults.c.outbox == bindparam("of_outbox"),
        faults.c.stream_no == bindparam("of_stream_no"),
        faults.c.first_tick < bindparam("of_end_tick"),
        (faults.c.last_tick.is_(None)) | (faults.c.last_tick >= bindparam("of_first_tick")),
    )
    .values(approximate=True),
    update(anomalies)
    .where(
        of_stream(anomalies.c.outbox, anomalies.c.stream_no),
        anomalies.c.first_tick < bindparam("of_end_tick"),
        anomalies.c.last_tick >= bindparam("of_first_tick"),
    )
    .values(approximate=True),
)

_DROP_SECONDS = delete(telemetry_logs).where(
    of_stream(telemetry_logs.c.outbox, telemetry_logs.c.stream_no),
    telemetry_logs.c.tick >= bindparam("of_first_tick"),
    telemetry_logs.c.tick < bindparam("of_end_tick"),
)
SECONDS = {  # in this order
    "telemetry_gone": _DROP_SECONDS,
    "telemetry": insert_new(telemetry_logs),
    "telemetry_replaced": upsert(telemetry_logs, ["outbox", "stream_no", "tick"], ["timestamp", "data"]),
}


def ticks(connection: Connection, outbox: int, stream_no: int, first_seq: int) -> dict[int, range]:
    """See `Ledger.ticks`."""
    wanted = select(batches.c.seq, batches.c.first_tick, batches.c.record_count).where(
        batches.c.outbox == outbox, batches.c.stream_no == stream_no, batches.c.seq >= first_seq
    )
    rows = connection.execute(wanted)
    return {row.seq: range(row.first_tick, row.first_tick + row.record_count) for row in rows}
