"""The side log is read as the agent writes it."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
import zstandard

from codec.errors import DamagedBlock
from codec.journal import pack_records
from codec.records import Records
from codec.schema import Schema, Signal
from demo.side_log import SideLogError, read_side_log, sampled_count, sampled_path

SCHEMA = Schema(50, (Signal("Speed"), Signal("Torque")))


def outbox_with(
    path: Path, rows: list[tuple[int, bytes]], sampled: int, schemas: tuple[Schema, ...] = (SCHEMA,)
) -> Path:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE side_log(id INTEGER PRIMARY KEY, stream_no INTEGER, content BLOB)")
    database.execute("CREATE TABLE streams(stream_no INTEGER, schema_hash BLOB)")
    database.execute("CREATE TABLE blobs(kind INTEGER, hash BLOB, content BLOB)")
    database.executemany("INSERT INTO side_log(stream_no, content) VALUES (?, ?)", rows)
    for stream_no, schema in enumerate(schemas):
        packed = zstandard.ZstdCompressor().compress(schema.to_bytes())
        database.execute("INSERT INTO streams VALUES (?, ?)", (stream_no, schema.hash))
        database.execute("INSERT INTO blobs VALUES (1, ?, ?)", (schema.hash, packed))
    database.commit()
    database.close()
    sampled_path(path).write_bytes(struct.pack("<qq", sampled, 0))
    return path


def some_records(first_tick: int, n: int) -> Records:
    counts = np.arange(2 * n, dtype=np.int64).reshape(n, 2)
    return Records(first_tick, counts, np.zeros((n, 2), np.uint8))


def test_committed_records_in_order_and_what_was_lost(tmp_path):
    first, second = some_records(100, 50), some_records(7, 20)
    rows = [(0, pack_records(first)), (1, pack_records(second))]
    found = read_side_log(outbox_with(tmp_path / "outbox.db", rows, sampled=75))
    assert found.schema == SCHEMA
    assert [stream_no for stream_no, _ in found.committed] == [0, 1]
    assert found.committed[0][1].equals(first)
    assert found.committed[1][1].equals(second)
    assert (found.sampled_count, found.committed_count, found.lost_at_kill) == (75, 70, 5)
    (last,) = read_side_log(tmp_path / "outbox.db", latest=1).committed
    assert last[1].equals(second)


def test_a_damaged_row_is_no_verdict(tmp_path):
    packed = bytearray(pack_records(some_records(0, 5)))
    packed[-1] ^= 1
    with pytest.raises(DamagedBlock):
        read_side_log(outbox_with(tmp_path / "outbox.db", [(0, bytes(packed))], sampled=5))


@pytest.mark.parametrize(
    ("schemas", "says"), [((), "nothing was sampled"), ((SCHEMA, Schema(10, SCHEMA.signals)), "2 schemas")]
)
def test_nothing_to_judge_by_is_said(tmp_path, schemas, says):
    with pytest.raises(SideLogError, match=says):
        read_side_log(outbox_with(tmp_path / "outbox.db", [], sampled=0, schemas=schemas))


def test_no_record_yet_is_zero(tmp_path):
    assert sampled_count(tmp_path / "outbox.db") == 0
