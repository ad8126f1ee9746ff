"""What ingest reads of what was found in records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from collector.detectors.episodes import Episode
from collector.store.tables import anomalies, batches

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


def ticks(connection: Connection, outbox: int, stream_no: int, first_seq: int) -> dict[int, range]:
    """See `Ledger.ticks`."""
    wanted = select(batches.c.seq, batches.c.first_tick, batches.c.record_count).where(
        batches.c.outbox == outbox, batches.c.stream_no == stream_no, batches.c.seq >= first_seq
    )
    rows = connection.execute(wanted)
    return {row.seq: range(row.first_tick, row.first_tick + row.record_count) for row in rows}
