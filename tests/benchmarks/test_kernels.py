"""The kernels' benchmark in small: streams keep states of their own."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from benchmarks import kernels
from benchmarks.sampled import SampledDrive
from codec.kernel import kernels_from
from codec.layout import CONTEXTS
from codec.records import Records
from tests.benchmarks.drives import TICK, runs, schema


def test_rows_for_one_stream_and_for_many(compiled, monkeypatch):
    monkeypatch.setattr(kernels, "COPY_BYTES", 1 << 20)
    drive = SampledDrive("walk", schema(), tuple(runs()))
    with kernels_from(compiled.libraries):
        rows, copied = kernels.measure(drive, lambda _: None, fleet=7)
    assert {(row.kernels, row.streams) for row in rows} == set(product(("numba", "compiled"), (1, 7)))
    with kernels_from(compiled.none):
        said: list[str] = []
        monkeypatch.setattr(kernels, "CASES", ())
        monkeypatch.setattr(kernels, "FLEET_CASES", ())
        assert kernels.measure(drive, said.append)[0] == []
    assert said == ["kernels compiled ahead of time are not measured: not asked for"]
    fleet = [row for row in rows if row.streams == 7 and row.block_s == 10.0]
    assert fleet[0].values == 7 * kernels.ROUNDS * 500 * 6
    json.dumps(kernels.report(rows, copied), allow_nan=False)


def test_a_streams_state_is_a_small_part_of_all_contexts():
    drive = SampledDrive("walk", schema(), tuple(runs()))
    assert 0 < kernels.state_bytes(drive, 10.0) < len(schema().signals) * CONTEXTS


def test_a_drive_too_short_for_a_block_is_refused():
    run = Records(TICK, np.zeros((3, 6), np.int64), np.zeros((3, 6), np.uint8))
    with pytest.raises(ValueError, match="too short"):
        kernels.interleaved(SampledDrive("short", schema(), (run,)), 10.0, 2)
