"""What ingest reads of what was found in records."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from collector.detectors.episodes import Episode
from collector.store.tables import anomalies, batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

KEYFRAMES_MAX = 100  # that are asked for a time: the first one knows it, nearly always


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


def last_group(connection: Connection, outbox: int, stream_no: int) -> tuple[int | None, dict[int, range]]:
    """See `Ledger.last_group`."""
    here = and_(batches.c.outbox == outbox, batches.c.stream_no == stream_no)
    newest = select(func.max(batches.c.seq)).where(here, batches.c.keyframe)
    keyframe = connection.execute(newest).scalar()
    if keyframe is None:
        return None, {}
    end = select(batches.c.first_tick + batches.c.record_count).where(here, batches.c.seq < keyframe)
    before = connection.execute(end.order_by(batches.c.seq.desc()).limit(1)).scalar()
    return before, ticks(connection, outbox, stream_no, keyframe)


def own_end(connection: Connection, outbox: int, stream_no: int, end_seq: int) -> int | None:
    """See `Ledger.own_end`."""
    end = select(batches.c.first_tick + batches.c.record_count).where(
        batches.c.outbox == outbox,
        batches.c.stream_no == stream_no,
        batches.c.seq < end_seq,
        batches.c.skip < batches.c.record_count,
    )
    return connection.execute(end.order_by(batches.c.seq.desc()).limit(1)).scalar()


def sound_keyframes(
    connection: Connection, outbox: int, stream_nos: Sequence[int]
) -> Iterator[tuple[int, int, bytes]]:
    """See `Ledger.sound_keyframes`."""
    wanted = select(batches.c.stream_no, batches.c.seq, batches.c.content, batches.c.crc).where(
        batches.c.outbox == outbox,
        batches.c.stream_no.in_(stream_nos),
        batches.c.keyframe,
        batches.c.doubtful.is_(False),
    )
    for row in connection.execute(wanted.order_by(batches.c.stream_no, batches.c.seq).limit(KEYFRAMES_MAX)):
        if zlib.crc32(row.content) == row.crc:
            yield row.stream_no, row.seq, row.content
