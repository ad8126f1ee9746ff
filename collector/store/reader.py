"""Reading the store: lists of rows, and records at full rate, decoded from the blocks.

No read holds a transaction for longer than it takes to fetch a page: a long export must not keep the write-ahead log
from being checkpointed.
"""

from __future__ import annotations

import itertools
import json
import weakref
import zlib
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, select, tuple_

from codec.errors import CodecError
from codec.guards import GuardSet
from codec.priors import Prior, built_in
from codec.schema import Schema
from codec.stream_decoder import StreamDecoder
from collector.reading.signals import QueryError, nearest
from collector.reading.vehicle import Vehicle
from collector.store import wanted as wanted_rows
from collector.store.address import Address, address_of
from collector.store.engine import explained, open_engine
from collector.store.errors import StoreError
from collector.store.fault_rows import UNKNOWN, wanted_faults, wanted_provisional_faults
from collector.store.ledger import facts_of, sound_blob, wanted_blob
from collector.store.stored import (
    Counted,
    StoredGroup,
    StoredMinutes,
    StoredRun,
    StoredStream,
    StreamSpan,
    sound_block,
)
from collector.store.tables import (
    anomalies,
    batches,
    blobs,
    faults,
    gaps,
    notices,
    outboxes,
    priors,
    streams,
    telemetry_logs,
    vehicles,
)
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Column, Select


PAGE_BATCHES = 256  # blocks fetched in one transaction
PAGE_ROWS = 1000
PAGE_COUNTED = 50_000  # blocks counted in one transaction, some 100 ms


class Store:
    """A store opened for reading. Every method may be called from any thread."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._engine = open_engine(address, write=False)
        weakref.finalize(self, self._engine.dispose)  # its connections end with it
        self._schemas: dict[bytes, Schema] = {}
        self.unreadable = 0  # blocks that `runs` left out so far: damaged on disk, or built on one that is

    def vehicles(self, *, counted: bool = True) -> list[dict[str, Any]]:
        """One row per vehicle, by VIN. `records` and `batches` are those that are stored; counting them takes a while."""
        received = (
            select(outboxes.c.vin, func.max(outboxes.c.received_at).label("received_at"))
            .group_by(outboxes.c.vin)
            .subquery()
        )
        opened = (
            select(faults.c.vin, func.count().label("open_faults"))
            .where(faults.c.ended_at.is_(None))
            .group_by(faults.c.vin)
            .subquery()
        )
        wanted = (
            select(vehicles, received.c.received_at, opened.c.open_faults)
            .outerjoin(received, received.c.vin == vehicles.c.vin)
            .outerjoin(opened, opened.c.vin == vehicles.c.vin)
            .order_by(vehicles.c.vin)
        )
        rows = self._rows(wanted)
        owners = {row.id: row.vin for row in self._fetch(select(outboxes.c.id, outboxes.c.vin))}
        stored: defaultdict[str, Counted] = defaultdict(Counted)
        for (outbox, _), count in self._counted(list(owners) if counted else []).items():
            stored[owners[outbox]] += count
        for row in rows:
            row["last_seen"] = max(row["last_seen"], row.pop("received_at") or "")
            if counted:
                row |= {"batches": stored[row["vin"]].batches, "records": stored[row["vin"]].records}
            row["open_faults"] = row["open_faults"] or 0
            row["heartbeat"] = json.loads(row["heartbeat"]) if row["heartbeat"] else None
        return rows

    def newest_ns(self) -> dict[str, int]:
        """{vin: wall time of its newest record}, of vehicles whose clock was set then."""
        newest: dict[str, int] = {}
        for row in self._fetch(wanted_rows.newest()):
            if row.end_tick is not None:
                with suppress(StoreError):  # a damaged schema, of one vehicle
                    at = (row.end_tick - 1) * self.schema(row.schema_hash).period_ns + row.offset_ns
                    newest[row.vin] = max(at, newest.get(row.vin, at))
        return newest

    def vins(self) -> list[str]:
        """Of every vehicle."""
        return [row.vin for row in self._fetch(select(vehicles.c.vin).order_by(vehicles.c.vin))]

    def vehicle(self, vin: str) -> Vehicle:
        """One vehicle, to read its signals. Raises QueryError, which names those that are known."""
        known = self.vins()
        spelt = vin if vin.startswith("asset:") else vin.upper()
        if spelt not in known:
            raise QueryError(f"no vehicle {vin} in {self.address}; {nearest(vin, known)}")
        return Vehicle(self, spelt)

    def faults(
        self,
        vin: str | None = None,
        *,
        severity: str | None = None,
        only_open: bool = False,
        after_id: int = 0,
    ) -> list[dict[str, Any]]:
        """One row per fault, in the order in which they were detected. `after_id`: those that are open or came later."""
        wanted = wanted_faults(vin, severity, only_open=only_open, after_id=after_id)
        rows = self._paged(wanted, faults.c.id)
        for row in rows:
            row["evidence"] = json.loads(row["evidence"])
        return rows

    def provisional_faults(
        self, vin: str | None = None, *, severity: str | None = None
    ) -> list[dict[str, Any]]:
        """Shown by heartbeats while a backlog drains, beyond what is stored; like `faults`, as far as that is known by then."""
        wanted = wanted_provisional_faults(vin, severity)
        return [
            row | UNKNOWN | {"evidence": json.loads(row["evidence"]), "provisional": True}
            for row in self._rows(wanted)
        ]

    def live(self, vin: str | None = None) -> list[dict[str, Any]]:
        """What heartbeats show of now, of vehicles of which less is stored: {vin, timestamp, data, guards}, provisional all of it."""
        wanted = select(vehicles.c.vin, vehicles.c.heartbeat).where(vehicles.c.heartbeat.is_not(None))
        wanted = wanted.order_by(vehicles.c.vin)
        rows = self._fetch(wanted if vin is None else wanted.where(vehicles.c.vin == vin))
        beats = {row.vin: json.loads(row.heartbeat) for row in rows}
        of = [beat["outbox"] for beat in beats.values() if "data" in beat and "outbox" in beat]
        positions = select(outboxes.c.id, outboxes.c.stream_no, outboxes.c.end_tick).where(
            outboxes.c.id.in_(of)
        )
        stored = {row.id: (row.stream_no, row.end_tick) for row in self._fetch(positions)}
        return [
            {
                "vin": vin,
                "timestamp": beat["timestamp"],
                "data": beat["data"],
                "guards": beat.get("guards", {}),
            }
            for vin, beat in beats.items()
            if "data" in beat and _beyond(beat, stored.get(beat.get("outbox")))
        ]

    def notices(self, after_id: int = 0, limit: int = PAGE_ROWS) -> list[dict[str, Any]]:
        """What there is to tell people, after the notice of this id, in order."""
        return self._rows(select(notices).where(notices.c.id > after_id).order_by(notices.c.id).limit(limit))

    def anomalies(self, vin: str | None = None, *, only_open: bool = False) -> list[dict[str, Any]]:
        """One row per episode of a detector, in the order in which they began."""
        wanted = select(anomalies).order_by(anomalies.c.started_at, anomalies.c.id)
        wanted = wanted if vin is None else wanted.where(anomalies.c.vin == vin)
        if only_open:
            wanted = wanted.where(anomalies.c.ended_at.is_(None))
        return self._paged(wanted, anomalies.c.id)

    def gaps(self, vin: str | None = None) -> list[dict[str, Any]]:
        """One row per gap. `records` is None where nobody knows."""
        wanted = select(outboxes.c.vin, gaps).join(outboxes, outboxes.c.id == gaps.c.outbox)
        wanted = wanted.order_by(outboxes.c.vin, gaps.c.outbox, gaps.c.stream_no, gaps.c.first_seq)
        return self._rows(wanted if vin is None else wanted.where(outboxes.c.vin == vin))

    def streams(self, vin: str | None = None) -> list[StoredStream]:
        """Every stream, in the order of outbox and stream_no."""
        wanted = (
            select(outboxes.c.vin, outboxes.c.outbox_id, streams)
            .join(outboxes, outboxes.c.id == streams.c.outbox)
            .order_by(streams.c.outbox, streams.c.stream_no)
        )
        if vin is not None:
            wanted = wanted.where(outboxes.c.vin == vin)
        rows = self._fetch(wanted)
        counted = self._counted(sorted({row.outbox for row in rows}))
        return [
            StoredStream(
                row.vin,
                row.outbox_id,
                facts_of(row),
                self.schema(row.schema_hash),
                row.offset_ns,
                row.synchronised,
                *counted.get((row.outbox, row.stream_no), Counted()),
                row.expired_records or 0,
            )
            for row in rows
        ]

    def expired_ns(self, vin: str) -> int | None:
        """Wall time up to which records of a vehicle were deleted for their age; None: none were. They are no gap."""
        ends = [
            row.expired_tick * self.schema(row.schema_hash).period_ns + row.offset_ns
            for row in self._fetch(wanted_rows.expired(vin))
        ]
        return max(ends, default=None)

    def _counted(self, of: Sequence[int]) -> dict[tuple[int, int], Counted]:
        """What is stored of each (outbox, stream_no) of these outboxes."""
        counted: defaultdict[tuple[int, int], Counted] = defaultdict(Counted)
        key = (batches.c.stream_no, batches.c.seq)
        sizes_of = (
            (batches.c.record_count - batches.c.skip).label("records"),
            func.length(batches.c.content).label("bytes"),
            case((batches.c.doubtful, batches.c.record_count - batches.c.skip), else_=0).label("doubtful"),
        )
        for outbox in of:
            after: tuple[int, int] | None = (-1, -1)
            while after is not None:
                rest = select(*key, *sizes_of).where(batches.c.outbox == outbox, tuple_(*key) > after)
                page = rest.order_by(*key).limit(PAGE_COUNTED).subquery()
                sums = select(
                    page.c.stream_no,
                    func.count(),
                    func.sum(page.c.records),
                    func.sum(page.c.bytes),
                    func.sum(page.c.doubtful),
                    func.max(page.c.seq),
                )
                rows = self._fetch(sums.group_by(page.c.stream_no).order_by(page.c.stream_no))
                for stream_no, *sizes, _ in rows:
                    counted[outbox, stream_no] += Counted(*sizes)
                full = sum(row[1] for row in rows) == PAGE_COUNTED
                after = (rows[-1][0], rows[-1][-1]) if full else None
        return counted

    def spans(self, vin: str, start_ns: int | None = None, end_ns: int | None = None) -> list[StreamSpan]:
        """Streams that may have records with start_ns <= wall time < end_ns, by (outbox, stream_no)."""
        found = [
            StreamSpan(
                vin,
                row.outbox,
                row.outbox_id,
                facts_of(row),
                self.schema(row.schema_hash),
                row.offset_ns,
                row.synchronised,
                row.first_tick,
                row.end_tick,
            )
            for row in self._fetch(wanted_rows.spans(vin))
            if row.first_tick is not None
        ]
        return [
            span
            for span in found
            if (start_ns is None or span.end_ns > start_ns) and (end_ns is None or span.start_ns < end_ns)
        ]

    def runs(self, vin: str, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[StoredRun]:
        """Records at full rate with start_ns <= wall time < end_ns, block by block, by (outbox, stream_no, seq).

        What lies in a gap, or in a row that does not pass its checksum, is not there: nothing is ever interpolated.
        """
        for span in self.spans(vin, start_ns, end_ns):
            yield from self.runs_of(span, start_ns, end_ns)

    def runs_of(
        self, span: StreamSpan, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[StoredRun]:
        """Those of one stream."""
        low = None if start_ns is None else span.tick_at(start_ns)
        high = None if end_ns is None else span.tick_at(end_ns)
        for row, records, guards_hash in self._decoded(span, low, high):
            first = row.skip if low is None else max(row.skip, low - records.first_tick)
            last = len(records) if high is None else min(len(records), high - records.first_tick)
            if first >= last:
                continue
            part = records if last - first == len(records) else records.slice(first, last)
            yield StoredRun(
                span.vin,
                span.outbox_id,
                span.schema,
                span.facts,
                row.seq,
                span.offset_ns,
                span.synchronised,
                part,
                row.late,
                row.doubtful,
                guards_hash,
            )

    def minutes(self, span: StreamSpan, signal: str, low: int, high: int) -> StoredMinutes:
        """The rolled-up minutes of a signal that begin at a tick low <= tick < high."""
        return StoredMinutes.of(self._fetch(wanted_rows.minutes(span, signal, low, high)))

    def newest_groups(
        self, schema_hash: bytes, records_max: int, vin: str | None = None
    ) -> list[StoredGroup]:
        """The newest keyframe groups of a schema, of one vehicle or of all, with so many records at most; oldest first."""
        schema = self.schema(schema_hash)
        wanted = select(streams).join(outboxes, outboxes.c.id == streams.c.outbox)
        wanted = wanted.where(streams.c.schema_hash == schema_hash)
        if vin is not None:
            wanted = wanted.where(outboxes.c.vin == vin)
        found: list[StoredGroup] = []
        newest = sorted(
            self._fetch(wanted), key=lambda row: row.origin_tick * schema.period_ns + row.offset_ns
        )
        for stream in reversed(newest):
            for group in self._groups_backwards(stream, len(schema.signals)):
                records_max -= group.records
                if records_max < 0:
                    return found[::-1]
                found.append(group)
        return found[::-1]

    def _groups_backwards(self, stream: Any, signals: int) -> Iterator[StoredGroup]:
        of_stream = and_(batches.c.outbox == stream.outbox, batches.c.stream_no == stream.stream_no)
        places = select(batches.c.seq).where(of_stream, batches.c.keyframe).order_by(batches.c.seq.desc())
        end, find = None, partial(self._prior, signals)
        for (seq,) in self._fetch(places):
            wanted = select(batches).where(of_stream, batches.c.seq >= seq).order_by(batches.c.seq)
            rows = self._fetch(wanted if end is None else wanted.where(batches.c.seq < end))
            end = seq
            sound = list(itertools.takewhile(lambda row: zlib.crc32(row.content) == row.crc, rows))
            blocks = tuple((row.seq, row.content) for row in sound)
            yield StoredGroup(facts_of(stream), blocks, sum(row.record_count for row in sound), find)

    def offered_prior(self, schema: Schema) -> Prior:
        """What vehicles of this schema are offered: the built-in prior if none was trained, or it is damaged."""
        found = self._fetch(select(priors.c.prior_hash).where(priors.c.schema_hash == schema.hash))
        try:
            return (found and self._prior(len(schema.signals), found[0].prior_hash)) or built_in()
        except CodecError:
            return built_in()

    def offered_priors(self) -> list[dict[str, Any]]:
        """One row per schema that a prior was trained for. `vehicles`: how many have sent blocks that start from it."""
        using = (
            select(streams.c.prior_hash, func.count(outboxes.c.vin.distinct()).label("vehicles"))
            .join(outboxes, outboxes.c.id == streams.c.outbox)
            .group_by(streams.c.prior_hash)
            .subquery()
        )
        wanted = (
            select(priors, func.length(blobs.c.content).label("bytes"), using.c.vehicles)
            .outerjoin(blobs, and_(blobs.c.kind == pb.BLOB_KIND_PRIOR, blobs.c.hash == priors.c.prior_hash))
            .outerjoin(using, using.c.prior_hash == priors.c.prior_hash)
            .order_by(priors.c.schema_hash)
        )
        return [
            {
                "schema": row.schema_hash.hex(),
                "signals": len(self.schema(row.schema_hash).signals),
                "prior": row.prior_hash.hex(),
                "bytes": row.bytes,
                "saved_percent": round(100 * row.gain, 2),
                "saved_bytes_per_hour": round(row.saved_per_hour),
                "trained_on_hours": round(row.hours, 2),
                "trained_at": row.trained_at,
                "vehicles": row.vehicles or 0,
            }
            for row in self._fetch(wanted)
        ]

    def latest(self, after_id: int, vin: str | None = None, limit: int = PAGE_ROWS) -> list[dict[str, Any]]:
        """Rows of telemetry_logs that arrived after the one of this id, in the order of arrival."""
        wanted = (
            select(telemetry_logs)
            .where(telemetry_logs.c.id > after_id)
            .order_by(telemetry_logs.c.id)
            .limit(limit)
        )
        return self._rows(wanted if vin is None else wanted.where(telemetry_logs.c.vin == vin))

    def last_id(self, before: int, vin: str | None = None) -> int:
        """Id after which the last `before` rows of telemetry_logs came."""
        wanted = select(telemetry_logs.c.id).order_by(telemetry_logs.c.id.desc()).offset(before).limit(1)
        found = self._fetch(wanted if vin is None else wanted.where(telemetry_logs.c.vin == vin))
        return int(found[0].id) if found else 0

    def schema(self, schema_hash: bytes) -> Schema:
        """A schema that some stored stream has. Raises StoreError where it is damaged."""
        if schema_hash not in self._schemas:
            found = self._fetch(wanted_blob(pb.BLOB_KIND_SCHEMA, schema_hash))
            content = sound_blob(found[0].content, schema_hash) if found else None
            if content is None:
                damaged = f"schema {schema_hash.hex()} is damaged; take its row of `blobs` from a backup"
                raise StoreError(f"{self.address}: {damaged}")
            self._schemas[schema_hash] = Schema.from_bytes(content)
        return self._schemas[schema_hash]

    def schemas(self) -> list[Schema]:
        """Those of every stream that was described."""
        return [self.schema(row.schema_hash) for row in self._fetch(select(streams.c.schema_hash).distinct())]

    def guards(self, name: bytes) -> GuardSet | None:
        """A guard set by its hash; None where it is not here, as the one without a name."""
        found = self._fetch(wanted_blob(pb.BLOB_KIND_GUARDS, name))
        content = sound_blob(found[0].content, name) if found else None
        return None if content is None else GuardSet.from_bytes(content)

    def _decoded(self, span: StreamSpan, low: int | None, high: int | None) -> Iterator[tuple[Any, ...]]:
        """(row, records, guards) of the stream's sound blocks from the keyframe at or before tick `low` on.

        Where a block claims the ticks of the one after it, as one that came out wrong may, that one has them: none comes twice.
        """
        find = partial(self._prior, len(span.schema.signals))
        decoder = StreamDecoder(span.schema, span.facts, find_prior=find)
        of_stream = and_(batches.c.outbox == span.outbox, batches.c.stream_no == span.facts.stream_no)
        seq, guards_hash = 0, b""
        if low is not None:
            before = and_(of_stream, batches.c.keyframe, batches.c.first_tick <= low)
            seq = self._fetch(select(func.max(batches.c.seq)).where(before))[0][0] or 0
        while True:
            page = (
                select(batches)
                .where(of_stream, batches.c.seq >= seq)
                .order_by(batches.c.seq)
                .limit(PAGE_BATCHES)
            )
            rows = self._fetch(page)
            is_last = len(rows) < PAGE_BATCHES
            for row, after in itertools.zip_longest(rows if is_last else rows[:-1], rows[1:]):
                if high is not None and row.first_tick >= high:
                    return
                decoded = sound_block(row, decoder)
                if decoded is None:
                    self.unreadable += 1
                    continue
                guards_hash = guards_hash if decoded.keyframe is None else decoded.keyframe.guards_hash
                records = decoded.records
                if after is not None and after.first_tick < records.end_tick:
                    records = records.until(after.first_tick)
                yield row, records, guards_hash
            if is_last:
                return
            seq = rows[-1].seq

    def _prior(self, signals: int, name: bytes) -> Prior | None:
        found = self._fetch(wanted_blob(pb.BLOB_KIND_PRIOR, name))
        content = sound_blob(found[0].content, name) if found else None
        return None if content is None else Prior.from_bytes(content, signals)

    def _fetch(self, statement: Select[Any]) -> list[Any]:
        with explained(self.address), self._engine.begin() as connection:
            return list(connection.execute(statement))

    def _paged(self, wanted: Select[Any], number: Column[int]) -> list[dict[str, Any]]:
        """Rows with much in each: which ones in one transaction, and what is in them page by page."""
        found = [row[0] for row in self._fetch(wanted.with_only_columns(number, maintain_column_froms=True))]
        rows: dict[int, dict[str, Any]] = {}
        for at in range(0, len(found), PAGE_ROWS):
            page = wanted.order_by(None).where(number.in_(found[at : at + PAGE_ROWS]))
            rows.update((row[number.key], row) for row in self._rows(page))
        return [rows[one] for one in found if one in rows]

    def _rows(self, statement: Select[Any]) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in self._fetch(statement)]  # noqa: SLF001


def _beyond(beat: dict[str, Any], stored: tuple[int, int | None] | None) -> bool:
    """Whether a heartbeat lies beyond what is stored of its outbox."""
    if stored is None:
        return False
    stream_no, end_tick = stored
    return (beat["stream_no"], beat["tick"]) >= (stream_no, beat["tick"] if end_tick is None else end_tick)


def open_store(where: Address | Path | str) -> Store:
    """The store at this path or URL, for reading. Raises StoreError."""
    try:
        return Store(address_of(where))
    except ValueError as error:
        raise StoreError(str(error)) from None
