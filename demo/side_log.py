"""What a vehicle's outbox says it sampled and committed. Demo mode only writes it; nothing else reads it."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard

from codec.journal import unpack_records
from codec.schema import SCHEMA_BYTES_MAX, Schema

if TYPE_CHECKING:
    from pathlib import Path

    from codec.records import Records

_SAMPLED = struct.Struct("<qq")  # records sampled over all runs, last sampled tick
_SCHEMA = 1  # kind of blob


class SideLogError(ValueError):
    """An outbox that the demo cannot judge by; the message says why."""


@dataclass(frozen=True, slots=True)
class SideLog:
    """Committed records as (stream_no, records) in the order of their commits, and how many were sampled in all."""

    schema: Schema
    committed: tuple[tuple[int, Records], ...]
    sampled_count: int

    @property
    def committed_count(self) -> int:
        return sum(len(records) for _, records in self.committed)

    @property
    def lost_at_kill(self) -> int:
        """Records that left the sampler and were never committed: a SIGKILL came first."""
        return self.sampled_count - self.committed_count


def read_side_log(outbox: Path, latest: int | None = None) -> SideLog:
    """All of it, or only the `latest` commits. Raises SideLogError, DamagedBlock, sqlite3.Error or OSError."""
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as database:
        schemas = database.execute(
            "SELECT DISTINCT blobs.content FROM streams JOIN blobs ON blobs.hash = schema_hash AND kind = ?",
            (_SCHEMA,),
        ).fetchall()
        newest_first = "SELECT stream_no, content FROM side_log ORDER BY id DESC LIMIT ?"
        rows = database.execute(newest_first, (-1 if latest is None else latest,)).fetchall()[::-1]
    if len(schemas) != 1:
        raise SideLogError(
            f"{outbox}: {len(schemas)} schemas; a vehicle of the demo has one"
            if schemas
            else f"{outbox}: nothing was sampled"
        )
    schema = Schema.from_bytes(
        zstandard.ZstdDecompressor().decompress(schemas[0][0], max_output_size=SCHEMA_BYTES_MAX)
    )
    committed = tuple(
        (int(stream_no), unpack_records(content, len(schema.signals))) for stream_no, content in rows
    )
    return SideLog(schema, committed, sampled_count(outbox))


def sampled_count(outbox: Path) -> int:
    """Records that ever left this vehicle's sampler; 0 before the first."""
    try:
        count, _ = _SAMPLED.unpack_from(sampled_path(outbox).read_bytes())
    except (FileNotFoundError, struct.error):
        return 0
    return int(count)


def sampled_path(outbox: Path) -> Path:
    """16 bytes, mapped into the agent's memory: they survive a SIGKILL, and cost it nothing."""
    return outbox.with_name(outbox.name + ".sampled")
