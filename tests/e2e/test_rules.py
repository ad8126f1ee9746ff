"""Rules that change while vehicles drive: their guards go down, blocks name them, and verdicts are exact from there on."""

from __future__ import annotations

import pytest

from codec.guards import GuardSet
from collector.conversation import Conversation, Send
from collector.items import Position, Welcomed
from collector.rules import load_rules
from collector.store import open_store
from protos import telemetry_pb2 as pb
from tests.collector.test_conversation import GUARDS, hello, opened, said
from tests.e2e.pair import CLOCK, RULES, VIN, Agent, Collector, Link

COOLER = load_rules(
    '[[rule]]\ncode = "HOT"\nwhen = "Temp > 40"\nseverity = "WARNING"\ndescription = "warm"\n'
)


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


def faults(collector):
    return [
        (fault["severity"], fault["end_reason"], fault["approximate"])
        for fault in open_store(collector.path).faults(VIN)
    ]


def test_a_vehicle_encodes_under_new_guards_from_the_next_block_on_and_verdicts_are_exact(agent, collector):
    link = Link(agent, collector)
    link.talk()
    agent.drive(90, temp=55)
    link.stored()
    link.talk()
    assert faults(collector) == [("CRITICAL", None, False)]
    link.change_rules(COOLER)
    agent.drive(25, temp=55)  # the guards are on their way: these are encoded without them
    agent.capture.flush(CLOCK)
    link.stored()
    link.talk()
    assert faults(collector) == [("CRITICAL", "rule changed", False), ("WARNING", None, True)]
    assert agent.capture.outbox.guards_hash == COOLER.guards().hash, "kept, for the next start too"
    agent.drive(60, temp=30)
    agent.drive(60, temp=44)
    link.stored()
    link.talk()
    assert faults(collector)[2] == ("WARNING", None, False)
    link.reader.close()


def test_rules_that_change_while_a_backlog_drains_judge_what_comes_after(agent, collector):
    agent.drive(60)
    Link(agent, collector).run()
    agent.drive(900, temp=55)
    link = Link(agent, collector)
    link.talk(5)
    assert faults(collector) == [("CRITICAL", None, False)]
    link.change_rules(COOLER)
    link.talk()
    assert faults(collector) == [("CRITICAL", "rule changed", False), ("WARNING", None, True)]
    agent.drive(60, temp=30)
    agent.drive(60, temp=44)
    link.stored()
    link.talk()
    assert faults(collector)[2] == ("WARNING", None, False)
    link.change_rules(RULES)
    link.talk()
    assert agent.capture.outbox.guards_hash == RULES.guards().hash
    link.reader.close()


# The collector's side of it


def told_blobs(actions):
    return [
        action.message.blob
        for action in actions
        if isinstance(action, Send) and action.message.HasField("blob")
    ]


def test_guards_that_change_are_told_at_once_and_once():
    one = opened(guards_hash=GUARDS.hash)
    (blob,) = told_blobs(one.guards_changed(COOLER.guards()))
    assert (blob.kind, blob.hash, blob.content) == (
        pb.BLOB_KIND_GUARDS,
        COOLER.guards().hash,
        COOLER.guards().to_bytes(),
    )
    assert one.guards_changed(COOLER.guards()) == []
    assert [blob.hash for blob in told_blobs(one.guards_changed(GuardSet()))] == [b""]


def test_guards_that_change_while_a_vehicle_is_greeted_follow_welcome():
    one = Conversation()
    one.received(hello(guards_hash=GUARDS.hash), 0)
    assert one.guards_changed(COOLER.guards()) == []
    told = one.ingested(Welcomed(None, Position(0, 0), GUARDS.to_bytes(), GUARDS.hash), 0)
    assert said(told) == ["welcome", "blob"]
    assert [blob.hash for blob in told_blobs(told)] == [COOLER.guards().hash]


def test_guards_are_told_to_nobody_who_has_not_said_hello_or_is_gone():
    assert Conversation().guards_changed(COOLER.guards()) == []
    one = opened()
    one.lost()
    assert one.guards_changed(COOLER.guards()) == []
