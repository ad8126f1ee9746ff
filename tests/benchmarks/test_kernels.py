"""The kernels' benchmark in small: streams keep states of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import kernels
from benchmarks.sampled import SampledDrive
from codec.records import Records
from tests.benchmarks.drives import TICK, runs, schema


def test_rows_for_one_stream_and_for_many(monkeypatch):
    monkeypatch.setattr(kernels, "COPY_BYTES", 1 << 20)
    drive = SampledDrive("walk", schema(), tuple(runs()))
    rows, copied = kernels.measure(drive, lambda _: None, fleet=7)
    assert {row.streams for row in rows} == {1, 7}
    fleet = [row for row in rows if row.streams == 7 and row.block_s == 10.0]
    assert fleet[0].values == 7 * kernels.ROUNDS * 500 * 6
    json.dumps(kernels.report(rows, copied), allow_nan=False)


def test_no_more_streams_than_fit():
    each = kernels.state_bytes(schema(), 1)
    assert kernels.fitting(schema(), 5000, free_bytes=20 * each) == 12
    assert kernels.fitting(schema(), 5, free_bytes=1 << 40) == 5


def test_a_drive_too_short_for_a_block_is_refused():
    run = Records(TICK, np.zeros((3, 6), np.int64), np.zeros((3, 6), np.uint8))
    with pytest.raises(ValueError, match="too short"):
        kernels.interleaved(SampledDrive("short", schema(), (run,)), 10.0, 2)
