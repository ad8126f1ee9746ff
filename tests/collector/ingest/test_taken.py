"""Items of a group, taken together, come to what they come to one by one."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from codec.schema import Kind, Schema, Signal
from collector import times
from collector.detectors.detection import Detectors
from collector.detectors.episodes import Episode
from collector.detectors.settings import DetectorSettings
from collector.ingest import ingest, rows
from collector.ingest.analyses import load_analyses
from collector.ingest.ingest import Ingest
from collector.items import BatchItem, Damaged, Hole, Repeated, Stored
from collector.rules import Rules, RuleState, load_rules
from collector.store.address import address_of
from collector.store.engine import open_engine
from collector.store.tables import metadata
from collector.writer import commit
from tests.collector import traffic
from tests.collector.traffic import fleet
from tests.collector.vehicle import NOW_NS, SCHEMA, Bench, Vehicle, spoiled

WIDER = Schema(10, (*SCHEMA.signals, Signal("Extra", factor=0.5, threshold=1.0)))
UNTOLD = {"revision"}  # how many transactions it took
ORDERED = {"telemetry_logs": ("outbox", "stream_no", "tick")}  # ids tell which of them were written together


def content(bench):
    """Every row of every table but what tells of transactions."""
    engine = open_engine(address_of(bench.path), write=False)
    found = {}
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            ordered = [table.c[name] for name in ORDERED.get(table.name, ())]
            untold = UNTOLD | ({"id"} if ordered else set())
            rows = connection.execute(select(table).order_by(*(ordered or table.primary_key)))
            found[table.name] = [
                {name: value for name, value in row._mapping.items() if name not in untold} for row in rows
            ]
    engine.dispose()
    return found


DETECTORS = Detectors(DetectorSettings(robust=True, window_s=20, samples_min=3, quiet_s=2))
ANALYSES = load_analyses()


@st.composite
def sequences(draw):
    """What some vehicles send, in turns: blocks that fit, that are hot, repeated, spoiled, left out; streams that end."""
    vehicles = [Vehicle(f"asset:{number}", number + 1) for number in range(draw(st.integers(1, 4)))]
    begin, items = [], []
    for number, vehicle in enumerate(vehicles):
        if number == 1:
            vehicle.signals = WIDER if draw(st.booleans()) else SCHEMA
        begin += [vehicle.greeting, vehicle.schema]
        items.append([vehicle.run()])
    for vehicle, own in zip(vehicles, items, strict=True):
        if vehicle.signals is WIDER:
            continue  # described, and says nothing
        for what in draw(st.lists(st.sampled_from("nnnnhhksdglr"), max_size=12)):
            own.extend(said(vehicle, what))
    order = draw(st.permutations([number for number, own in enumerate(items) for _ in own]))
    waiting = [iter(own) for own in items]
    return begin, [next(waiting[number]) for number in order]


def said(vehicle, what):
    count = 7 + 3 * (vehicle.tick % 3)
    match what:
        case "h":
            return [vehicle.drive(count, temp=44.0, step=0.3)]
        case "k":
            return [vehicle.drive(count, keyframe=True)]
        case "s":
            return [spoiled(vehicle.drive(count))]
        case "d":
            block = vehicle.drive(count)
            return [block, block]
        case "g":
            first = vehicle.drive(count)
            end = sum(len(records) for no, records in vehicle.sampled if no == vehicle.stream_no)
            return [vehicle.gap(first.seq, first.seq, end), vehicle.drive(count, keyframe=True)]
        case "l":
            return [replace(vehicle.drive(count), late=True)]
        case "r":
            return [vehicle.run()]
        case _:
            return [vehicle.drive(count)]


def taken(bench, groups):
    outcomes = []
    for group in groups:
        end = len(outcomes) + len(group)
        while len(outcomes) < end:
            outcomes += commit(bench.ledger, bench.ingest, group[len(outcomes) - end :], NOW_NS)
    bench.ledger.close()
    return outcomes


@settings(max_examples=30, deadline=None)
@given(sequences(), st.integers(1, 30), st.sampled_from([1, 50, ingest.VALUES_MAX]))
def test_a_group_comes_to_what_its_items_come_to_one_by_one(sent, size, values_max):
    begin, items = sent
    with tempfile.TemporaryDirectory() as folder:
        one, other = Bench(Path(folder) / "one.db"), Bench(Path(folder) / "other.db")
        begun = [[item] for item in begin]
        apart = taken(one, [*begun, *([item] for item in items)])
        before, ingest.VALUES_MAX = ingest.VALUES_MAX, values_max
        try:
            together = taken(other, [*begun, *(items[at : at + size] for at in range(0, len(items), size))])
        finally:
            ingest.VALUES_MAX = before
        assert together == apart
        assert content(one) == content(other)


def test_blocks_of_different_vehicles_are_decoded_in_one_call_and_one_that_is_damaged_is_so_alone(
    tmp_path, monkeypatch
):
    bench = Bench(tmp_path / "store.db")
    vehicles = [Vehicle(f"asset:{number}", number + 1) for number in range(5)]
    for vehicle in vehicles:
        bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    calls = []
    from collector.ingest import taken as module

    read = module.decode_opened
    monkeypatch.setattr(module, "decode_opened", lambda jobs: calls.append(len(jobs)) or read(jobs))
    surveyed = []
    surveys = module.Surveys
    monkeypatch.setattr(module, "Surveys", lambda *of: surveyed.append(len(of[1])) or surveys(*of))
    blocks = [vehicle.drive() for vehicle in vehicles]
    blocks[2] = spoiled(blocks[2])
    ahead = [vehicle.drive() for vehicle in vehicles]
    outcomes = commit(bench.ledger, bench.ingest, [*blocks, *ahead], NOW_NS)
    assert [type(one) for one in outcomes[:5]] == [Stored, Stored, Damaged, Stored, Stored]
    assert [type(one) for one in outcomes[5:7]] == [Stored, Stored]
    assert not isinstance(outcomes[7], Stored | Hole | Repeated)  # what it waits for is on its way
    assert calls == [5, 4]
    assert surveyed == [4, 4]  # nobody looks at what a damaged one holds


def test_a_round_ends_where_its_blocks_come_to_more_than_a_transaction_takes(tmp_path, monkeypatch):
    bench = Bench(tmp_path / "store.db")
    vehicles = [Vehicle(f"asset:{number}", number + 1) for number in range(5)]
    for vehicle in vehicles:
        bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    blocks: list[BatchItem] = [vehicle.drive(20) for vehicle in vehicles]
    monkeypatch.setattr(ingest, "VALUES_MAX", 100)  # of 60 each
    assert len(commit(bench.ledger, bench.ingest, blocks, NOW_NS)) == 2
    assert len(commit(bench.ledger, bench.ingest, blocks[2:], NOW_NS)) == 2


def test_signals_of_every_kind_are_taken_together(tmp_path):
    bench = Bench(tmp_path / "store.db")
    schema = Schema(10, (*SCHEMA.signals[:2], Signal("Float", kind=Kind.FLOAT64, threshold=0.5)))
    vehicles = [Vehicle(f"asset:{number}", number + 1) for number in range(3)]
    for vehicle in vehicles:
        vehicle.signals = schema
        bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    outcomes = commit(bench.ledger, bench.ingest, [vehicle.drive() for vehicle in vehicles], NOW_NS)
    assert all(isinstance(one, Stored) for one in outcomes)


def test_what_a_vehicle_says_of_itself_does_not_depend_on_what_it_is_taken_with(tmp_path):
    """Its model is read by all of its outboxes, and one that says none leaves it."""
    first, second = Vehicle(outbox=1), Vehicle(outbox=2)
    silent = [replace(vehicle.greeting, model="") for vehicle in (second, first)]
    items = [first.greeting, silent[0], first.schema, first.run(), first.drive(), *silent]
    benches = [Bench(tmp_path / name) for name in ("one.db", "other.db")]
    assert taken(benches[0], [[item] for item in items]) == taken(benches[1], [items])
    assert content(benches[0])["vehicles"] == content(benches[1])["vehicles"]
    assert [row["model"] for row in content(benches[1])["vehicles"]] == ["Model T"]
    assert [outbox.model for outbox in benches[1].ingest.outboxes.values()] == ["Model T"] * 2


def test_a_model_that_is_new_is_so_for_the_outboxes_of_the_vehicle_that_are_in_memory(tmp_path):
    bench = Bench(tmp_path / "store.db")
    first, second = Vehicle(outbox=1), Vehicle(outbox=2)
    bench.take(first.greeting, second.greeting, replace(second.greeting, model="Model A"))
    assert [outbox.model for outbox in bench.ingest.outboxes.values()] == ["Model A"] * 2


def test_only_what_was_found_before_becomes_approximate(tmp_path):
    """A block in two versions makes its group doubtful; an anomaly that spans it only later is as it was found."""
    bench = Bench(tmp_path / "store.db")
    with bench.ledger.transaction() as transaction:
        outbox = transaction.open_outbox(Vehicle().key, times.to_text(NOW_NS))
        stretch = {"of_outbox": outbox.id, "of_stream_no": 0, "of_first_tick": 10, "of_end_tick": 20}
        for first_tick, last_tick in ((0, 15), (1, 5), (1, 15)):
            episode = Episode("zscore", "Temp", 0, first_tick, last_tick, 1.0, 3.0)
            place = outbox.id, 0, first_tick, "zscore", "Temp"
            row = rows.anomaly(outbox.id, "asset:one", episode, 60, False, lambda *_: NOW_NS, certain=True)
            transaction.changes.anomalies[place] = row
            if last_tick == 5:
                transaction.changes.faults_approximate.append(stretch)
                transaction.mark()
        transaction.finish(times.to_text(NOW_NS))
    found = [(row["first_tick"], row["last_tick"], row["approximate"]) for row in content(bench)["anomalies"]]
    assert found == [(0, 15, True), (1, 15, False)]


@example(107, 512)  # two of whose outboxes say different models
@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([5, 30, 512]))
def test_whatever_a_fleet_sends_a_group_comes_to_what_its_items_come_to_one_by_one(seed, size):
    """Under rules that change on the way, with detectors and batteries. Of a vehicle's states in one transaction the last is noted."""
    items = fleet(Random(seed))
    groups = [items[: len(items) // 2], items[len(items) // 2 :]]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for of in (1, size):
            bench = Bench(Path(folder) / f"{of}.db", traffic.RULES)
            bench.ingest = Ingest(traffic.RULES, DETECTORS, ANALYSES)
            outcomes = []
            for half in groups:
                outcomes += taken(bench, [half[at : at + of] for at in range(0, len(half), of)])
                bench.ingest.set_rules(Rules(traffic.RULES.rules[1:]))
            tables = content(bench)
            del tables["vehicle_health"]
            for row in tables["notices"]:
                del row["id"]
            tables["notices"].sort(key=lambda row: row["vin"])  # the order of each vehicle's
            found.append((outcomes, repr(tables)))
    assert found[0] == found[1]


def test_what_waited_under_rules_that_read_differently_now_is_forgotten_in_the_store_too(tmp_path):
    waiting = """
[[rule]]
code = "HOT"
when = "Temp > 45"
for_s = 60
severity = "INFO"
description = "hot"
[[rule.override]]
model = "B"
when = "Temp > 49"
"""
    bench = Bench(tmp_path / "store.db", load_rules(waiting))
    vehicle = Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(temp=47.0))
    (state,) = [row["rule_state"] for row in content(bench)["outboxes"]]
    assert "HOT" in RuleState.from_text(state).episodes
    bench.take(replace(vehicle.greeting, model="B"))
    (state,) = [row["rule_state"] for row in content(bench)["outboxes"]]
    assert not RuleState.from_text(state).episodes
