from __future__ import annotations

import gc

import pytest

from collector.garbage import THRESHOLDS, look_seldom


@pytest.fixture
def as_before():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("as_before")
def test_what_is_loaded_is_not_looked_at_again_and_the_rest_seldom():
    look_seldom()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold() == THRESHOLDS
    around: list[object] = []
    around.append(around)
    del around
    assert gc.collect() >= 1  # it goes on to be found
