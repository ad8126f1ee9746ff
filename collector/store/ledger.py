"""The writer's side of the store: one transaction, with the reads that ingest needs and the rows that it decided.

One writer at a time holds a ledger. Several processes may (serve and import, or many collectors of one database): an outbox's
revision tells if another one wrote to it, and then nothing of the transaction stands.
"""

from __future__ import annotations

import hashlib
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from codec.schema import HASH_BYTES, Schema
from codec.stream import Clock, StreamFacts
from collector.battery import BatteryState
from collector.diagnosis import DiagnosisState
from collector.ingest.changes import Changes, Row, SavedOutbox, Saving
from collector.ingest.labels import Label
from collector.ingest.paging import Fault, Paging, Provisional
from collector.ingest.progress import Progress
from collector.ingest.twins import Elsewhere
from collector.items import Description, OutboxKey, Position
from collector.rules import RuleState
from collector.store import found, rowwise, statements
from collector.store.address import Address, address_of
from collector.store.engine import explained, open_engine
from collector.store.errors import StoreBusy
from collector.store.tables import (
    batches,
    blobs,
    faults,
    gaps,
    outboxes,
    priors,
    provisional_faults,
    streams,
    vehicles,
)
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Select

    from collector.detectors.episodes import Episode

_State = TypeVar("_State")

CLAIMED_MAX = 500  # outboxes in one statement
_WRITTEN = "another process wrote to the same outbox; reading it again"


class StoreLedger:
    """The write connection. Opened at once; raises StoreError."""

    def __init__(self, where: Address | Path | str) -> None:
        self.address = address_of(where)
        self._engine = open_engine(self.address, write=True)
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits at the end. Raises StoreUnavailable or StoreError; then nothing was changed, as far as anybody can tell."""
        try:
            with explained(self.address):
                if self._connection is None:
                    self._connection = self._engine.connect()
                with self._connection.begin():
                    yield Transaction(self._connection)
        except BaseException:
            # A connection that met an I/O error may be in any state: the next transaction gets a fresh one.
            self.close()
            raise

    def nobody_is_online(self, now: str) -> None:
        """A collector that starts has no conversations; the one before may not have been able to say so."""
        with self.transaction() as transaction:
            transaction.execute(update(vehicles).where(vehicles.c.state == "online").values(state="offline"))
            told = {"of_written_by": "start of the collector", "of_at": now}
            transaction.execute(statements.health_changed(None), told)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()


class Transaction:
    """Implements `collector.ingest.changes.Ledger`. Rows are collected and written together, at the end or before a read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._claimed: set[int] = set()
        self._periods: dict[bytes, int] = {}  # by schema
        self.changes = Changes()

    def open_outbox(self, key: OutboxKey, now: str) -> SavedOutbox:
        saved = self.find_outbox(key)
        if saved is None:
            vehicle = {"vin": key.vehicle, "state": "offline", "first_seen": now, "last_seen": now}
            self._connection.execute(statements.insert_new(self._dialect, vehicles), vehicle)
            state = RuleState(opened=self._occurrences(key.vehicle)).to_text()
            outbox = {"vin": key.vehicle, "outbox_id": key.outbox_id, "rule_state": state}
            self._connection.execute(statements.insert_new(self._dialect, outboxes), outbox)
            saved = self.find_outbox(key)
        assert saved is not None
        return saved

    def _occurrences(self, vehicle: str) -> dict[str, int]:
        """How many faults of each code the vehicle had so far, in whichever outbox, those that are too old to be here too."""
        self._write("faults")
        counted = select(faults.c.code, func.max(faults.c.occurrence)).where(faults.c.vin == vehicle)
        had = {row[0]: int(row[1]) for row in self._connection.execute(counted.group_by(faults.c.code))}
        of_others = select(outboxes.c.rule_state).where(outboxes.c.vin == vehicle)
        for text in self._connection.execute(of_others).scalars():
            opened = (_readable(RuleState.from_text, text) or RuleState()).opened
            had |= {code: max(count, had.get(code, 0)) for code, count in opened.items()}
        return had

    def find_outbox(self, key: OutboxKey) -> SavedOutbox | None:
        wanted = (
            select(outboxes, vehicles.c.model)
            .join(vehicles, vehicles.c.vin == outboxes.c.vin)
            .where(outboxes.c.vin == key.vehicle, outboxes.c.outbox_id == key.outbox_id)
        )
        row = self._connection.execute(wanted).one_or_none()
        if row is None:
            return None
        stored = None if row.stored_stream_no is None else Position(row.stored_stream_no, row.stored_seq)
        progress = Progress(
            wanted=Position(row.stream_no, row.next_seq),
            stored=stored,
            record_count=row.record_count,
            end_tick=row.end_tick,
            group_seq=row.group_seq,
            open_gap_seq=row.open_gap_seq,
        )
        rules = _readable(RuleState.from_text, row.rule_state)  # None: they begin anew
        return SavedOutbox(
            row.id,
            row.revision,
            progress,
            rules or RuleState(opened=self._occurrences(key.vehicle)),
            self.changes.vehicles.get(key.vehicle, {}).get("model") or row.model,
            _readable(BatteryState.from_text, row.battery_state) or BatteryState(),
            _readable(DiagnosisState.from_text, row.diagnosis_state) or DiagnosisState(),
            row.full_rate_until,
        )

    def description(self, outbox: int, key: OutboxKey, stream_no: int) -> Description | None:
        self._write("streams", "stream_labels")
        wanted = select(streams).where(streams.c.outbox == outbox, streams.c.stream_no == stream_no)
        row = self._connection.execute(wanted).one_or_none()
        return None if row is None else _description(row, key)

    def elsewhere(self, outbox: int, vehicle: str, stream_id: bytes) -> Elsewhere:
        self._write("streams", "stream_labels", "batches", "batches_replaced")
        of_vehicle = select(outboxes.c.id).where(outboxes.c.vin == vehicle, outboxes.c.id != outbox)
        others = select(
            streams.c.outbox, streams.c.stream_no, streams.c.origin_tick, streams.c.expired_tick
        ).where(streams.c.stream_id == stream_id, streams.c.outbox.in_(of_vehicle))
        found = self._connection.execute(others).all()
        blocks: list[tuple[int, int]] = []
        for other in found:
            wanted = select(batches.c.first_tick, batches.c.record_count, batches.c.skip).where(
                batches.c.outbox == other.outbox, batches.c.stream_no == other.stream_no
            )
            if other.expired_tick is not None:  # it had them
                blocks.append((other.origin_tick, other.expired_tick))
            blocks += [
                (row.first_tick + row.skip, row.first_tick + row.record_count)
                for row in self._connection.execute(wanted)
                if row.skip < row.record_count
            ]
        return Elsewhere.of(frozenset(other.outbox for other in found), blocks)

    def label(self, outbox: int, stream_no: int) -> tuple[int, bool]:
        self._write("streams", "stream_labels")
        wanted = select(streams.c.offset_ns, streams.c.synchronised)
        row = self._connection.execute(
            wanted.where(streams.c.outbox == outbox, streams.c.stream_no == stream_no)
        ).one_or_none()
        return (0, False) if row is None else (row.offset_ns, row.synchronised)

    def labels(self, outbox: int, stream_no: int) -> list[Label]:
        self._write("streams", "stream_labels", "batches", "batches_replaced")
        here = and_(streams.c.outbox == outbox, streams.c.stream_no <= stream_no)
        boot_id = select(streams.c.boot_id).where(here, streams.c.stream_no == stream_no).scalar_subquery()
        known = select(func.max(streams.c.stream_no)).where(
            here, streams.c.synchronised, streams.c.boot_id != boot_id
        )
        last = (
            select(batches.c.first_tick + batches.c.record_count)
            .where(batches.c.outbox == outbox, batches.c.stream_no == streams.c.stream_no)
            .order_by(batches.c.seq.desc())
            .limit(1)
            .scalar_subquery()
        )
        wanted = (
            select(streams, func.coalesce(last, streams.c.expired_tick).label("end_tick"))
            .where(here, streams.c.stream_no > func.coalesce(known.scalar_subquery(), -1))
            .order_by(streams.c.stream_no)
        )
        return [self._label(row) for row in self._connection.execute(wanted)]

    def _label(self, row: Any) -> Label:
        period_ns = self._period_ns(row.schema_hash)
        return Label(row.stream_no, row.boot_id, period_ns, row.end_tick, row.offset_ns, row.synchronised)

    def _period_ns(self, schema_hash: bytes) -> int:
        """Of the ticks of a schema; 0 where it is damaged."""
        if schema_hash not in self._periods:
            content = self.blob(pb.BLOB_KIND_SCHEMA, schema_hash)
            if content is None:
                return 0
            self._periods[schema_hash] = Schema.from_bytes(content).period_ns
        return self._periods[schema_hash]

    def paging(self, outbox: int) -> Paging:
        self._write(*statements.OF_FAULTS)
        is_open = select(faults).where(faults.c.outbox == outbox, faults.c.ended_at.is_(None))
        found = [
            Fault(
                row.code,
                row.severity,
                row.description,
                row.stream_no,
                row.first_tick,
                row.detected_tick,
                row.page or "",
            )
            for row in self._connection.execute(is_open.order_by(faults.c.id))
        ]
        shown = self._connection.execute(
            select(provisional_faults).where(provisional_faults.c.outbox == outbox)
        )
        provisional = {
            row.code: Provisional(
                row.code,
                row.severity,
                row.description,
                row.rule_hash,
                row.stream_no,
                row.tick,
                row.page,
                None if row.ended_stream_no is None else (row.ended_stream_no, row.ended_tick),
            )
            for row in shown
        }
        return Paging(outbox, {fault.key: fault for fault in found}, provisional)

    def with_provisional(self, vehicle: str) -> list[OutboxKey]:
        self._write(*statements.OF_FAULTS)
        of = select(provisional_faults.c.outbox)
        wanted = select(outboxes.c.vin, outboxes.c.outbox_id).where(
            outboxes.c.vin == vehicle, outboxes.c.id.in_(of)
        )
        return [OutboxKey(row.vin, row.outbox_id) for row in self._connection.execute(wanted)]

    def with_open_faults(self) -> list[OutboxKey]:
        self._write(*statements.OF_FAULTS)
        wanted = select(outboxes.c.vin, outboxes.c.outbox_id).where(
            outboxes.c.id.in_(select(faults.c.outbox).where(faults.c.ended_at.is_(None)))
            | outboxes.c.id.in_(select(provisional_faults.c.outbox))
        )
        return [OutboxKey(row.vin, row.outbox_id) for row in self._connection.execute(wanted)]

    def blob(self, kind: int, content_hash: bytes) -> bytes | None:
        self._write("blobs")
        content = self._connection.execute(wanted_blob(kind, content_hash)).scalar_one_or_none()
        return None if content is None else sound_blob(content, content_hash)

    def offered_prior(self, schema_hash: bytes) -> bytes:
        wanted = select(priors.c.prior_hash).where(priors.c.schema_hash == schema_hash)
        found = self._connection.execute(wanted).scalar_one_or_none()
        return b"" if found is None else bytes(found)

    def offer_prior(self, row: Row, content: bytes) -> None:
        """From now on, to every vehicle of that schema. `row`: of the table `priors`."""
        name = row["prior_hash"]
        blob = {"kind": pb.BLOB_KIND_PRIOR, "hash": name, "content": content}
        self._connection.execute(statements.put_blob(self._dialect), blob)
        self._connection.execute(statements.put_prior(self._dialect), row)

    def block(self, outbox: int, stream_no: int, seq: int) -> bytes | None:
        self._write("batches", "batches_replaced")
        wanted = select(batches.c.content, batches.c.crc).where(
            batches.c.outbox == outbox, batches.c.stream_no == stream_no, batches.c.seq == seq
        )
        row = self._connection.execute(wanted).one_or_none()
        return row.content if row is not None and zlib.crc32(row.content) == row.crc else None

    def gap_end(self, outbox: int, stream_no: int, last_seq: int) -> int | None:
        self._write("gaps")
        wanted = select(gaps.c.end_tick).where(
            gaps.c.outbox == outbox, gaps.c.stream_no == stream_no, gaps.c.last_seq == last_seq
        )
        return self._connection.execute(wanted.order_by(gaps.c.first_seq.desc()).limit(1)).scalar()

    def blocks(self, outbox: int, stream_no: int, first_seq: int) -> list[tuple[int, bytes]]:
        self._write("batches", "batches_replaced")
        wanted = (
            select(batches.c.seq, batches.c.content, batches.c.crc)
            .where(batches.c.outbox == outbox, batches.c.stream_no == stream_no, batches.c.seq >= first_seq)
            .order_by(batches.c.seq)
        )
        found: list[tuple[int, bytes]] = []
        for row in self._connection.execute(wanted):
            if zlib.crc32(row.content) != row.crc:
                break
            found.append((row.seq, row.content))
        return found

    def blocks_back_to(
        self, outbox: int, stream_no: int, tick: int, end_seq: int
    ) -> list[tuple[int, int, bytes]]:
        # Not before it has to be: whether another process wrote to the outbox is asked when its position is written.
        if any(
            row["outbox"] == outbox and row["stream_no"] == stream_no and row["seq"] < end_seq
            for row in self.changes.batches
        ):
            self._write("batches")
        self._write("batches_replaced")
        here = and_(batches.c.outbox == outbox, batches.c.stream_no == stream_no)
        keyframe = select(batches.c.seq).where(here, batches.c.keyframe, batches.c.first_tick <= tick)
        # Backwards by the primary key: a group has few blocks.
        first = keyframe.order_by(batches.c.seq.desc()).limit(1).scalar_subquery()
        wanted = select(batches).where(
            here, batches.c.seq >= func.coalesce(first, 0), batches.c.seq < end_seq
        )
        rows = self._connection.execute(wanted.order_by(batches.c.seq))
        return [(row.seq, row.skip, row.content) for row in rows if zlib.crc32(row.content) == row.crc]

    def open_anomalies(self, outbox: int) -> list[Episode]:
        self._write("anomalies")
        return found.open_anomalies(self._connection, outbox)

    def last_group(self, outbox: int, stream_no: int) -> tuple[int | None, dict[int, range]]:
        self.settle()
        return found.last_group(self._connection, outbox, stream_no)

    def own_end(self, outbox: int, stream_no: int, end_seq: int) -> int | None:
        self._write("batches", "batches_replaced")
        return found.own_end(self._connection, outbox, stream_no, end_seq)

    def sound_keyframes(self, outbox: int, stream_nos: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
        self._write("batches", "batches_replaced", "batches_doubtful")
        return found.sound_keyframes(self._connection, outbox, stream_nos)

    def settle(self) -> None:
        self._write("batches", "batches_replaced", "faults", "anomalies", *statements.SECONDS)

    def ticks(self, outbox: int, stream_no: int, first_seq: int) -> dict[int, range]:
        self.settle()
        return found.ticks(self._connection, outbox, stream_no, first_seq)

    def mark(self) -> None:
        if self.changes.faults_approximate:
            self._write(*statements.MARKED, "faults_approximate")

    def execute(self, statement: Any, values: Row | None = None) -> None:
        self._connection.execute(statement, values)

    def finish(self, now: str) -> None:
        """Write everything, positions first: StoreUnavailable if another process wrote to one of the outboxes."""
        self._write_outboxes(self.changes, now)
        self._write(*statements.changes(self._dialect))

    def _write(self, *names: str) -> None:
        """Write what was collected for these tables so far."""
        for name in names:
            collected = getattr(self.changes, name)
            if collected:
                if name == "batches":
                    self._claim(self.changes.outboxes)
                if name == "telemetry_missing" and self.changes.times:
                    # Those that are there are known by their time, too, where there are partitions: it has to be the one of now.
                    self._put("times", list(self.changes.times))
                rows = list(collected.values()) if isinstance(collected, dict) else list(collected)
                self._put(name, rows)
                collected.clear()

    def _put(self, name: str, rows: list[Row]) -> None:
        wanted = statements.changes(self._dialect)[name]
        if self._dialect == "postgresql" and name in statements.LOADED:
            from collector.store import postgresql

            over = ("outbox", "stream_no", "tick") if name == "telemetry" else ()
            postgresql.load(self._connection, wanted.table, rows, over)
            return
        if self._dialect == "postgresql" and name == "notices":
            from collector.store import postgresql

            postgresql.in_their_order(self._connection)
        for statement in wanted if isinstance(wanted, tuple) else (wanted,):
            rowwise.execute(self._connection, statement, rows)

    def _claim(self, changed: Mapping[int, Saving]) -> None:
        """Before blocks are written that another process may have written too: a key twice would look like a bug."""
        new = sorted(changed.keys() - self._claimed)
        for at in range(0, len(new), CLAIMED_MAX):
            some = new[at : at + CLAIMED_MAX]
            wanted = select(outboxes.c.id, outboxes.c.revision).where(outboxes.c.id.in_(some))
            for row in self._connection.execute(wanted.order_by(outboxes.c.id).with_for_update()):
                if row.revision != changed[row.id].revision:
                    raise StoreBusy(_WRITTEN)
        self._claimed.update(new)

    def _write_outboxes(self, changes: Changes, now: str) -> None:
        rows = [
            {
                "of_id": one.id,
                "of_revision": one.revision,
                "revision": one.revision + 1,
                "stream_no": one.progress.wanted.stream_no,
                "next_seq": one.progress.wanted.seq,
                "stored_stream_no": one.progress.stored.stream_no if one.progress.stored else None,
                "stored_seq": one.progress.stored.seq if one.progress.stored else None,
                "record_count": one.progress.record_count,
                "end_tick": one.progress.end_tick,
                "group_seq": one.progress.group_seq,
                "open_gap_seq": one.progress.open_gap_seq,
                "rule_state": one.rule_state.to_text(),
                "battery_state": one.battery.to_text(),
                "diagnosis_state": one.diagnosis.to_text(),
                "received_at": now,
            }
            # In one order everywhere, or two writers wait for each other.
            for one in (changes.outboxes[key].saved() for key in sorted(changes.outboxes))
        ]
        if rows and rowwise.execute(self._connection, statements.SET_OUTBOX, rows) != len(rows):
            raise StoreBusy(_WRITTEN)
        self._claimed.update(changes.outboxes)


def _readable(read: Callable[[str], _State], text: str) -> _State | None:
    """What was written down; None where it is damaged: JSON no more, or of other names and types."""
    try:
        return read(text)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _description(row: Any, key: OutboxKey) -> Description:
    return Description(
        key,
        facts_of(row),
        row.schema_hash,
        row.boot_id,
        row.prev_last_seq,
        row.prev_digest,
        row.prev_stream_id,
    )


def wanted_blob(kind: int, content_hash: bytes) -> Select[Any]:
    return select(blobs.c.content).where(blobs.c.kind == kind, blobs.c.hash == content_hash)


def sound_blob(content: bytes, content_hash: bytes) -> bytes | None:
    """The content as it was stored; None where it is damaged, which counts as not here: whoever has it is asked again."""
    return bytes(content) if hashlib.sha256(content).digest()[:HASH_BYTES] == content_hash else None


def facts_of(row: Any) -> StreamFacts:
    """What decodes the blocks of a row of `streams`."""
    return StreamFacts(
        stream_id=row.stream_id,
        stream_no=row.stream_no,
        origin_tick=row.origin_tick,
        clock=Clock(row.facts_offset_ns, row.facts_synchronised),
        guards_hash=row.guards_hash,
        prior_hash=row.prior_hash,
    )
