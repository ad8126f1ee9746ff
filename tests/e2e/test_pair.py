"""Images, backups and clones of outbox and store: nothing is lost, and nothing is stored twice."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.e2e.pair import CLOCK, Agent, Collector, Link, synchronise


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


def test_an_outbox_restored_from_a_backup_forks_and_nothing_is_stored_twice(tmp_path, collector):
    agent = Agent(tmp_path, "a.db")
    agent.drive(100)
    agent.drive(50, temp=60)
    agent.drive(100)
    agent.image(tmp_path / "backup.db")  # with everything still unacknowledged in it
    synchronise(agent, collector)
    agent.drive(200)
    synchronise(agent, collector)
    agent.finish()
    faults = collector.faults()
    restored = Agent(tmp_path, "backup.db")
    restored.drive(100, at=50_000)
    synchronise(restored, collector)
    all_stored_once(collector, agent, restored)
    assert collector.faults() == faults == [1100]
    assert not collector.gaps()
    restored.finish()


@pytest.mark.parametrize("sent", [0, 2, 9])
def test_what_two_clones_both_hold_is_stored_once_whoever_sends_it(tmp_path, collector, sent):
    """The card was copied while the agent ran: the clone makes a shorter last block of the journal."""
    original = Agent(tmp_path, "a.db")
    original.drive(40)
    if sent:
        original.capture.flush(CLOCK)
        Link(original, collector).run(sent)
    original.drive(125)
    shutil.copy(original.path, tmp_path / "b.db")
    shutil.copy(f"{original.path}-wal", tmp_path / "b.db-wal")
    original.drive(17)
    clone = Agent(tmp_path, "b.db")
    clone.drive(100, at=100_000)
    synchronise(clone, collector)
    synchronise(original, collector)
    collector.restart()
    original.restart()
    original.drive(20)
    synchronise(original, collector)
    all_stored_once(collector, original, clone)
    assert not collector.gaps()
    for agent in (original, clone):
        agent.finish()


def test_a_parked_vehicle_fills_a_store_again_that_was_restored_from_a_backup(tmp_path, collector):
    agent = Agent(tmp_path, "a.db")
    agent.drive(100)
    synchronise(agent, collector)
    collector.ledger.close()
    shutil.copy(collector.path, tmp_path / "backup")
    collector.start()
    agent.restart()
    agent.drive(300)
    synchronise(agent, collector)
    collector.ledger.close()
    shutil.copy(tmp_path / "backup", collector.path)
    collector.start()
    Link(agent, collector).run()  # and nothing new to say
    all_stored_once(collector, agent)
    agent.finish()
