"""What an agent under torture sampled, committed and heard acknowledged, told by itself to files that nothing tortures.

One file per start of the agent: a SIGKILL can tear only its last entry. An entry is a kind, a size, a CRC-32 and its
content: packed records, or JSON. What was committed and acknowledged says when, on the clock that all processes share
(`time.monotonic`); one thread of the agent tells both, so their order is that of what happened.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codec.journal import pack_records, unpack_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from codec.records import Records
    from edge_agent.rows import Commit

_HEAD = struct.Struct("<cII")
SAMPLED, COMMITTED, ACKED, FORKED, DROPPED = b"S", b"C", b"A", b"F", b"D"


class Tap:
    """The writing side."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def sampled(self, records: Records) -> None:
        """Before anything else is done with them."""
        self._put(SAMPLED, pack_records(records))

    def committed(self, outbox_id: bytes, commit: Commit) -> None:
        """After the transaction."""
        batches = [(row.position, row.first_tick, row.record_count) for row in commit.batches]
        journal = [(row.first_tick, row.record_count) for row in commit.journal]
        if batches or journal:
            told = {"outbox": outbox_id.hex(), "at": time.monotonic(), "batches": batches, "journal": journal}
            self._put(COMMITTED, _json(told))

    def acked(self, outbox_id: bytes, wanted: int) -> None:
        """Everything before `wanted`."""
        self._put(ACKED, _json({"outbox": outbox_id.hex(), "at": time.monotonic(), "wanted": wanted}))

    def dropped(self, outbox_id: bytes, first: int, end: int) -> None:
        """The batches from position `first` on and before `end`, for a gap in their place; before the transaction ends."""
        self._put(
            DROPPED, _json({"outbox": outbox_id.hex(), "at": time.monotonic(), "first": first, "end": end})
        )

    def forked(self, outbox_id: bytes, first: int) -> None:
        """Into `outbox_id`, which took along what was not acknowledged, from this tick on."""
        self._put(FORKED, _json({"outbox": outbox_id.hex(), "first": first}))

    def _put(self, kind: bytes, content: bytes) -> None:
        os.write(self._file, _HEAD.pack(kind, len(content), zlib.crc32(content)) + content)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def entries(path: Path, start: int = 0) -> Iterator[tuple[bytes, bytes, int]]:
    """(kind, content, where the next one begins) up to the end, or to what was torn."""
    data = path.read_bytes()
    while start + _HEAD.size <= len(data):
        kind, size, crc = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + size
        content = data[start + _HEAD.size : end]
        if len(content) < size or zlib.crc32(content) != crc:
            return
        yield kind, content, end
        start = end


@dataclass(slots=True)
class Told:
    """All that one vehicle's agents told so far. `read` goes on where it ended the last time."""

    folder: Path
    signal_count: int = 0
    sampled: list[Records] = field(default_factory=list)
    commits: list[dict[str, Any]] = field(default_factory=list)
    acks: dict[bytes, list[tuple[float, int]]] = field(default_factory=dict)  # outbox_id -> when, `wanted`
    drops: dict[bytes, list[tuple[float, int, int]]] = field(
        default_factory=dict
    )  # outbox_id -> when, first position, and the one after the last
    forks: dict[bytes, int] = field(default_factory=dict)  # outbox_id -> the first tick that it took along
    acked: dict[bytes, int] = field(default_factory=dict)  # outbox_id -> the last `wanted`
    acked_max: dict[bytes, int] = field(default_factory=dict)
    ends: dict[bytes, int] = field(
        default_factory=dict
    )  # outbox_id -> the tick after the last one committed to it
    _read: dict[Path, int] = field(default_factory=dict)

    def read(self, *, records: bool = False) -> None:
        """`records`: also what was sampled, committed and dropped, and each ack, which takes memory; from the start."""
        if records:
            self.sampled, self.commits, self.acks, self.drops = [], [], {}, {}
        for path in sorted(self.folder.glob("tap.*")):
            for kind, content, end in entries(path, 0 if records else self._read.get(path, 0)):
                self._read[path] = end
                if kind == ACKED:
                    told = json.loads(content)
                    outbox_id, wanted = bytes.fromhex(told["outbox"]), told["wanted"]
                    self.acked[outbox_id] = wanted
                    if records:
                        self.acks.setdefault(outbox_id, []).append((told["at"], wanted))
                    self.acked_max[outbox_id] = max(wanted, self.acked_max.get(outbox_id, 0))
                elif records and kind == SAMPLED:
                    self.sampled.append(unpack_records(content, self.signal_count))
                elif records and kind == DROPPED:
                    told = json.loads(content)
                    drop = (told["at"], told["first"], told["end"])
                    self.drops.setdefault(bytes.fromhex(told["outbox"]), []).append(drop)
                elif kind == FORKED:
                    told = json.loads(content)
                    self.forks[bytes.fromhex(told["outbox"])] = told["first"]
                elif kind == COMMITTED:
                    told = json.loads(content)
                    pieces = [batch[1:] for batch in told["batches"]] + told["journal"]
                    self.ends[bytes.fromhex(told["outbox"])] = max(first + count for first, count in pieces)
                    if records:
                        self.commits.append(told)


def sampled_by(path: Path, signal_count: int) -> list[Records]:
    """All that one start of the agent sampled."""
    return [unpack_records(content, signal_count) for kind, content, _ in entries(path) if kind == SAMPLED]


def next_tap(folder: Path) -> Path:
    """A name for the next start's file, which sorts after those before."""
    return folder / f"tap.{len(list(folder.glob('tap.*'))):06d}"
