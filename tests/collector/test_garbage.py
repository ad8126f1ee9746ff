from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from collector import garbage
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


class Conversation:
    """Refers to itself, as what asyncio and gRPC make of a call does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("as_before")
async def test_what_died_old_is_found_too(monkeypatch):
    monkeypatch.setattr(garbage, "LOOK_S", 0.01)
    one = Conversation()
    gone = weakref.ref(one)
    look_seldom()
    gc.unfreeze()
    gc.collect()  # it is old now
    del one
    looking = asyncio.create_task(garbage.look_now_and_then())
    async with asyncio.timeout(20):
        while gone() is not None:
            await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.wait({looking})
