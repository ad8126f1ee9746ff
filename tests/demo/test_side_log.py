"""The side log is read as the agent writes it."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest

from codec.errors import DamagedBlock
from codec.journal import pack_records
from codec.records import Records
from demo.side_log import read_side_log, sampled_path


def outbox_with(path: Path, rows: list[tuple[int, bytes]], sampled: int) -> Path:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE side_log(id INTEGER PRIMARY KEY, stream_no INTEGER, content BLOB)")
    database.executemany("INSERT INTO side_log(stream_no, content) VALUES (?, ?)", rows)
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
    found = read_side_log(outbox_with(tmp_path / "outbox.db", rows, sampled=75), signal_count=2)
    assert [stream_no for stream_no, _ in found.committed] == [0, 1]
    assert found.committed[0][1].equals(first)
    assert found.committed[1][1].equals(second)
    assert (found.sampled_count, found.committed_count, found.lost_at_kill) == (75, 70, 5)


def test_a_damaged_row_is_no_verdict(tmp_path):
    packed = bytearray(pack_records(some_records(0, 5)))
    packed[-1] ^= 1
    outbox = outbox_with(tmp_path / "outbox.db", [(0, bytes(packed))], sampled=5)
    with pytest.raises(DamagedBlock):
        read_side_log(outbox, signal_count=2)
