"""What readers of the store ask of it: the longer statements, for both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from collector.store.tables import batches, outboxes, rollups, streams

if TYPE_CHECKING:
    from sqlalchemy import Select

    from collector.store.stored import StreamSpan

_OF_STREAM = and_(batches.c.outbox == streams.c.outbox, batches.c.stream_no == streams.c.stream_no)
_FIRST_TICK = select(batches.c.first_tick).where(_OF_STREAM).order_by(batches.c.seq).limit(1)
_END_TICK = (
    select(batches.c.first_tick + batches.c.record_count)
    .where(_OF_STREAM)
    .order_by(batches.c.seq.desc())
    .limit(1)
)


def spans(vin: str) -> Select[Any]:
    """Streams of a vehicle with first_tick and end_tick of what is stored (none: nothing is), by (outbox, stream_no)."""
    first, end = _FIRST_TICK.scalar_subquery(), _END_TICK.scalar_subquery()
    return (
        select(outboxes.c.outbox_id, streams, first.label("first_tick"), end.label("end_tick"))
        .join(outboxes, outboxes.c.id == streams.c.outbox)
        .where(outboxes.c.vin == vin)
        .order_by(streams.c.outbox, streams.c.stream_no)
    )


def newest() -> Select[Any]:
    """Of every outbox the stream that is stored last, where its clock was set: vin, schema_hash, offset_ns, end_tick."""
    of_last = and_(streams.c.outbox == outboxes.c.id, streams.c.stream_no == outboxes.c.stored_stream_no)
    end = func.coalesce(_END_TICK.scalar_subquery(), streams.c.expired_tick).label("end_tick")
    wanted = select(outboxes.c.vin, streams.c.schema_hash, streams.c.offset_ns, end)
    return wanted.join(streams, of_last).where(streams.c.synchronised)


def expired(vin: str) -> Select[Any]:
    """Of every outbox of a vehicle the newest stream of which records were deleted for their age."""
    newest = (
        select(func.max(streams.c.stream_no))
        .where(streams.c.outbox == outboxes.c.id, streams.c.expired_tick.is_not(None), streams.c.synchronised)
        .correlate(outboxes)
    )
    wanted = select(streams.c.schema_hash, streams.c.offset_ns, streams.c.expired_tick)
    return wanted.join(outboxes, outboxes.c.id == streams.c.outbox).where(
        outboxes.c.vin == vin, streams.c.stream_no == newest.scalar_subquery()
    )


def minutes(span: StreamSpan, signal: str, low: int, high: int) -> Select[Any]:
    """tick, min, max, mean, count of a signal's minutes that begin at a tick low <= tick < high, in order."""
    return (
        select(rollups.c.tick, rollups.c.min, rollups.c.max, rollups.c.mean, rollups.c.count)
        .where(
            rollups.c.vin == span.vin,
            rollups.c.signal == signal,
            rollups.c.outbox == span.outbox,
            rollups.c.stream_no == span.facts.stream_no,
            rollups.c.tick >= low,
            rollups.c.tick < high,
        )
        .order_by(rollups.c.tick)
    )
