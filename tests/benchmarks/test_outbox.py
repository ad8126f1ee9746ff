"""The outbox's benchmark in small: what it says it measured, it measured."""

from __future__ import annotations

import json

import pytest

from benchmarks import outbox
from benchmarks.sampled import SampledDrive
from tests.benchmarks.drives import runs, schema


@pytest.fixture
def drive():
    return SampledDrive("walk", schema(), tuple(runs()))


def test_a_row_for_each_way_and_a_start(drive, tmp_path):
    rows, start = outbox.measure(tmp_path, drive, share=0.002)
    assert [row.loss_max_s for row in rows] == [10, 10, 1.0, 0.02]
    assert start.blocks == 200
    document = json.loads(json.dumps(outbox.report(rows, start, "walk", None), allow_nan=False))
    assert document["start_ms_at_100k_blocks"] == start.start_ms


def test_the_pipeline_is_asked_for_what_the_rows_say(drive):
    seldom, often = outbox.commits(drive, 4, 10.0), outbox.commits(drive, 4, 1.0)
    assert sum(len(commit.batches) for commit in seldom) == sum(len(commit.batches) for commit in often) == 4
    assert len(seldom) == 5, "the stream's first record, and a block each"
    assert len(often) == 40


def test_a_file_system_in_memory_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(outbox, "file_system", lambda _: "tmpfs")
    assert outbox.main([]) == 2
    assert "--folder" in capsys.readouterr().err
