"""The writer with a store that cannot be written: nothing is acked, nothing is lost, nothing dies."""

from __future__ import annotations

import itertools
import os
import queue
import random
import resource
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from codec.schema import Schema, Signal
from collector.ingest.ingest import Ingest
from collector.items import BatchItem, Failed, Noted, Position, Repeated, Stored, Welcomed
from collector.rules import load_rules
from collector.store import open_store
from collector.store.ledger import StoreLedger
from collector.writer import GROUP_MAX, Turns, Writer, commit
from tests.collector.vehicle import NOW_NS, RULES, SCHEMA, Bench, Vehicle, within_bounds

LONG_S = 60  # kernels may be compiling
FULL_BYTES = 16 << 10
FLIPS = int(os.environ.get("FLIPS", "40"))
OTHER_SCHEMA = Schema(10, (*SCHEMA.signals[:2], Signal("Gear", labels=((0, "P"), (1, "Drive")))))
OTHER_RULES = load_rules('[[rule]]\ncode="HOT"\nwhen="Temp > 40"\nseverity="INFO"\ndescription="warm"')


class Agent:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._outcomes: queue.Queue = queue.Queue()

    def ingested(self, outcome) -> None:
        self._outcomes.put(outcome)

    def submit(self, *items) -> None:
        for item in items:
            self._writer.submit(self, item)

    def hears(self):
        return self._outcomes.get(timeout=LONG_S)

    def hears_nothing_yet(self) -> bool:
        return self._outcomes.empty()


def deliver(delivery) -> None:
    for recipient, outcome in delivery:
        recipient.ingested(outcome)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.db"


@pytest.fixture
def writer(path):
    one = Writer(StoreLedger(path), Ingest(RULES), deliver, lambda: NOW_NS)
    one.start()
    yield one
    assert one.stop(LONG_S)


@pytest.fixture
def agent(writer):
    return Agent(writer)


def test_outcomes_come_in_the_order_of_items(agent, vehicle):
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), *(vehicle.drive() for _ in range(50)))
    assert isinstance(agent.hears(), Welcomed)
    agent.hears(), agent.hears()
    assert [agent.hears() for _ in range(50)] == [Stored(Position(0, seq)) for seq in range(50)]


def test_a_locked_store_is_waited_for(agent, path, vehicle):
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive())
    outcomes = [agent.hears() for _ in range(4)]
    assert outcomes[-1] == Stored(Position(0, 0))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    agent.submit(vehicle.drive())
    with pytest.raises(queue.Empty):
        agent._outcomes.get(timeout=0.6)  # longer than the lock is waited for: it was tried, and no ack came
    holder.execute("ROLLBACK")
    holder.close()
    assert agent.hears() == Stored(Position(0, 1))


def test_a_full_disk_is_waited_for_and_nothing_is_stored_by_halves(agent, path, vehicle):
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive())
    assert [agent.hears() for _ in range(4)][-1] == Stored(Position(0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (FULL_BYTES, hard)
    )  # files cannot grow: SQLite meets a real error
    try:
        agent.submit(*(vehicle.drive() for _ in range(5)))
        with pytest.raises(queue.Empty):
            agent._outcomes.get(timeout=0.5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [agent.hears() for _ in range(5)] == [Stored(Position(0, seq)) for seq in range(1, 6)]
    runs = [(run.facts.stream_no, run.records) for run in open_store(path).runs("asset:one")]
    assert within_bounds(vehicle.sampled, runs)


def test_an_item_that_meets_a_bug_fails_alone(writer, agent, vehicle, capsys):
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run())
    for _ in range(3):
        agent.hears()
    other, others = Vehicle("asset:two", outbox=2), Agent(writer)
    poison = BatchItem(vehicle.key, 0, "not a number", False, b"x")  # type: ignore[arg-type]
    agent.submit(poison, vehicle.drive())
    others.submit(other.greeting)
    agent.submit(vehicle.drive())
    outcomes = [agent.hears() for _ in range(3)]
    assert isinstance(outcomes[0], Failed)
    assert outcomes[1:] == [Stored(Position(0, 0)), Stored(Position(0, 1))]
    assert isinstance(others.hears(), Welcomed)


def test_a_stop_writes_what_was_submitted(path, vehicle):
    writer = Writer(StoreLedger(path), Ingest(RULES), deliver, lambda: NOW_NS)
    agent = Agent(writer)
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), *(vehicle.drive() for _ in range(20)))
    writer.start()
    assert writer.stop(LONG_S)
    assert sum(len(run.records) for run in open_store(path).runs("asset:one")) == 400


def test_a_stop_does_not_wait_for_a_lock(path, vehicle):
    writer = Writer(StoreLedger(path), Ingest(RULES), deliver, lambda: NOW_NS)
    agent = Agent(writer)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    agent.submit(vehicle.greeting)
    writer.start()
    assert writer.stop(LONG_S)
    assert agent.hears_nothing_yet()
    holder.close()


def test_a_writer_that_cannot_go_on_says_so_instead_of_taking_what_it_does_not_store(path, vehicle):
    writer = Writer(StoreLedger(path), Ingest(RULES), deliver, lambda: NOW_NS)
    told = threading.Event()
    writer.start(lambda: 1 / 0, told.set)
    assert told.wait(LONG_S)
    assert writer.stop(LONG_S)
    assert writer.failed


def test_a_commit_of_which_nobody_knows_is_applied_once(path, vehicle, monkeypatch):
    """The commit happened, and its success was reported as an error: the batch is there, and acked as a duplicate."""
    ledger = StoreLedger(path)
    writer = Writer(ledger, Ingest(RULES), deliver, lambda: NOW_NS)
    agent = Agent(writer)
    writer.start()
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run())
    for _ in range(3):
        agent.hears()
    close = StoreLedger.transaction
    failures = [sqlite3.OperationalError("disk I/O error")]

    def transaction(self):
        from contextlib import contextmanager

        from collector.store.engine import explained

        @contextmanager
        def unsure():
            with explained(self.address):
                with close(self) as one:
                    yield one
                if failures:
                    raise failures.pop()

        return unsure()

    monkeypatch.setattr(StoreLedger, "transaction", transaction)
    agent.submit(vehicle.drive(), vehicle.drive())
    outcomes = [agent.hears(), agent.hears()]
    assert all(isinstance(one, Repeated | Stored | Noted) for one in outcomes)
    assert outcomes[-1].stored == Position(0, 1)
    writer.stop(LONG_S)
    runs = [(run.facts.stream_no, run.records) for run in open_store(path).runs("asset:one")]
    assert within_bounds(vehicle.sampled, runs)


def test_vehicles_take_turns_and_each_one_s_items_stay_in_order():
    turns, busy, calm = Turns(), Vehicle("asset:busy"), Vehicle("asset:calm", outbox=2)
    for vehicle in (busy, calm):
        vehicle.run()
    many = [(None, busy.drive(1)) for _ in range(GROUP_MAX + 3)]
    few = [(None, calm.drive(1)) for _ in range(2)]
    for entry in (*many, *few):
        turns.put(entry)
    turns.end()
    group = turns.take()
    assert group[:5] == [many[0], few[0], many[1], few[1], many[2]]
    turns.put_back(group[3:])
    assert turns.take()[:4] == [many[2], few[1], many[3], many[4]]
    assert turns.take() == many[-2:]
    assert turns.take() == []


def test_a_transaction_is_bounded_by_what_its_items_decode_to(path, vehicle, monkeypatch):
    monkeypatch.setattr(
        "collector.ingest.ingest.VALUES_MAX", 5 * 60
    )  # five blocks of twenty records of three signals
    groups: list[int] = []
    writer = Writer(
        StoreLedger(path),
        Ingest(RULES),
        lambda delivery: (groups.append(len(delivery)), deliver(delivery)),
        lambda: NOW_NS,
    )
    agent, other, calm = Agent(writer), Agent(writer), Vehicle("asset:two", outbox=2)
    agent.submit(vehicle.greeting, vehicle.schema, vehicle.run(), *(vehicle.drive() for _ in range(12)))
    other.submit(calm.greeting)
    writer.start()
    assert isinstance(other.hears(), Welcomed)
    assert writer.stop(LONG_S)
    assert groups == [3 + 1 + 5, 5, 2]
    assert [agent.hears() for _ in range(15)][3:] == [Stored(Position(0, seq)) for seq in range(12)]


DAMAGED = {
    "outboxes": ("rule_state", "rule_state", "battery_state", "diagnosis_state", "received_at"),
    "vehicles": ("model", "state", "first_seen", "heartbeat", "health"),
    "faults": (
        "description",
        "severity",
        "page",
        "evidence",
        "detected_at",
        "stream_no",
        "first_tick",
        "detected_tick",
    ),
    "provisional_faults": ("description", "severity", "page", "detected_at", "stream_no", "tick"),
    "blobs": ("content",),
}


def flipped(value, rng):
    """With one bit changed, of the same type, and which."""
    if isinstance(value, int):
        bit = rng.randrange(8)
        return value ^ 1 << bit, bit
    other = bytearray(value or b"0")
    bit = rng.randrange(8 * len(other))
    other[bit // 8] ^= 1 << bit % 8
    return bytes(other), bit


def fleet(path, earlier, later):
    """Two vehicles. Of the first one something is open, of this stream, the one before or both, or shown. What comes next."""
    bench, bad, good = Bench(path), Vehicle("asset:bad"), Vehicle("asset:good", outbox=2)
    bad.signals = OTHER_SCHEMA
    bench.take(good.greeting, good.schema, good.run(), good.drive())
    bench.take(bad.greeting, bad.schema, bad.run(), bad.drive(temp=earlier))
    bad.signals = SCHEMA
    bench.take(bad.run(), bad.drive(temp=46.0), bad.drive(temp=later))
    waits = bad.drive(temp=46.0)
    bench.take(bad.beat())
    bench.ledger.close()
    return [good.greeting, good.drive(), bad.greeting, waits, bad.drive(temp=20.0)]


def damage(path, rng):
    """One bit of a row of the first vehicle is another. Which."""
    table, column = rng.choice([(table, column) for table, columns in DAMAGED.items() for column in columns])
    mine = {
        "blobs": f"hash = x'{OTHER_SCHEMA.hash.hex()}'",
        "outboxes": "id = 2",
        "provisional_faults": "outbox = 2",
    }
    where = mine.get(table, "vin = 'asset:bad'")
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        found = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        value, bit = flipped(found[0] if found else b"", rng)
        kind = "INTEGER" if isinstance(value, int) else "BLOB" if table == "blobs" else "TEXT"
        db.execute(f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {where}", (value,))
        db.commit()
    return f"{table}.{column}, bit {bit}"


@pytest.mark.parametrize("rules", [RULES, OTHER_RULES])
def test_whichever_bit_of_a_vehicles_rows_is_flipped_all_vehicles_are_acknowledged(tmp_path, rules):
    rng = random.Random(1)
    for whole, temps in enumerate(itertools.product((20.0, 46.0), repeat=2)):
        items = fleet(tmp_path / f"{whole}.db", *temps)
        for number in range(FLIPS):
            path = tmp_path / f"{whole}-{number}.db"
            shutil.copy(tmp_path / f"{whole}.db", path)
            what = damage(path, rng)
            ledger, ingest = StoreLedger(path), Ingest(rules, settled=False)
            outcomes = [commit(ledger, ingest, [item], NOW_NS)[0] for item in items]
            ledger.close()
            assert [type(outcomes[at]) for at in (1, 3, 4)] == [Stored] * 3, what


def test_what_rules_carried_that_cannot_be_read_any_more_ends_its_open_faults(path):
    bench, vehicle = Bench(path), Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(temp=46.0))
    bench.ledger.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE outboxes SET rule_state = '[' || substr(rule_state, 2)")
        db.commit()
    bench.restart()
    bench.take(vehicle.drive(temp=46.0), vehicle.drive(temp=20.0))
    before, after = open_store(path).faults()
    assert (before["end_reason"], after["end_reason"]) == ("state damaged", "cleared")
    assert after["occurrence"] == before["occurrence"] + 1
