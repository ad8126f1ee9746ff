"""Images, backups and clones of outbox and store: nothing is lost, and nothing is stored twice."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest

from codec.records import Availability, Records
from codec.schema import Schema, Signal
from collector.store import open_store
from edge_agent.outbox_reader import OutboxReader
from edge_agent.rows import Reason, position_of, split_position
from tests.e2e.pair import CLOCK, VIN, Agent, Collector, Link, park, synchronise
from tests.edge_agent.samples import everything


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


@pytest.mark.parametrize("tenths", range(1, 10))
def test_what_was_acknowledged_stays_stored_when_a_cut_log_takes_it_back(tmp_path, collector, tenths):
    """The outbox goes on from an earlier commit, in places that the collector has already."""
    agent = Agent(tmp_path, "a.db")
    agent.image(tmp_path / "unused.db")  # what comes now stands in the write-ahead log alone
    agent.drive(125)
    agent.capture.flush(CLOCK)
    agent.drive(60)
    synchronise(agent, collector)
    known = collector.ticks()
    assert len(known) >= 125
    shutil.copy(agent.path, tmp_path / "b.db")
    log = tmp_path / "b.db-wal"
    shutil.copy(f"{agent.path}-wal", log)
    os.truncate(log, log.stat().st_size * tenths // 10)
    cut = Agent(tmp_path, "b.db")
    cut.drive(100, at=100_000)
    synchronise(cut, collector)
    cut.restart()
    synchronise(cut, collector)
    ticks = collector.ticks()
    assert set(known) <= set(ticks)
    assert set(cut.committed) <= set(ticks)
    assert set(ticks.values()) == {1}
    for one in (agent, cut):
        one.finish()


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


@pytest.mark.parametrize("leaving", [False, True])
def test_a_parked_vehicle_fills_a_store_again_that_was_restored_from_a_backup(tmp_path, collector, leaving):
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
    if leaving:  # its goodbye is on its way as soon as it is welcome
        park(agent, collector)
    else:
        Link(agent, collector).run()  # and nothing new to say
    all_stored_once(collector, agent)
    agent.finish()


def test_a_parked_vehicle_with_a_block_that_nobody_can_read_sends_all_that_is_after_it(tmp_path, collector):
    agent = Agent(tmp_path, "a.db")
    agent.drive(100)
    synchronise(agent, collector)
    bad = split_position(agent.wanted)
    agent.drive(200)
    agent.capture.flush(CLOCK)
    for _ in range(3):
        link = Link(agent, collector, on_the_way=lambda up: _spoilt(up, bad[1]))
        park(agent, collector, link)
    with OutboxReader(str(agent.path)) as reader:
        assert agent.wanted == reader.extent(agent.wanted).last + 1
    assert [reason for *_, reason in collector.gaps()] == ["quarantine"]
    agent.finish()


def _spoilt(up, seq):
    if up.HasField("batch") and up.batch.seq == seq:
        block = up.batch.block
        up.batch.block = block[:1] + bytes([block[1] ^ 0x41]) + block[2:]
    return up


def test_suppressed_dead_and_gap_are_three_things_in_the_store(tmp_path, collector):
    """What is predicted is a value, what stopped coming is a null, and what is lost is no record at all but an account of it."""
    agent = Agent(tmp_path, "a.db")
    stretches = []
    for state, temp in (
        (Availability.AVAILABLE, 30.0),
        (Availability.STALE, 0.0),
        (Availability.AVAILABLE, 31.0),
    ):
        counts = np.full((150, 2), round(temp / 0.5), np.int64)
        records = Records(agent.tick, counts, np.full((150, 2), [state, Availability.AVAILABLE], np.uint8))
        stretches.append(records)
        agent.capture._records([records], CLOCK)
        agent.capture.pipeline.ask_keyframe()
        agent.capture.flush(CLOCK)
        agent.tick += 150
    suppressed, dead, lost = stretches
    outbox = agent.capture.outbox
    first = next(row.position for row in everything(agent.path)[0] if row.first_tick == lost.first_tick)
    with outbox._transaction():
        outbox._drop(first, position_of(0, outbox._stream(0)[1].next_seq), Reason.QUOTA)
    agent.capture.pipeline.ask_keyframe()
    agent.drive(100)
    agent.capture.flush(CLOCK)
    synchronise(agent, collector)
    agent.finish()

    store = open_store(collector.path)
    found = {
        run.records.first_tick + at: (run.records.states[at, 0], run.records.counts[at, 0])
        for run in store.runs(VIN)
        for at in range(len(run.records))
    }
    assert all(
        found[tick][0] == Availability.AVAILABLE and abs(found[tick][1] - 60) <= 2
        for tick in ticks(suppressed)
    )
    assert all(found[tick][0] == Availability.STALE for tick in ticks(dead))
    assert not any(tick in found for tick in ticks(lost))
    assert [(gap["records"], gap["end_tick"]) for gap in store.gaps(VIN)] == [(150, lost.end_tick)]
    seconds = {row["tick"]: json.loads(row["data"])["Temp"] for row in store.latest(0)}
    assert {seconds[tick] for tick in ticks(suppressed) if tick in seconds} == {30.0}
    assert {seconds[tick] for tick in ticks(dead) if tick in seconds} == {None}
    assert not any(tick in seconds for tick in ticks(lost))


def ticks(records):
    return range(records.first_tick, records.end_tick)


def test_a_stream_under_an_older_schema_is_finished_after_a_newer_one_began(tmp_path, collector, monkeypatch):
    """Cut short by a crash, continued by newer software with other signals, while the collector has half of it."""
    agent = Agent(tmp_path, "a.db")
    agent.drive(100)
    synchronise(agent, collector)
    agent.drive(80)
    agent.capture.outbox._db.close()
    os.close(agent.capture.outbox._lock)
    newer = Schema(50, (Signal("Temp", "degC", factor=0.5, threshold=2.0), Signal("Torque", "Nm")))
    monkeypatch.setattr("tests.e2e.pair.SCHEMA", newer)
    agent.tick += 10
    agent.start()
    agent.drive(100)
    agent.capture.flush(CLOCK)
    synchronise(agent, collector)
    agent.finish()
    all_stored_once(collector, agent)
    assert not collector.gaps()
    signals = {run.facts.stream_no: run.schema.names for run in open_store(collector.path).runs(VIN)}
    assert signals == {0: ("Temp", "Gear"), 1: ("Temp", "Torque")}
