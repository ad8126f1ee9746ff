"""Reading the outbox: what the uplink sends and the status shows. A connection of its own, which never writes."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from edge_agent.blobs import is_sound
from edge_agent.errors import OutboxBusy, OutboxDamaged
from edge_agent.outbox_check import check
from edge_agent.outbox_rows import NOWHERE, SQL, batch_of, damaged_stream, explain, gap_of, spelled, stream_of
from edge_agent.rows import BatchRow, BlobKind, GapRow, StreamEnd, StreamRow, position_of, split_position

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ROWS_MAX = 256  # of one fetch: bounds its memory, and how long it holds a read transaction
BUSY_MS = 1000


# A stream, the one before it, and how that one ended; None, None: it is the outbox's first.
Described = tuple[StreamRow, StreamRow | None, StreamEnd | None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Rows in order without holes, from the position asked for. `broken`: the position of what cannot be sent."""

    rows: tuple[BatchRow | GapRow, ...]
    streams: dict[int, Described]  # of the rows
    broken: int | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an outbox begins and ends, as positions; None: holds nothing."""

    first_kept: int | None
    acked: int | None
    last: int | None


class OutboxReader:
    """Reads an outbox that this process or another one writes. Raises OutboxBusy or OutboxDamaged."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._db.text_factory = spelled
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            made = self._db.execute("PRAGMA user_version").fetchone()[0]
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise explain(error, path) from error
        if not made:
            self.close()
            raise OutboxBusy(f"{path}: is being made")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def fetch(self, start: int, *, bytes_max: int, end: int = NOWHERE, rows_max: int = ROWS_MAX) -> Fetched:
        """What lies in [start, end): at least one row where there is one, then rows of `bytes_max` in all."""
        with self._explained():
            self._db.execute("BEGIN")  # one view of batches, gaps and streams
            try:
                return self._fetch(start, bytes_max, end, rows_max)
            finally:
                if self._db.in_transaction:  # where reading failed, SQLite has ended it
                    self._db.execute("COMMIT")

    def _fetch(self, start: int, bytes_max: int, end: int, rows_max: int) -> Fetched:
        batches = self._db.execute(SQL["batches_from"], (start, end, rows_max + 1))
        gaps = self._db.execute(SQL["gaps_from"], (start, end, rows_max)).fetchall()
        gap_rows = iter([gap for row in gaps if (gap := gap_of(row)) is not None])
        gap, batch = next(gap_rows, None), batches.fetchone()
        streams: dict[int, Described] = {}
        rows: list[BatchRow | GapRow] = []
        position, room = start, bytes_max
        while len(rows) < rows_max:
            stream_no, seq = split_position(position)
            found = self.stream(stream_no)
            if found is None:
                break
            if seq >= found[1].next_seq:  # the stream is complete
                position = position_of(stream_no + 1, 0)
                continue
            if position >= end:
                break
            row: BatchRow | GapRow
            if gap and gap.end <= position:
                gap = next(gap_rows, None)
                continue
            if gap and gap.position <= position:
                row = GapRow(stream_no, seq, gap.last_seq, gap.end_record, gap.end_tick, gap.reason)
            elif batch and batch[0] == position and (sound := batch_of(batch)):
                row, batch = sound, None
            else:
                return Fetched(tuple(rows), streams, broken=position)
            if rows and isinstance(row, BatchRow) and len(row.content) > room:
                break
            rows.append(row)
            room -= len(row.content) if isinstance(row, BatchRow) else 0
            position = row.end
            if stream_no not in streams:
                streams[stream_no] = self._described(found[0])
            while batch is None or batch[0] < position:
                batch = batches.fetchone()
                if batch is None:
                    break
        return Fetched(tuple(rows), streams)

    def described(self, stream_no: int) -> Described | None:
        """None: there is no such stream."""
        found = self.stream(stream_no)
        return self._described(found[0]) if found else None

    def _described(self, stream: StreamRow) -> Described:
        return (stream, *(self.stream(stream.facts.stream_no - 1) or (None, None)))

    def check(self) -> None:
        """The whole file, however long it takes. Raises OutboxDamaged."""
        with self._explained():
            check(self._db, self.path)

    def stream(self, stream_no: int) -> tuple[StreamRow, StreamEnd] | None:
        """None: there is no such stream. Raises OutboxDamaged."""
        row = self._one("stream", (stream_no,))
        found = stream_of(row) if row else None
        if row and found is None:
            raise damaged_stream(self.path, stream_no)
        return found

    def stored(self, position: int) -> tuple[bytes | None, int, int]:
        """What is here of a place that a collector claims: (stream_id, next_seq, CRC-32 of the block or 0)."""
        stream_no, _ = split_position(position)
        found = self.stream(stream_no)
        row = self._one("batches_from", (position, min(position + 1, NOWHERE), 1))
        batch = batch_of(row) if row else None
        crc = zlib.crc32(batch.content) if batch else 0
        return (found[0].facts.stream_id, found[1].next_seq, crc) if found else (None, 0, 0)

    def blob(self, kind: BlobKind, blob_hash: bytes) -> bytes | None:
        """None: not here, or not what its name says. Raises OutboxDamaged where that is a schema of a stream: no block of it can be sent."""
        row = self._one("blob", (int(kind), blob_hash))
        if row and is_sound(kind, blob_hash, row[0]):
            return bytes(row[0])
        if kind is BlobKind.SCHEMA and self._one("stream_of_schema", (blob_hash,)):
            raise OutboxDamaged(f"{self.path}: schema {blob_hash.hex()} is damaged, or not there")
        return None

    def extent(self, wanted: int) -> Extent:
        """As Hello says it, where everything before `wanted` is acknowledged."""
        first = self._one("first_batch", (0,))
        return Extent(first[0] if first else None, self._last_before(wanted), self._last_before(NOWHERE))

    def _last_before(self, position: int) -> int | None:
        """As the streams say it, which outlive their batches and gaps."""
        stream_no, seq = split_position(position)
        if position != NOWHERE and seq > 0:
            return position - 1
        row = self._one("last_begun", (stream_no,))
        found = self.stream(row[0]) if row else None
        return position_of(row[0], found[1].next_seq - 1) if found else None

    def unacked(self, wanted: int) -> int:
        """Batches from `wanted` on."""
        stream_no, seq = split_position(wanted)
        return int(self._one("unacked_batches", (stream_no, seq, stream_no))[0])

    def oldest_unacked(self, wanted: int) -> tuple[int, int] | None:
        """(stream_no, first_tick) of the oldest batch from `wanted` on."""
        row = self._one("batches_from", (wanted, NOWHERE, 1))
        batch = batch_of(row) if row else None
        return (batch.stream_no, batch.first_tick) if batch else None

    def used_bytes(self) -> int:
        with self._explained():
            pages, size = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
            )
        return int(pages * size)

    def _one(self, name: str, values: tuple[int | bytes, ...]) -> Any:
        with self._explained():
            return self._db.execute(SQL[name], values).fetchone()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # A name is damaged, or a header: statements that a sound file takes.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_ERROR:
                raise OutboxDamaged(f"{self.path}: {error}") from error
            raise explain(error, self.path) from error
