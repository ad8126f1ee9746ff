"""One outbox: what tells it from its twin, and what a peer that contradicts itself gets for an answer."""

from __future__ import annotations

import zlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ingest.ingest import Ingest
from collector.items import (
    BatchItem,
    Beat,
    Described,
    Forked,
    GapItem,
    Greeting,
    Position,
    Repeated,
    Stored,
)
from collector.store import open_store
from tests.collector.vehicle import RULES, SCHEMA, Bench, Vehicle, within_bounds


def test_a_stream_number_under_another_id_is_a_fork(bench, connected):
    twin = Vehicle()
    assert bench.take(twin.run(stream_id=99)) == Forked()


def test_a_stream_that_follows_or_precedes_another_than_the_one_here_is_a_fork(bench, connected):
    twin = Vehicle()
    ours, theirs, more = connected.run(), replace(connected.run(), prev_stream_id=b"t" * 16), twin.run()
    assert bench.take(ours, theirs) == Forked()
    assert bench.take(replace(theirs, facts=replace(theirs.facts, stream_no=3)), more) == Described()
    before = replace(theirs, facts=replace(theirs.facts, stream_no=2), prev_stream_id=ours.facts.stream_id)
    assert bench.take(before) == Forked()  # stream 3 says that the one before it is another


def test_welcome_names_the_stream_of_what_is_stored(bench, connected):
    block = connected.drive()
    bench.take(block)
    welcomed = bench.take(connected.greeting)
    assert welcomed.stored_stream_id == bytes([1, 0]) * 8
    assert welcomed.stored_crc == zlib.crc32(block.content)


def test_another_block_in_a_place_that_is_taken_is_a_fork(bench, connected):
    """A clone whose journal became a block, while the original filled that block and sent it."""
    first, second = connected.drive(), connected.drive()
    bench.take(first, second)
    assert bench.take(first) == Repeated(Position(0, 1))
    assert bench.take(replace(second, content=first.content)) == Forked()


# Memory


def test_outboxes_that_are_out_of_memory_go_on_from_the_store(tmp_path):
    bench = Bench(tmp_path / "store.db")
    bench.ingest = Ingest(RULES, signals_max=2 * len(SCHEMA.signals))
    vehicles = [Vehicle(f"asset:{number}", number) for number in range(5)]
    for vehicle in vehicles:
        bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    for seq in range(3):
        for vehicle in vehicles:
            assert bench.take(vehicle.drive(step=0.3)) == Stored(Position(0, seq))
            held = sum(outbox.signals for outbox in bench.ingest.outboxes.values())
            assert held <= 3 * len(SCHEMA.signals)  # with the one that was loaded last
    for vehicle in vehicles:
        runs = [
            (run.facts.stream_no, run.records) for run in open_store(bench.path).runs(vehicle.key.vehicle)
        ]
        assert within_bounds(vehicle.sampled, runs)
    bench.ledger.close()


# What no agent sends


def test_a_batch_or_gap_of_a_stream_that_was_described_as_empty_is_a_twins(bench, connected):
    batch, gap = connected.drive(), connected.gap(0, 3, 10)
    empty = replace(connected.run(), prev_last_seq=None, prev_digest=0)
    assert bench.take(empty) == Described()
    assert bench.take(batch) == bench.take(gap) == Forked()
    assert bench.take(connected.drive()).stored.stream_no == 1


def test_what_goes_on_where_a_twins_next_stream_says_it_ended_is_never_taken_for_stored(bench, connected):
    """Nothing of that next stream came, so that nothing else tells them apart: it would be sent for ever."""
    bench.take(connected.drive())
    more, gap = connected.drive(), connected.gap(1, 3, 70)
    assert bench.take(replace(connected.run(), prev_last_seq=0, prev_digest=0)) == Described()
    assert bench.take(more) == bench.take(gap) == Forked()


numbers, seqs = st.integers(0, 3), st.integers(0, 5)


@settings(max_examples=60)
@given(st.data())
def test_nothing_that_a_peer_claims_raises(tmp_path_factory, data):
    """Real blocks under wrong numbers, gaps and descriptions of anything: each has an outcome."""
    bench = Bench(tmp_path_factory.mktemp("claims") / "store.db")
    vehicle = Vehicle()
    bench.take(vehicle.greeting, vehicle.schema)
    described = [vehicle.run()]
    contents = [vehicle.drive(keyframe=index % 3 == 0).content for index in range(6)] + [
        b"\x00",
        b"\x01" * 40,
    ]
    for _ in range(data.draw(st.integers(1, 14))):
        stream_no, seq = data.draw(numbers), data.draw(seqs)
        match data.draw(st.sampled_from(["describe", "batch", "batch", "gap", "beat", "replace", "restart"])):
            case "describe":
                item = replace(
                    described[0],
                    facts=replace(described[0].facts, stream_no=stream_no, stream_id=bytes([stream_no]) * 16),
                    prev_last_seq=data.draw(st.none() | seqs),
                    prev_digest=data.draw(st.sampled_from([0, 1])),
                )
            case "batch":
                item = BatchItem(vehicle.key, stream_no, seq, False, data.draw(st.sampled_from(contents)))
            case "gap":
                last_seq, end = seq + data.draw(seqs), data.draw(st.integers(-(1 << 53), 1 << 53))
                item = GapItem(
                    vehicle.key, stream_no, seq, last_seq, data.draw(st.integers(0, 1 << 62)), end, 9
                )
            case "beat":
                item = Beat(vehicle.key, stream_no, 0, data.draw(st.sampled_from(contents)), b"", {})
            case "replace":
                item = Greeting(
                    vehicle.key,
                    replaces=data.draw(st.tuples(st.sampled_from([vehicle.key.outbox_id, b"x" * 16]))),
                )
            case "restart":
                bench.restart()
                continue
        assert bench.take(item) is not None
    bench.ledger.close()
