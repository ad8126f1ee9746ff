"""Blocks that are too old, where an operator sets a limit for them; by default they stay.

Rules
- Whole keyframe groups go, in the order of their outbox, the oldest first: what is left always begins with a keyframe.
- Age is by the time of the record. A stream whose clock was never set, or is ahead of today's, or whose schema is damaged, has none: it
  goes with what came after it in its outbox, never by itself.
- What ingest goes on from stays: of the stream that was stored last its last two hours, which is more than any rule, detector or minute looks
  back, and the last group with it, if the vehicle has been silent for years.
- Expired is not lost: the stream's row says up to which tick, and how many records, and no gap is made of it. A gap goes with the
  blocks before it, once it has been known for as long.
- Outboxes, streams and blobs stay as long as the vehicle: they tell a card that comes back from its twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, exists, func, select, update

from codec.errors import CodecError
from codec.schema import Schema
from collector.store.ledger import sound_blob
from collector.store.tables import batches, blobs, gaps, outboxes, streams
from collector.times import to_text
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine

NS = 1_000_000_000
STAYS_S = 7200  # more than the longest window of a detector, a rule or a fault
DELETED_MAX = 256  # blocks of one transaction: some MB at most, usually some hundred kB
PAGE_STREAMS = 64
CLOCK_AHEAD_NS = 86400 * NS  # a label further in the future is of a clock gone mad


@dataclass(frozen=True, slots=True)
class _Stream:
    """One that has blocks left. `last`: ingest goes on from it."""

    outbox: int
    stream_no: int
    period_ns: int  # 0: its schema is damaged
    offset_ns: int
    synchronised: bool
    first_tick: int
    end_tick: int
    last: bool

    def has_time(self, latest_ns: int) -> bool:
        """Whether its label tells how old it is."""
        began_ns = self.first_tick * self.period_ns + self.offset_ns
        return self.synchronised and self.period_ns > 0 and began_ns <= latest_ns

    @property
    def here(self) -> ColumnElement[bool]:
        return and_(batches.c.outbox == self.outbox, batches.c.stream_no == self.stream_no)


def expire(writing: Engine, reading: Engine, before: datetime, now: datetime) -> int:
    """Delete the blocks of records from before a time. How many. `now`: what is labelled a day after it has no time."""
    before_ns, ahead_ns = (round(one.timestamp()) * NS for one in (before, now))
    periods: dict[bytes, int] = {}
    gone = 0
    with reading.begin() as connection:
        found = connection.execute(select(outboxes.c.id).order_by(outboxes.c.id)).scalars().all()
    for outbox in found:
        untimed: list[_Stream] = []
        for stream in _streams(reading, outbox, periods):
            if not stream.has_time(ahead_ns + CLOCK_AHEAD_NS):
                untimed.append(stream)
                continue
            end_tick = (before_ns - stream.offset_ns) // stream.period_ns
            if stream.first_tick >= end_tick:
                break
            gone += sum(_delete(writing, reading, earlier, earlier.end_tick) for earlier in untimed)
            untimed.clear()
            gone += _delete(writing, reading, stream, end_tick)
            if stream.end_tick > end_tick:
                break
        _settle(writing, reading, outbox, to_text(before_ns))
    return gone


def _streams(reading: Engine, outbox: int, periods: dict[bytes, int]) -> Iterator[_Stream]:
    """Those of an outbox that have blocks, in order."""
    of_stream = and_(batches.c.outbox == streams.c.outbox, batches.c.stream_no == streams.c.stream_no)
    first = select(batches.c.first_tick).where(of_stream).order_by(batches.c.seq).limit(1)
    end = select(batches.c.first_tick + batches.c.record_count).where(of_stream)
    end = end.order_by(batches.c.seq.desc()).limit(1)
    wanted = (
        select(
            streams,
            first.scalar_subquery().label("first_tick"),
            end.scalar_subquery().label("end_tick"),
            func.coalesce(outboxes.c.stored_stream_no, outboxes.c.stream_no).label("last_no"),
        )
        .join(outboxes, outboxes.c.id == streams.c.outbox)
        .where(streams.c.outbox == outbox, streams.c.stream_no >= outboxes.c.expired_streams)
        .where(exists(select(batches.c.seq).where(of_stream)))
        .order_by(streams.c.stream_no)
        .limit(PAGE_STREAMS)
    )
    after = -1
    while True:
        with reading.begin() as connection:
            rows = connection.execute(wanted.where(streams.c.stream_no > after)).all()
            page = [
                _Stream(
                    outbox,
                    row.stream_no,
                    _period_ns(connection, row.schema_hash, periods),
                    row.offset_ns,
                    row.synchronised,
                    row.first_tick,
                    row.end_tick,
                    row.stream_no >= row.last_no,
                )
                for row in rows
            ]
        yield from page
        if len(page) < PAGE_STREAMS:
            return
        after = page[-1].stream_no


def _period_ns(connection: Connection, schema_hash: bytes, known: dict[bytes, int]) -> int:
    """Of the ticks of a schema; 0 where it is damaged."""
    if schema_hash not in known:
        wanted = select(blobs.c.content).where(
            blobs.c.kind == pb.BLOB_KIND_SCHEMA, blobs.c.hash == schema_hash
        )
        content = connection.execute(wanted).scalar_one_or_none()
        try:
            known[schema_hash] = Schema.from_bytes(sound_blob(content or b"", schema_hash) or b"").period_ns
        except CodecError:
            known[schema_hash] = 0
    return known[schema_hash]


def _delete(writing: Engine, reading: Engine, stream: _Stream, end_tick: int) -> int:
    """The groups that end at a tick or before it."""
    if stream.last and not stream.period_ns:
        return 0
    if stream.last:
        stays = STAYS_S * NS // stream.period_ns
        end_tick = min(end_tick, stream.end_tick - stays)
    if not stream.last and stream.end_tick <= end_tick:
        end_seq = None
    else:
        kept = select(func.max(batches.c.seq)).where(
            stream.here, batches.c.keyframe, batches.c.first_tick <= end_tick
        )
        with reading.begin() as connection:
            end_seq = connection.execute(kept).scalar_one()
        if end_seq is None:
            return 0
    return _delete_up_to(writing, stream, end_seq)


def _delete_up_to(writing: Engine, stream: _Stream, end_seq: int | None) -> int:
    """The stream's blocks before end_seq; None: all."""
    gone = 0
    wanted = select(
        batches.c.seq, batches.c.first_tick, batches.c.record_count, batches.c.skip, batches.c.keyframe
    )
    wanted = (
        wanted.where(stream.here) if end_seq is None else wanted.where(stream.here, batches.c.seq < end_seq)
    )
    while True:
        with writing.begin() as connection:
            rows = _whole_groups(connection.execute(wanted.order_by(batches.c.seq).limit(DELETED_MAX)).all())
            if not rows:
                return gone
            connection.execute(delete(batches).where(stream.here, batches.c.seq <= rows[-1].seq))
            of_stream = and_(streams.c.outbox == stream.outbox, streams.c.stream_no == stream.stream_no)
            records = sum(row.record_count - row.skip for row in rows)
            noted = {
                "expired_tick": rows[-1].first_tick + rows[-1].record_count,
                "expired_records": func.coalesce(streams.c.expired_records, 0) + records,
            }
            connection.execute(update(streams).where(of_stream).values(noted))
        gone += len(rows)


def _whole_groups(rows: Sequence[Any]) -> Sequence[Any]:
    """Up to the last that begins in a full page: what builds on it is not here."""
    if len(rows) < DELETED_MAX:
        return rows
    last = next((at for at in range(len(rows) - 1, 0, -1) if rows[at].keyframe), len(rows))
    return rows[:last]


def _settle(writing: Engine, reading: Engine, outbox: int, before: str) -> None:
    """Gaps with nothing before them any more, and where the outbox's first stream is that has something."""
    earlier = and_(
        batches.c.outbox == gaps.c.outbox,
        batches.c.stream_no == gaps.c.stream_no,
        batches.c.seq < gaps.c.first_seq,
    )
    last = func.coalesce(outboxes.c.stored_stream_no, outboxes.c.stream_no)
    last_no = select(last).where(outboxes.c.id == outbox).scalar_subquery()
    old = [
        *(gaps.c.outbox == outbox, gaps.c.noted_at < before, gaps.c.stream_no < last_no),
        ~exists(select(batches.c.seq).where(earlier)),
    ]
    first = select(func.min(batches.c.stream_no)).where(batches.c.outbox == outbox).scalar_subquery()
    empty = case((first < last_no, first), else_=last_no)
    known = select(outboxes.c.expired_streams, empty).where(outboxes.c.id == outbox)
    with reading.begin() as connection:
        was, now = connection.execute(known).one()
        any_gap = connection.execute(select(gaps.c.first_seq).where(*old).limit(1)).first()
    if any_gap:
        with writing.begin() as connection:
            connection.execute(delete(gaps).where(*old))
    if now is not None and now > was:
        with writing.begin() as connection:
            connection.execute(update(outboxes).where(outboxes.c.id == outbox).values(expired_streams=now))
