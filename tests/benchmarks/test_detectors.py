"""How alarms, limits and figures are counted, on made-up units; and that real ones can be learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import labelled
from benchmarks.detectors import alarms, measure, tuned_limit
from benchmarks.labelled import Labelled, Unit
from benchmarks.scorers import Scorer, scorers
from codec.records import Records
from codec.schema import Schema, Signal
from tests.data_folder import recording

SCHEMA = Schema(1, (Signal("A", unit="V"), Signal("B", unit="V")))


def unit(seed: int, faulty: tuple[int, int] | None = None, length: int = 200) -> Unit:
    counts = np.random.default_rng(seed).normal(500, 20, (length, 2)).round().astype(np.int64)
    if faulty:
        counts[slice(*faulty)] += 400
    run = Records(0, counts, np.zeros(counts.shape, np.uint8))
    return Unit(f"unit {seed}", SCHEMA, (run,), length, faulty)


def test_an_alarm_begins_after_ten_quiet_seconds():
    scores = np.zeros(60)
    scores[[3, 4, 14, 26, 27, 59]] = 5.0
    assert alarms(scores, 2.0) == [3, 26, 59]
    assert alarms(np.full(5, np.nan), 2.0) == []


def test_figures_are_of_alarms_by_where_they_begin():
    found = {1: [5, 120, 150], 2: [], 3: [40]}
    units = (unit(1, (100, 180)), unit(2, (100, 180)), unit(3))
    scores = {}
    for one, number in zip(units, (1, 2, 3), strict=True):
        scores[one.name] = np.zeros(200)
        scores[one.name][found[number]] = 9.0
    data = Labelled("made up", units, (unit(3),), units, "second", 1.0, 200)
    default, tuned = measure(data, Scorer("any", 2.0, lambda one: scores[one.name]))
    assert (default.precision, default.recall, default.lead_time, default.delay) == (0.5, 0.5, 60.0, 20.0)
    assert default.false_alarms_per_100_healthy == pytest.approx(100 * 2 / 400)
    assert (default.alarms, default.units_faulty, default.units) == (4, 2, 3)
    assert default.precision_by_chance == pytest.approx(160 / 560)
    assert tuned.tuned


def test_a_limit_is_tuned_on_healthy_seconds_alone():
    scores = np.arange(200) % 50 / 10.0
    scores[150:] = 99.0
    limit = tuned_limit([(unit(1, (150, 200)), scores)], 1.0)
    assert 4.8 <= limit <= 4.9  # one alarm in 150 seconds, not three
    assert tuned_limit([(unit(1), np.zeros(200))], 1.0) == 0.0


def test_every_detector_learns_and_finds_what_is_plain_to_see():
    learn, tune = tuple(unit(n) for n in range(3)), (unit(5),)
    data = Labelled("made up", learn, tune, (unit(7, (150, 180)), unit(8)), "second", 1.0, 200)
    for scorer in scorers(data):
        rows = measure(data, scorer)
        # Isolation Forests saturate beyond what they were trained on; all others see it at their default limit.
        assert max(row.recall for row in rows) == 1.0, scorer.name


def test_engines_are_read_whole_and_split_by_unit():
    data = labelled.cmapss(recording("cmapss/train_FD001.txt"))
    names = [one.name for group in (data.learn, data.tune, data.measure) for one in group]
    assert len(names) == len(set(names)) == 100
    assert [len(group) for group in (data.learn, data.tune, data.measure)] == [40, 20, 40]
    assert sum(one.length for group in (data.learn, data.tune, data.measure) for one in group) == 20_631
    assert all(one.faulty and one.faulty[1] == one.length for one in data.measure)
    first = data.learn[0]
    assert first.schema.to_physical(first.runs[0].counts, first.runs[0].states)[0, :4] == pytest.approx(
        [518.67, 641.82, 1589.70, 1400.60]
    )


def test_every_fault_is_planted_on_both_roads_in_drives_that_nothing_was_learnt_from():
    planned = labelled._planned()
    seeds = {
        group: {(name, seed) for g, name, _, seed in planned if g == group}
        for group in ("learn", "tune", "measure")
    }
    assert not seeds["learn"] & seeds["measure"]
    faulty = [name for group, name, drive, _ in planned if labelled._faulty(drive)]
    assert len(faulty) == 2 * len(labelled.FAULTS)
    assert all(group == "measure" for group, _, drive, _ in planned if labelled._faulty(drive))
