"""Priors on their way: trained on what is stored, offered, kept, started from, lost and found again, on either side."""

from __future__ import annotations

import sqlite3

import pytest

from codec.priors import built_in, make_prior
from collector.__main__ import main
from collector.store import open_store
from edge_agent.outbox_reader import OutboxReader
from edge_agent.rows import BatchRow, position_of
from tests.e2e.pair import CLOCK, VIN, Agent, Collector, Link, park, synchronise
from tests.e2e.test_pair import all_stored_once


@pytest.fixture
def collector(tmp_path):
    made = Collector(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path, "a.db")
    yield made
    made.finish()


@pytest.fixture
def trained(agent, collector, capsys):
    """A drive is stored and a prior trained on it. The name of the prior."""
    agent.drive(2400)
    synchronise(agent, collector)
    assert main(["priors", "train", "--store", str(collector.path)]) == 0
    (row,) = open_store(collector.path).offered_priors()
    assert row["prior"] in capsys.readouterr().out
    return bytes.fromhex(row["prior"])


def adopt(agent, collector, name):
    """Connect once: the agent gets what is offered."""
    Link(agent, collector).run()
    assert agent.capture.prior_hash == name


def bytes_of(agent, stream_no):
    with OutboxReader(str(agent.path)) as reader:
        rows = reader.fetch(position_of(stream_no, 0), bytes_max=1 << 20).rows
    return sum(len(row.content) for row in rows if isinstance(row, BatchRow) and row.stream_no == stream_no)


def priors_in_use(collector):
    return [stream.facts.prior_hash for stream in open_store(collector.path).streams(VIN)]


def values(collector):
    runs = open_store(collector.path).runs(VIN)
    return {
        run.records.first_tick + k: row for run in runs for k, row in enumerate(run.records.counts.tolist())
    }


def test_the_next_drive_is_smaller_on_the_wire_and_reads_the_same(tmp_path, agent, collector, trained):
    adopt(agent, collector, trained)
    agent.drive(1200, at=50_000)
    synchronise(agent, collector)
    assert priors_in_use(collector) == [b"", trained]
    plain = Agent(tmp_path, "plain.db")
    plain.drive(1200, at=50_000)
    plain.capture.flush(CLOCK)
    assert bytes_of(agent, 1) < bytes_of(plain, 0)
    (tmp_path / "plain").mkdir()
    other = Collector(tmp_path / "plain")
    synchronise(plain, other)
    mine, theirs = values(collector), values(other)
    assert len(theirs) == 1200
    limits = [
        2 * signal.max_error_counts for signal in open_store(collector.path).streams(VIN)[0].schema.signals
    ]
    for tick, counts in theirs.items():
        assert all(abs(a - b) <= limit for a, b, limit in zip(counts, mine[tick], limits, strict=True))
    all_stored_once(collector, agent)
    assert open_store(collector.path).offered_priors()[0]["vehicles"] == 1
    plain.finish()
    other.ledger.close()


def test_it_is_sent_once_and_kept_over_restarts_of_either_side(agent, collector, trained):
    link = Link(agent, collector)
    link.run()
    assert len(link.offered) == 1
    agent.drive(100)
    agent.restart()
    collector.restart()
    again = Link(agent, collector)
    again.run()
    assert not again.offered
    agent.drive(100)
    synchronise(agent, collector)
    assert priors_in_use(collector) == [b"", trained, trained]
    all_stored_once(collector, agent)


def test_a_stream_that_a_crash_cut_short_is_finished_under_its_prior(agent, collector, trained):
    adopt(agent, collector, trained)
    agent.drive(35)
    crash(agent)
    synchronise(agent, collector)
    assert priors_in_use(collector) == [b"", trained]
    assert set(collector.ticks()) == set(agent.committed)


def crash(agent):
    """What was committed is on the disk, what was not is gone."""
    journaled = agent.tick - agent.capture.pipeline.uncommitted
    agent.committed = [tick for tick in agent.committed if tick < journaled]
    agent.capture.close()
    agent.start()


def forget_blobs(path, name):
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM blobs WHERE kind = 3 AND hash = ?", (name,))
    db.close()


def damage_blobs(path, name):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE blobs SET content = x'00' WHERE kind = 3 AND hash = ?", (name,))
    db.close()


def lose_on_both_sides(agent, collector, name):
    """While blocks that start from it wait in the outbox."""
    adopt(agent, collector, name)
    agent.drive(240)
    agent.capture.flush(CLOCK)
    forget_blobs(collector.path, name)
    damage_blobs(agent.path, name)
    agent.restart()


@pytest.mark.parametrize("harm", [forget_blobs, damage_blobs])
def test_a_collector_that_lost_it_asks_the_vehicle_for_it(agent, collector, trained, harm):
    adopt(agent, collector, trained)
    agent.drive(100)  # in the middle of a keyframe group
    synchronise(agent, collector)
    harm(collector.path, trained)
    collector.restart()
    agent.drive(300)
    synchronise(agent, collector)
    all_stored_once(collector, agent)
    assert not collector.gaps()


def test_what_starts_from_a_prior_that_both_sides_lost_is_a_gap_and_the_rest_goes_on(
    agent, collector, trained
):
    lose_on_both_sides(agent, collector, trained)
    assert agent.capture.prior_hash == b""
    assert agent.capture.priors_refused == 1
    collector.restart()
    agent.drive(100)
    synchronise(agent, collector)
    assert priors_in_use(collector) == [b"", trained, b""]
    lost = set(agent.committed) - set(collector.ticks())
    assert len(lost) == 240
    assert [gap[3] for gap in collector.gaps()] == ["quarantine"]


def test_a_damaged_prior_never_stops_capture_and_comes_again(agent, collector, trained):
    adopt(agent, collector, trained)
    agent.drive(35)
    damage_blobs(agent.path, trained)
    crash(agent)  # its journal, too, was to be finished under that prior
    assert agent.capture.priors_refused == 1
    agent.drive(100)
    adopt(agent, collector, trained)
    agent.drive(100)
    synchronise(agent, collector)
    all_stored_once(collector, agent)


def test_a_prior_for_something_else_is_refused_and_capture_goes_on(agent, collector, trained):
    rows = 7
    foreign = make_prior(
        built_in().contexts.repeat(rows, axis=0), built_in().weights.repeat(rows, axis=0), built_in()
    )
    with sqlite3.connect(collector.path) as db:
        db.execute("INSERT INTO blobs VALUES (3, ?, ?)", (foreign.hash, foreign.content))
        db.execute("UPDATE priors SET prior_hash = ?", (foreign.hash,))
    db.close()
    Link(agent, collector).run()
    assert agent.capture.prior_hash == b""
    assert agent.capture.priors_refused == 1
    agent.drive(100)
    synchronise(agent, collector)
    all_stored_once(collector, agent)


def test_a_fork_takes_its_priors_along(tmp_path, agent, collector, trained):
    adopt(agent, collector, trained)
    agent.drive(100)
    agent.image(tmp_path / "b.db")
    clone = Agent(tmp_path, "b.db")
    clone.drive(100, at=100_000)
    agent.drive(100)
    synchronise(agent, collector)
    forget_blobs(collector.path, trained)
    synchronise(clone, collector)
    all_stored_once(collector, agent, clone)
    assert clone.capture.prior_hash == trained
    clone.finish()


def test_priors_that_nothing_names_any_more_go(agent, collector, trained):
    adopt(agent, collector, trained)
    outbox = agent.capture.outbox
    other = make_prior(
        built_in().contexts.repeat(2, axis=0), built_in().weights.repeat(2, axis=0), built_in()
    )
    agent.capture.set_prior(other.content, CLOCK)  # no stream ever began under the first
    with sqlite3.connect(agent.path) as db:
        assert db.execute("SELECT hash FROM blobs WHERE kind = 3").fetchall() == [(other.hash,)]
    db.close()
    agent.drive(100)
    agent.capture.set_prior(open_store(collector.path).offered_prior(agent_schema(collector)).content, CLOCK)
    assert outbox.blob(3, other.hash) == other.content
    agent.drive(100)
    synchronise(agent, collector)
    all_stored_once(collector, agent)


def agent_schema(collector):
    return open_store(collector.path).streams(VIN)[0].schema


def test_a_parked_vehicle_gives_the_collector_the_prior_that_it_lost(agent, collector, trained):
    adopt(agent, collector, trained)
    agent.drive(100)
    synchronise(agent, collector)
    forget_blobs(collector.path, trained)
    collector.restart()
    agent.drive(300)
    agent.capture.flush(CLOCK)
    for _ in range(2):  # it asks after goodbye, and what it could not take comes in the next conversation
        park(agent, collector)
    all_stored_once(collector, agent)


def test_a_parked_vehicle_that_lost_it_too_sends_the_rest(agent, collector, trained):
    lose_on_both_sides(agent, collector, trained)
    collector.restart()
    agent.drive(100)
    agent.capture.flush(CLOCK)
    for _ in range(4):
        park(agent, collector)
    with OutboxReader(str(agent.path)) as reader:
        assert agent.wanted == reader.extent(agent.wanted).last + 1
