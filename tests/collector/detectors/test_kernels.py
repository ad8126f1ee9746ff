"""Compiled ahead of time, the kernels give the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import collector.detectors
from codec.__main__ import imported
from codec.compile import compile_package
from codec.kernel import kernels_from
from codec.library import Library, Unfit, open_library
from collector.detectors.detection import Detection, Detectors
from collector.detectors.settings import DetectorSettings
from tests.collector.detectors.test_detection import BOTH, SCHEMA, stream
from tests.collector.detectors.test_forest import HEADER, drive, fit, healthy
from tests.collector.detectors.test_forest import SCHEMA as OF_FOREST

PACKAGE = Path(collector.detectors.__path__[0])


def test_compiled_kernels_score_as_numbas_do(tmp_path):
    library = open_library(
        PACKAGE, compile_package(imported("collector.detectors"), to=tmp_path / "detectors.so")
    )
    assert isinstance(library, Library)
    forest = fit(HEADER, healthy(300), healthy(200, 3), trees=20)
    judging = Detectors(DetectorSettings(zscore=False, confidence=0.5), (forest,))
    found = []
    for origin in (Unfit("not asked for"), library):
        with kernels_from({PACKAGE: origin}):
            episodes = Detection(BOTH, SCHEMA, 0).take(stream(120))
            scores = forest.judge(np.array([[400.0, 800.0], [450.0, 300.0]])).score.tolist()
            found.append((episodes, scores, Detection(judging, OF_FOREST, 0).take(drive(healthy(60)))))
    assert found[0] == found[1]
    assert all(map(len, found[0]))
