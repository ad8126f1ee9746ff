"""Anomalies in the store: the same rows wherever the collector was killed, and when blocks are repaired."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codec.records import Records
from collector.__main__ import main
from collector.detectors.detection import Detectors
from collector.detectors.settings import DetectorSettings
from collector.ingest.ingest import Ingest
from collector.items import BatchItem
from collector.store import open_store
from tests.collector.vehicle import Bench, Vehicle

SETTINGS = DetectorSettings(robust=True, window_s=12, samples_min=4, quiet_s=3)


class Watched(Bench):
    detectors = Detectors(SETTINGS)

    def start(self) -> None:
        super().start()
        self.ingest = Ingest(self.rules, self.detectors)


def rows(bench: Watched) -> list[dict]:
    found = [{k: v for k, v in row.items() if k != "id"} for row in open_store(bench.path).anomalies()]
    return sorted(
        found, key=lambda row: (row["stream_no"], row["first_tick"], row["detector"], row["signal"])
    )


def jumpy(random: np.random.Generator, first_tick: int, count: int) -> Records:
    counts = np.empty((count, 3), np.int64)
    counts[:, 0] = 200 + random.integers(-3, 4, count) + 150 * (random.random(count) < 0.1)
    counts[:, 1] = 1000 + random.integers(-60, 61, count)
    counts[:, 2] = random.random(count) < 0.1
    return Records(first_tick, counts, np.zeros((count, 3), np.uint8))


def block(vehicle: Vehicle, records: Records, *, keyframe: bool = False) -> BatchItem:
    encoded = vehicle._encoder.encode(records, keyframe=keyframe)
    vehicle.tick = records.end_tick
    return BatchItem(vehicle.key, vehicle.stream_no, encoded.seq, False, encoded.content)


def steady(vehicle: Vehicle, count: int, temp: int = 200) -> BatchItem:
    records = Records(vehicle.tick, np.full((count, 3), temp, np.int64), np.zeros((count, 3), np.uint8))
    return block(vehicle, records)


@pytest.fixture
def watched(tmp_path):
    bench = Watched(tmp_path / "store.db")
    yield bench
    bench.ledger.close()


@pytest.fixture
def seen(watched, vehicle):
    watched.take(vehicle.greeting, vehicle.schema, vehicle.run())
    return vehicle


def test_an_anomaly_is_a_row_with_start_end_peak_score_and_window(watched, seen):
    watched.take(steady(seen, 300), steady(seen, 10, 300), steady(seen, 60))
    (z, robust) = _of(watched, "Temp")
    assert (z["vin"], z["detector"], z["peak"], z["window_s"]) == (seen.key.vehicle, "zscore", 30.0, 12)
    assert z["score"] == pytest.approx(100 / (5 / np.sqrt(3)), rel=0.05)
    assert (z["started_at"], z["ended_at"]) == ("2023-11-14T22:13:50.000Z", "2023-11-14T22:13:50.000Z")
    assert (z["late"], z["approximate"], z["time_uncertain"], z["confidence"]) == (False, False, False, None)
    assert robust["detector"] == "robust"


def _of(bench, signal):
    return sorted(
        (r for r in rows(bench) if r["signal"] == signal), key=lambda row: row["detector"] != "zscore"
    )


def test_nothing_is_paged(watched, seen):
    watched.take(steady(seen, 300), steady(seen, 10, 300))
    assert open_store(watched.path).faults() == []


def test_a_new_stream_ends_what_was_open_and_begins_a_window(watched, seen):
    watched.take(steady(seen, 300), steady(seen, 10, 300))
    assert [row["ended_at"] for row in _of(watched, "Temp")] == [None, None]
    watched.take(seen.run(), steady(seen, 10))
    assert all(row["ended_at"] == row["started_at"] for row in _of(watched, "Temp"))


def test_a_detector_that_was_turned_off_leaves_nothing_open(watched, seen):
    watched.take(steady(seen, 300), steady(seen, 10, 300))
    watched.detectors = Detectors(replace(SETTINGS, robust=False))
    watched.restart()
    watched.take(steady(seen, 10, 300))
    assert {row["detector"]: row["ended_at"] is None for row in _of(watched, "Temp")} == {
        "zscore": True,
        "robust": False,
    }


def test_no_detector_no_rows(watched, seen):
    watched.detectors = Detectors(DetectorSettings(zscore=False))
    watched.restart()
    watched.take(steady(seen, 300), steady(seen, 10, 300))
    assert rows(watched) == []


def hot(vehicle: Vehicle) -> list[BatchItem]:
    """Five steady minutes and a jump, in blocks of a keyframe group."""
    return [steady(vehicle, 300), steady(vehicle, 300), steady(vehicle, 40, 300)]


@pytest.mark.parametrize("killed", [False, True])
def test_where_blocks_were_stored_wrong_anomalies_are_approximate_and_windows_are_made_again(
    watched, seen, killed
):
    other = Vehicle()
    other.run()
    watched.take(*hot(other))  # passes by its one byte of digest, and is another's
    right = [steady(seen, 300), steady(seen, 300, 300), steady(seen, 40, 300)]
    watched.take(
        block(seen, Records(seen.tick, np.full((10, 3), 300), np.zeros((10, 3), np.uint8)), keyframe=True)
    )
    watched.take(*right)
    assert [row["approximate"] for row in _of(watched, "Temp")] == [True, True]
    if killed:
        watched.restart()
    watched.take(steady(seen, 100, 300))  # in the right records, usual by now
    after = [row for row in rows(watched) if row["first_tick"] >= seen.tick - 100]
    assert after == []
    assert all(row["ended_at"] for row in _of(watched, "Temp"))


def test_query_prints_them(watched, seen, capsys):
    watched.take(steady(seen, 300), steady(seen, 10, 300))
    assert main(["query", "anomalies", "--store", str(watched.path), "--open", "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {(row["detector"], row["peak"]) for row in printed if row["signal"] == "Temp"} == {
        ("zscore", 30.0),
        ("robust", 30.0),
    }
    assert main(["query", "anomalies", "--store", str(watched.path)]) == 0
    assert "robust" in capsys.readouterr().out


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 100),
    cuts=st.lists(st.tuples(st.integers(1, 90), st.booleans(), st.integers(0, 9)), min_size=2, max_size=10),
)
def test_the_same_rows_wherever_the_collector_was_killed(seed, cuts, tmp_path_factory):
    """Cuts: records of a block, whether it is a keyframe, and what comes before it: a hole, or a new stream, now and then."""
    folder = tmp_path_factory.mktemp("killed")
    told: list[list[dict]] = []
    for killed in (False, True):
        random = np.random.default_rng(seed)
        bench, vehicle = Watched(folder / f"{killed}.db"), Vehicle()
        bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
        for count, keyframe, event in cuts:
            if event == 0:
                vehicle.tick += 37
            if event == 1:
                bench.take(vehicle.run())
            bench.take(block(vehicle, jumpy(random, vehicle.tick, count), keyframe=keyframe or event == 0))
            if killed:
                bench.restart()
        told.append(rows(bench))
        bench.ledger.close()
    assert told[0] == told[1]


def test_that_law_is_about_something(watched, seen):
    random = np.random.default_rng(1)
    for _ in range(6):
        watched.take(block(seen, jumpy(random, seen.tick, 100)))
    assert len(rows(watched)) > 5
