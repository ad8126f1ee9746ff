"""Forests: scikit-learn's scores without it, files that are refused, and scores in the stream."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Records
from codec.schema import Schema, Signal
from collector.detectors.detection import Detection, Detectors
from collector.detectors.forest import Forest, ForestError, Header, next_version
from collector.detectors.settings import DetectorSettings, DetectorSettingsError
from collector.detectors.training import features, fit

HEADER = Header(
    "pack", 1, "?", "2026-01-01T00:00:00.000Z", ("asset:a",), 1, 1.0, 1, features([("A", "V"), ("B", "A")])
)
ONLY = DetectorSettings(zscore=False, confidence=0.98, quiet_s=2)


def healthy(count: int, seed: int = 0) -> np.ndarray:
    a = np.random.default_rng(seed).normal(400, 10, count)
    return np.column_stack([a, 2 * a + np.random.default_rng(seed + 1).normal(0, 1, count)])


@pytest.fixture(scope="module")
def forest() -> Forest:
    return fit(HEADER, healthy(2000), healthy(1000, 7))


@pytest.mark.parametrize("count", [150, 2000])
def test_scores_are_scikit_learns_to_the_bit(count):
    from sklearn.ensemble import IsolationForest

    from collector.detectors.training import SEED, TREE_SAMPLES, TREES, scaling

    training = healthy(count)
    mine = fit(HEADER, training, healthy(500, 3))
    centre, scale = scaling(training)
    theirs = IsolationForest(n_estimators=TREES, max_samples=min(TREE_SAMPLES, count), random_state=SEED)
    theirs.fit(((training - centre) / scale).astype(np.float32))
    samples = np.random.default_rng(5).normal(500, 200, (300, 2))
    expected = -theirs.score_samples(((samples - centre) / scale).astype(np.float32))
    np.testing.assert_array_equal(mine.judge(samples).score, expected)


def test_confidence_is_the_share_of_held_out_samples_that_are_less_strange(forest):
    judged = forest.judge(healthy(4000, 11))
    for share in (0.5, 0.9, 0.99):
        assert (judged.confidence > share).mean() == pytest.approx(1 - share, abs=0.03)
    strange = forest.judge(np.array([[400.0, 800.0], [450.0, 300.0]]))
    assert strange.confidence[0] < 0.9
    assert strange.confidence[1] > 0.98
    assert forest.signals[strange.leading[1]] == "B"


def test_a_file_says_all_that_a_model_is(forest):
    read = Forest.from_bytes(forest.to_bytes())
    assert read.header == forest.header
    assert read.header.library.startswith("scikit-learn ")
    assert [one.unit for one in read.header.features] == ["V", "A"]
    np.testing.assert_array_equal(read.judge(healthy(50)).score, forest.judge(healthy(50)).score)


def test_a_file_that_is_no_sound_model_is_refused_by_what_is_wrong(forest):
    content = forest.to_bytes()
    with pytest.raises(ForestError, match="is no model"):
        Forest.from_bytes(b"hello")
    with pytest.raises(ForestError, match="another format; this collector reads format 1"):
        Forest.from_bytes(content.replace(b"format 1", b"format 2", 1))
    with pytest.raises(ForestError, match="damaged"):
        Forest.from_bytes(content[:-1])
    for trees, says in (
        (forest.trees._replace(left=np.minimum(forest.trees.left, 0)), "do not stand after it"),
        (forest.trees._replace(feature=forest.trees.feature + 9), "feature that is not there"),
        (forest.trees._replace(depth=forest.trees.depth[:-1]), "differ in length"),
        (forest.trees._replace(roots=forest.trees.roots - 1), "no root"),
        (forest.trees._replace(depth=forest.trees.depth * np.nan), "not finite"),
    ):
        with pytest.raises(ForestError, match=says):
            replace(forest, trees=trees)


@given(at=st.integers(0, 10_000), change=st.binary(min_size=1, max_size=40), sealed=st.booleans())
def test_whatever_a_file_holds_it_is_read_or_refused(at, change, sealed):
    import hashlib

    content = bytearray(_content())
    at %= len(content) - 32
    content[at : at + len(change)] = change
    if sealed:
        content[-32:] = hashlib.sha256(content[:-32]).digest()
    with contextlib.suppress(ForestError):
        Forest.from_bytes(bytes(content)).judge(healthy(3))


def _content(_known: list = []) -> bytes:  # noqa: B006
    if not _known:
        _known.append(fit(HEADER, healthy(100), healthy(100, 3), trees=2, tree_samples=16).to_bytes())
    return _known[0]


SCHEMA = Schema(
    2,
    (
        Signal("B", unit="A", factor=0.1, threshold=0.5),
        Signal("Other", unit="V", threshold=1.0),
        Signal("A", unit="V", factor=0.5, offset=100.0, threshold=0.5),
    ),
)


def drive(samples: np.ndarray) -> Records:
    """Two records of each sample."""
    twice = samples.repeat(2, axis=0)
    counts = np.round(
        np.column_stack([twice[:, 1] / 0.1, twice[:, 0] * 0, (twice[:, 0] - 100) / 0.5])
    ).astype(np.int64)
    return Records(0, counts, np.zeros(counts.shape, np.uint8))


def test_in_the_stream_what_was_never_seen_is_an_episode_with_its_confidence_and_leading_signal(forest):
    samples = np.tile([[400.0, 800.0]], (60, 1))
    samples[30:33] = 450.0, 300.0
    (episode,) = Detection(Detectors(ONLY, (forest,)), SCHEMA, 0).take(drive(samples))
    assert (episode.detector, episode.signal) == ("forest:pack-v1", "B")
    assert (episode.first_tick, episode.last_tick, episode.ended) == (60, 64, True)
    assert episode.confidence is not None
    assert episode.confidence > 0.98
    assert episode.score == episode.peak == forest.judge(np.array([[450.0, 300.0]])).score[0]


@pytest.mark.parametrize("smooth_s", [1, 5])
def test_it_is_the_same_in_blocks_of_any_length_and_after_a_restart(forest, smooth_s):
    smooth = replace(forest, header=replace(forest.header, smooth_s=smooth_s))
    detectors = Detectors(replace(ONLY, confidence=0.9, window_s=8, samples_min=4), (smooth,))
    samples = healthy(80, 30)
    for at in (20, 44, 68):
        samples[at : at + 5] += 60.0, -90.0
    records = drive(samples)
    records.states[41:44, 0] = 2
    whole = {(e.name, e.first_tick): e for e in Detection(detectors, SCHEMA, 0).take(records)}
    assert len(whole) > 2
    for size in (1, 3, 16, 50):
        cut: dict = {}
        for at in range(0, len(records), size):
            detection = Detection(detectors, SCHEMA, 0, [e for e in cut.values() if not e.ended])
            detection.window.fill(records.slice(0, at), detection.first_second(at)) if at else None
            block = records.slice(at, min(at + size, len(records)))
            cut |= {(e.name, e.first_tick): e for e in detection.take(block)}
        assert cut == whole


def test_means_are_of_the_seconds_up_to_each(forest):
    smooth = replace(forest, header=replace(forest.header, smooth_s=3))
    detection = Detection(Detectors(ONLY, (smooth,)), SCHEMA, 0)
    records = drive(healthy(12, 4))
    detection.take(records.slice(0, 10))
    taken = detection._measured.seconds(records.slice(10, 24), detection.window.last_second)
    found = detection._forests[0].inputs.values(detection.window, taken)
    physical = SCHEMA.to_physical(records.counts, records.states)[::2][:, [2, 0]]
    np.testing.assert_allclose(found, [physical[i - 2 : i + 1].mean(axis=0) for i in range(5, 12)])


def test_a_vehicle_that_lacks_a_feature_or_has_it_in_another_unit_is_not_judged(forest):
    detectors = Detectors(ONLY, (forest,))
    strange = drive(np.full((40, 2), 900.0))
    assert Detection(detectors, SCHEMA, 0).take(strange)
    for signals in (SCHEMA.signals[:2], (replace(SCHEMA.signals[0], unit="mA"), *SCHEMA.signals[1:])):
        schema = Schema(2, signals)
        columns = Records(
            0, strange.counts[:, : len(signals)].copy(), strange.states[:, : len(signals)].copy()
        )
        assert Detection(detectors, schema, 0).take(columns) == []


def test_what_cannot_work_is_refused_before_it_runs(forest):
    smooth = replace(forest, header=replace(forest.header, smooth_s=300))
    with pytest.raises(DetectorSettingsError, match="takes means of 300 s"):
        Detectors(ONLY, (smooth,))
    with pytest.raises(DetectorSettingsError, match="two files hold the same model"):
        Detectors(ONLY, (forest, forest))


def test_versions_count_up_by_name():
    assert next_version(["pack-v1", "pack-v10", "motor-v3", "pack-old"], "pack") == 11
    assert next_version([], "pack") == 1
