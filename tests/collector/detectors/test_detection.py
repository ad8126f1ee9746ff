"""Scores against numpy, and the law: the same episodes however the stream is cut into blocks, and wherever it is begun anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.records import Records, concatenate
from codec.schema import Kind, Schema, Signal
from collector.detectors.detection import Detection, Detectors
from collector.detectors.kernels import NORMAL
from collector.detectors.settings import DetectorSettings
from collector.detectors.window import NEVER, Window, is_measurement, measured

RATE = 4
SCHEMA = Schema(
    RATE,
    (
        Signal("Temp", unit="degC", factor=0.5, offset=-40.0, threshold=1.0),
        Signal("State", labels=((0, "off"), (1, "on"))),
        Signal("Heading", unit="deg", factor=1.0, threshold=5.0, circular=360.0),
        Signal("Ratio", kind=Kind.FLOAT64, threshold=0.01),
        Signal("Serial", kind=Kind.WIDE_UNSIGNED),
    ),
)
TEMP, STATE, HEADING, RATIO = range(4)
BOTH = Detectors(DetectorSettings(robust=True, window_s=8, samples_min=3, quiet_s=2))


def stream(seconds: int, seed: int = 0, first_tick: int = 1000) -> Records:
    """Noise, and now and then something that is not noise, or nothing."""
    random = np.random.default_rng(seed)
    count = seconds * RATE
    counts = np.zeros((count, 5), np.int64)
    counts[:, TEMP] = 120 + random.integers(-3, 4, count) + 40 * (random.random(count) < 0.05)
    counts[:, STATE] = random.random(count) < 0.05
    counts[:, HEADING] = (355 + random.integers(-8, 9, count) + 120 * (random.random(count) < 0.05)) % 360
    counts[:, RATIO] = (random.normal(1.0, 0.05, count) + (random.random(count) < 0.05)).view(np.int64)
    states = (random.random((count, 5)) < 0.1).astype(np.uint8)
    counts[states > 0] = 0
    return Records(first_tick, counts, states)


def test_scores_are_what_numpy_makes_of_the_window():
    records = stream(40)
    window = Window(measured(SCHEMA, robust=True), 8)
    taken = window.measured.seconds(records, NEVER)
    scores = window.score(taken, 3, robust=True)
    assert window.measured.names == ("Temp", "Heading", "Ratio")
    scored = 0
    for row in range(len(taken.ticks)):
        for column in (0, 2):
            before = taken.values[max(0, row - 8) : row, column]
            before = before[~np.isnan(before)]
            value, noise = taken.values[row, column], (2.0, 5.0, 0.01)[column]
            if np.isnan(value) or len(before) < 3:
                assert np.isnan(scores.z[row, column])
                assert np.isnan(scores.robust[row, column])
                continue
            scored += 1
            median = np.median(before)
            mad = NORMAL * np.median(np.abs(before - median))
            for score, centre, spread in (
                (scores.z[row, column], before.mean(), before.std()),
                (scores.robust[row, column], median, mad),
            ):
                apart = value - centre
                expected = 0.0 if abs(apart) <= noise else apart / max(spread, noise / np.sqrt(3))
                assert score == pytest.approx(expected, rel=1e-9)
    assert scored > 40


def test_a_circle_has_no_edge_at_north():
    turned = stream(40)
    moved = Records(turned.first_tick, turned.counts.copy(), turned.states)
    moved.counts[:, HEADING] = (moved.counts[:, HEADING] + 185) % 360  # the same headings, far from north
    moved.counts[moved.states > 0] = 0
    scores = []
    for records in (turned, moved):
        window = Window(measured(SCHEMA, robust=True), 8)
        found = window.score(window.measured.seconds(records, NEVER), 3, robust=True)
        scores.append((found.z[:, 1], found.robust[:, 1]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-9)
    assert np.nanmax(np.abs(scores[0][0])) > 2.5
    assert np.nanmedian(np.abs(scores[0][0])) < 2


def test_states_counters_and_identifiers_are_no_measurements():
    assert not is_measurement(Signal("Alive"))
    assert not is_measurement(Signal("Gear", labels=((0, "P"), (1, "D"))))
    assert not is_measurement(Signal("Serial", unit="V", kind=Kind.WIDE_SIGNED))
    assert is_measurement(Signal("Volts", unit="V"))
    assert is_measurement(Signal("Share", factor=0.1))
    assert is_measurement(Signal("Speed", threshold=2.0, labels=((255, "fault"),)))


def steady(seconds: int, value: int, threshold: float = 1.0) -> tuple[Schema, Records]:
    schema = Schema(RATE, (Signal("Temp", unit="degC", factor=0.5, threshold=threshold),))
    counts = np.full((seconds * RATE, 1), value, np.int64)
    return schema, Records(0, counts, np.zeros(counts.shape, np.uint8))


def test_what_lies_within_the_threshold_is_never_unusual():
    schema, records = steady(30, 100)
    records.counts[80:, 0] += 2  # 1.0 degC
    assert Detection(BOTH, schema, 0).take(records) == []
    records.counts[80:, 0] += 1
    (z, robust) = Detection(BOTH, schema, 0).take(records)
    assert (z.detector, z.signal, z.first_tick, z.peak) == ("zscore", "Temp", 80, 51.5)
    assert z.score == pytest.approx(3 / (2 / np.sqrt(3)))
    assert robust.first_tick == 80


def test_an_episode_ends_where_it_was_last_seen_once_it_was_quiet():
    schema, records = steady(40, 100)
    records.counts[80:84] = 130  # the second 20
    records.counts[88:92] = 140  # and 22, within the two quiet seconds
    detection = Detection(Detectors(DetectorSettings(window_s=16, samples_min=3, quiet_s=2)), schema, 0)
    (open_one,) = detection.take(records.slice(0, 96))
    assert (open_one.first_tick, open_one.last_tick, open_one.peak, open_one.ended) == (
        80,
        88,
        65.0,
        False,
    )  # by then the window knew of 65
    (ended,) = detection.take(records.slice(96, 160))
    assert (ended.first_tick, ended.last_tick, ended.ended) == (80, 88, True)


def test_a_gap_empties_the_window_and_what_is_not_available_is_not_scored():
    schema, records = steady(30, 100)
    detection = Detection(BOTH, schema, 0)
    detection.take(records)
    far = Records(10_000, np.full((8, 1), 400, np.int64), np.zeros((8, 1), np.uint8))
    assert detection.take(far) == []
    schema, records = steady(30, 100)
    records.counts[80:] = 0
    records.states[80:] = 3
    assert Detection(BOTH, schema, 0).take(records) == []


def test_limits_are_of_signals_and_detectors_are_off_where_they_are_ignored():
    schema, records = steady(30, 100)
    records.counts[80:84] = 130
    of = {"limits": {"Temp": 100.0}, "window_s": 8, "samples_min": 3}
    assert Detection(Detectors(DetectorSettings(**of)), schema, 0).take(records) == []
    of = {"ignore": ("Temp",), "window_s": 8, "samples_min": 3}
    assert Detection(Detectors(DetectorSettings(**of)), schema, 0).take(records) == []


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 50), st.booleans()), max_size=12),
)
def test_the_same_episodes_however_the_stream_is_cut_and_begun_anew(seed, cuts):
    """Cuts: records of a block, ticks missing before it (mostly none), whether everything in memory is lost before it."""
    records = stream(60, seed, first_tick=seed * 7)
    blocks, at, hole = [], 0, 0
    for count, missing, _ in cuts:
        hole += missing if missing > 40 else 0
        part = records.slice(at, min(at + count, len(records)))
        blocks.append(Records(part.first_tick + hole, part.counts, part.states))
        at = min(at + count, len(records))
    rest = records.slice(at, len(records))
    blocks.append(Records(rest.first_tick + hole, rest.counts, rest.states))
    blocks = [block for block in blocks if len(block)]

    whole: dict = {}
    joined = Detection(BOTH, SCHEMA, 3)
    for run in concatenate(blocks):
        whole |= {(one.name, one.first_tick): one for one in joined.take(run)}

    cut: dict = {}
    detection = Detection(BOTH, SCHEMA, 3)
    for number, block in enumerate(blocks):
        if number < len(cuts) and cuts[number][2]:
            rows = [one for one in cut.values() if not one.ended]
            detection = Detection(BOTH, SCHEMA, 3, rows)
            for earlier in blocks[:number]:
                detection.window.fill(earlier, detection.first_second(block.first_tick))
        cut |= {(one.name, one.first_tick): one for one in detection.take(block)}
    assert cut == whole


def test_the_law_is_about_something():
    detection = Detection(BOTH, SCHEMA, 0)
    assert len(detection.take(stream(60))) > 5
