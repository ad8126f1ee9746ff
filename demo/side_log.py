"""What a vehicle's outbox says it sampled and committed. Demo mode only writes it; nothing else reads it."""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codec.journal import unpack_records

if TYPE_CHECKING:
    from pathlib import Path

    from codec.records import Records

_SAMPLED = struct.Struct("<qq")  # records sampled over all runs, last sampled tick


@dataclass(frozen=True, slots=True)
class SideLog:
    """Committed records as (stream_no, records) in the order of their commits, and how many were sampled in all."""

    committed: tuple[tuple[int, Records], ...]
    sampled_count: int

    @property
    def committed_count(self) -> int:
        return sum(len(records) for _, records in self.committed)

    @property
    def lost_at_kill(self) -> int:
        """Records that left the sampler and were never committed: a SIGKILL came first."""
        return self.sampled_count - self.committed_count


def read_side_log(outbox: Path, signal_count: int) -> SideLog:
    """Raises DamagedBlock, sqlite3.Error or OSError: the demo cannot judge without it."""
    with sqlite3.connect(f"file:{outbox}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT stream_no, content FROM side_log ORDER BY id").fetchall()
    database.close()
    sampled_count, _ = _SAMPLED.unpack(sampled_path(outbox).read_bytes()[: _SAMPLED.size])
    committed = tuple((int(stream_no), unpack_records(content, signal_count)) for stream_no, content in rows)
    return SideLog(committed, sampled_count)


def sampled_path(outbox: Path) -> Path:
    """16 bytes, mapped into the agent's memory: they survive a SIGKILL, and cost it nothing."""
    return outbox.with_name(outbox.name + ".sampled")
