"""What stands in the outbox's tables: its statements, and its rows as values, each with its checksum.

Every row carries a CRC-32, zlib's: it is in the standard library, and what it finds in a row of some kilobytes is what a
CRC32C finds. None covers stream_no, which a fork changes. What is read here is sound, or None.
"""

from __future__ import annotations

import importlib.resources
import re
import sqlite3
import zlib
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from codec.errors import DamagedBlock
from codec.journal import packed_extent
from codec.stream import Clock, StreamFacts
from edge_agent.errors import OutboxBusy, OutboxDamaged
from edge_agent.rows import BatchRow, GapRow, JournalRow, StreamEnd, StreamRow, split_position

if TYPE_CHECKING:
    from collections.abc import Iterable

NOWHERE = (1 << 63) - 1  # larger than every position
# No sound file breaks a constraint: what is moved is mistyped, or stands where no place is taken.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_READONLY: "make the file, its folder and the disk writable",
    sqlite3.SQLITE_PERM: "make the file, its folder and the disk writable",
    sqlite3.SQLITE_CANTOPEN: "make the folder writable",
    sqlite3.SQLITE_BUSY: "end the other program that holds it",
    sqlite3.SQLITE_LOCKED: "end the other program that holds it",
    sqlite3.SQLITE_PROTOCOL: "end the other program that holds it",
    sqlite3.SQLITE_IOERR: "look at the disk",
    sqlite3.SQLITE_NOMEM: "free some memory",
}


def _queries() -> dict[str, str]:
    text = importlib.resources.files("edge_agent").joinpath("outbox.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


SQL = _queries()


def row_crc(*parts: int | bytes) -> int:
    """CRC-32 over integers and bytes, as rows carry it."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part if isinstance(part, bytes) else part.to_bytes(8, "little", signed=True), crc)
    return crc


def batch_crc(row: BatchRow) -> int:
    """Without stream_no, which a fork changes."""
    return row_crc(row.seq, row.group_seq, row.first_tick, row.record_count, row.end_record, row.content)


def journal_crc(row: JournalRow) -> bytes:
    return row_crc(row.stream_no, row.first_tick, row.record_count, row.content).to_bytes(4, "little")


def journal_of(row: tuple[Any, ...], newest: int, path: str) -> tuple[JournalRow, bool]:
    """The values of query `journal`, and whether the content is sound. If it is, it says more than the columns do.

    `newest`: of the streams; a row is of the stream whose number its checksum fits, whatever its column says. Raises
    OutboxDamaged for one that does not even say how many records are missing.
    """
    if not _typed(row, *[int] * 3, bytes, int, bytes):
        raise OutboxDamaged(f"{path}: a row of the journal has values of other types than its columns")
    stream_no, first_tick, record_count, crc, size, padded = row
    content = padded[:size]
    try:
        first_tick, record_count = packed_extent(content)
    except DamagedBlock:
        return JournalRow(stream_no, first_tick, record_count, content), False
    found = JournalRow(stream_no, first_tick, record_count, content)
    for number in (newest, stream_no, *range(newest)):
        if journal_crc(replace(found, stream_no=number)) == crc:
            return replace(found, stream_no=number), True
    return found, True  # it is the checksum that is damaged


def in_order(rows: Iterable[JournalRow]) -> bool:
    """Whether each begins where the one before it ended, or later."""
    return all(row.first_tick + row.record_count <= later.first_tick for row, later in pairwise(rows))


def spelled(text: bytes) -> str:
    """What SQLite says, which may quote a damaged file."""
    return text.decode(errors="backslashreplace")


def explain(error: sqlite3.Error | UnicodeDecodeError, path: str) -> Exception:
    """Ours for SQLite's: damaged, or to be tried again. A mistake of ours in using SQLite stays what it is.

    UnicodeDecodeError: Python could not read SQLite's words, since they quote a schema that is damaged.
    """
    if isinstance(error, UnicodeDecodeError):
        return OutboxDamaged(f"{path}: {spelled(error.object)}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGED:
        return OutboxDamaged(f"{path}: {error}")
    return OutboxBusy(f"{path}: {error}; {_REMEDIES[code]}") if code in _REMEDIES else error


def gap_crc(row: GapRow) -> int:
    return row_crc(row.first_seq, row.last_seq, row.end_record, row.end_tick, row.reason)


def stream_crc(row: StreamRow) -> int:
    facts, clock = row.facts, row.facts.clock
    return row_crc(
        facts.stream_id, row.boot_id, row.schema_hash, facts.origin_tick, clock.offset_ns, int(clock.synchronised),
        facts.guards_hash, facts.prior_hash,
    )  # fmt: skip


def end_crc(row: StreamEnd) -> int:
    return row_crc(row.next_seq, row.record_count, row.end_tick, row.digest, row.guards_hash)


def _typed(row: tuple[Any, ...], *types: type) -> bool:
    """Whether values have the types of their columns, which a flipped bit changes, too."""
    return all(isinstance(value, kind) for value, kind in zip(row, types, strict=True))


def batch_of(row: tuple[Any, ...]) -> BatchRow | None:
    """The values of query `batches_from`, if they are sound."""
    position, group, first_tick, record_count, end_record, crossing, crc, content = row
    if not _typed(row, *[int] * 7, bytes):
        return None
    stream_no, seq = split_position(position)
    batch = BatchRow(
        stream_no,
        seq,
        split_position(group)[1],
        first_tick,
        record_count,
        end_record,
        bool(crossing),
        content,
    )
    return batch if batch_crc(batch) == crc else None


def gap_of(row: tuple[Any, ...]) -> GapRow | None:
    """The values of query `gaps_from`, if they are sound."""
    position, last_position, end_record, end_tick, reason, crc = row
    if not _typed(row, *[int] * 6):
        return None
    stream_no, first_seq = split_position(position)
    last_no, last_seq = split_position(last_position)
    gap = GapRow(stream_no, first_seq, last_seq, end_record, end_tick, reason)
    return gap if gap_crc(gap) == crc and last_no == stream_no else None


def stream_of(row: tuple[Any, ...]) -> tuple[StreamRow, StreamEnd] | None:
    """The values of query `stream`, if they are sound."""
    (
        stream_id, stream_no, origin_tick, offset_ns, synchronised, guards_hash, prior_hash, boot_id, schema_hash, crc,
    ) = row[:10]  # fmt: skip
    if not _typed(row, bytes, *[int] * 4, *[bytes] * 4, *[int] * 5, bytes, int):
        return None
    clock = Clock(offset_ns, bool(synchronised))
    facts = StreamFacts(stream_id, stream_no, origin_tick, clock, guards_hash, prior_hash)
    stream, end = StreamRow(facts, boot_id, schema_hash), StreamEnd(stream_no, *row[10:15])
    return (stream, end) if stream_crc(stream) == crc and end_crc(end) == row[15] else None


def damaged_stream(path: str, stream_no: int) -> OutboxDamaged:
    """Without what describes it, no block of a stream can be sent."""
    return OutboxDamaged(f"{path}: the row of stream {stream_no} does not match its checksum")
