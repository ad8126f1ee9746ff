"""Images, backups and clones of an outbox: nothing is lost, and nothing is stored twice."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.pair import Agent, Collector, synchronise


@pytest.fixture
def collector(tmp_path):
    made = Collector(tmp_path)
    yield made
    made.ledger.close()


def all_stored_once(collector, *agents):
    wanted = Counter(tick for agent in agents for tick in set(agent.committed))
    assert collector.ticks() == wanted


def test_the_clone_of_a_card_reports_first_and_the_original_loses_nothing(tmp_path, collector):
    original = Agent(tmp_path, "a.db")
    original.drive(300)
    synchronise(original, collector)
    original.image(tmp_path / "b.db")
    clone = Agent(tmp_path, "b.db")
    clone.drive(300, at=100_000)
    synchronise(clone, collector)
    original.drive(300, at=200_000)
    original.restart()
    original.drive(300)
    synchronise(original, collector)
    all_stored_once(collector, original, clone)
    assert not collector.gaps()
    for agent in (original, clone):
        agent.finish()
