from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from codec.stream import Clock, StreamFacts
from collector import wire
from collector.conversation import Conversation, Send, Submit
from collector.items import OutboxKey
from collector.store import open_store
from protos import telemetry_pb2 as pb
from tests.collector.vehicle import RULES, SCHEMA, gaps

KEY = OutboxKey("asset:one", b"o" * 16)
FACTS = StreamFacts(b"s" * 16, 3, 1000)


def info(**changes):
    return pb.StreamInfo(
        **{"stream_id": b"s" * 16, "schema_hash": b"h" * 16, "stream_no": 3, "origin_tick": 1000} | changes
    )


def test_a_description_keeps_everything_that_decodes_and_labels_a_stream():
    message = info(
        prev_last_seq=0, prev_digest=7, clock_offset_ns=-5, clock_synchronised=True, guards_hash=b"g" * 16
    )
    found = wire.description(KEY, message)
    assert found.facts == StreamFacts(b"s" * 16, 3, 1000, Clock(-5, synchronised=True), b"g" * 16)
    assert (found.prev_last_seq, found.prev_digest) == (0, 7)


def test_no_last_seq_and_a_last_seq_of_0_are_different():
    assert wire.description(KEY, info()).prev_last_seq is None
    assert wire.description(KEY, info(prev_last_seq=0)).prev_last_seq == 0


def test_ticks_become_absolute_at_the_door():
    gap = wire.gap(
        KEY, pb.Gap(first_seq=1, last_seq=2, end_record=9, end_tick=50, reason=pb.GAP_REASON_QUOTA), FACTS
    )
    assert (gap.stream_no, gap.end_tick) == (3, 1050)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: wire.description(KEY, info(stream_id=b"")), "stream_id has 0 bytes"),
        (lambda: wire.description(KEY, info(schema_hash=b"x")), "schema_hash has 1 bytes, not 16"),
        (lambda: wire.description(KEY, info(stream_no=1 << 63)), "stream_no is"),
        (lambda: wire.description(KEY, info(origin_tick=1 << 60)), "begins at tick"),
        (lambda: wire.batch(KEY, pb.Batch(), FACTS), "a block of 0 bytes"),
        (lambda: wire.batch(KEY, pb.Batch(block=bytes(5 << 20)), FACTS), "at most"),
        (lambda: wire.batch(KEY, pb.Batch(block=b"x", seq=1 << 63), FACTS), "seq is"),
        (lambda: wire.gap(KEY, pb.Gap(first_seq=3, last_seq=2), FACTS), "a gap from 3 to 2"),
        (lambda: wire.beat(KEY, pb.Heartbeat(record=bytes(1 << 17))), "a heartbeat with a record of"),
        (lambda: wire.blob(KEY, pb.Blob(kind=9)), "unknown kind 9"),
        (
            lambda: wire.blob(KEY, pb.Blob(kind=pb.BLOB_KIND_GUARDS, content=b"{")),
            "not what it says: not a guard set",
        ),
        (
            lambda: wire.blob(KEY, pb.Blob(kind=pb.BLOB_KIND_PRIOR, content=b"x")),
            "named  whose content is 2d71",
        ),
        (lambda: wire.blob(KEY, pb.Blob(kind=pb.BLOB_KIND_PRIOR, content=bytes(1 << 19))), "at most 262144"),
        (
            lambda: wire.blob(
                KEY, pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=b"x" * 16, content=RULES.guards().to_bytes())
            ),
            "whose content is",
        ),
    ],
)
def test_what_no_agent_sends_says_what_is_wrong_with_it(call, says):
    with pytest.raises(wire.Malformed) as caught:
        call()
    assert says in str(caught.value)


def test_a_bomb_is_not_unpacked():
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    with pytest.raises(wire.Malformed, match="impossible size"):
        wire.unpack_schema(bomb)


def test_schemas_travel_compressed_and_are_stored_plain():
    content = zstandard.ZstdCompressor().compress(SCHEMA.to_bytes())
    blob = wire.blob(KEY, pb.Blob(kind=pb.BLOB_KIND_SCHEMA, hash=SCHEMA.hash, content=content))
    assert blob.content == SCHEMA.to_bytes()


def test_health_is_what_json_can_have():
    health = pb.Health(
        cpu_percent=float("nan"), rss_bytes=5, buses=[pb.BusHealth(name="can0", state="up", frames=3)]
    )
    beat = wire.beat(KEY, pb.Heartbeat(health=health))
    assert beat.health == {"rss_bytes": 5, "buses": [{"name": "can0", "state": "up", "frames": 3}]}


# Agents of before


@pytest.mark.parametrize("spoken", range(5))
def test_agents_two_versions_old_are_taken_and_no_others(spoken, monkeypatch):
    monkeypatch.setattr(wire, "PROTOCOL", 3)
    hello = pb.Hello(protocol=spoken, vehicle="asset:one", outbox_id=bytes(16), forked_from=b"f" * 16)
    if 1 <= spoken <= 3:
        assert wire.greeting(hello, None).key.vehicle == "asset:one"
        assert wire.greeting(hello, None).forked_from == b"f" * 16
    else:
        with pytest.raises(wire.Malformed, match="speaks 1 to 3"):
            wire.greeting(hello, None)


@pytest.mark.parametrize("version", range(max(1, wire.PROTOCOL - wire.PROTOCOLS_BACK), wire.PROTOCOL + 1))
def test_a_conversation_of_every_version_that_is_taken_is_stored(version, bench):
    """One of each is kept, never made again: two streams, a gap, faults, goodbye."""
    content = (Path(__file__).parent / "conversations" / f"protocol-{version}.bin").read_bytes()
    conversation, said, at = Conversation(), [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        actions = conversation.received(pb.Up.FromString(content[at + 4 : at + 4 + size]), 0)
        at += 4 + size
        while actions:
            action = actions.pop(0)
            match action:
                case Submit(item):
                    actions += conversation.ingested(bench.take(item), 0)
                case Send(message):
                    said.append(message)
    assert said[0].HasField("welcome")
    assert [(down.ack.stream_no, down.ack.seq) for down in said if down.HasField("ack")][-1] == (1, 0)
    assert not any(down.HasField("refuse") for down in said)
    store = open_store(bench.path)
    assert [len(run.records) for run in store.runs("asset:one")] == [20] * 6
    assert gaps(bench) == [(0, 4, 4, 20, "quota")]
    assert [fault["code"] for fault in store.faults()] == ["HOT"]


def test_what_a_vehicle_says_of_its_buses_is_cut():
    buses = [pb.BusHealth(name="can0", trouble="x" * 5000)]
    beat = wire.beat(KEY, pb.Heartbeat(health=pb.Health(buses=buses)))
    assert len(beat.health["buses"][0]["trouble"]) == wire.HEALTH_CHARACTERS_MAX
