"""The conversation, move by move: what is said when. No clock, no socket, no store."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.conversation import (
    ACK_WITHIN_NS,
    DRAIN_ACK_NS,
    HELD_BYTES_MAX,
    Conversation,
    End,
    Report,
    Send,
    State,
    Submit,
)
from collector.items import (
    BatchItem,
    Beat,
    BlobItem,
    Damaged,
    Described,
    Description,
    Failed,
    Farewell,
    Forked,
    GapItem,
    Greeting,
    Hole,
    Ignored,
    Kept,
    Lacking,
    Noted,
    Position,
    Repeated,
    Resend,
    Stored,
    Welcomed,
)
from protos import telemetry_pb2 as pb
from tests.collector.vehicle import RULES, SCHEMA

VIN = "5YJ3E1EA7KF000316"
OUTBOX = b"o" * 16
GUARDS = RULES.guards()


def hello(**changes) -> pb.Up:
    return pb.Up(
        hello=pb.Hello(**{"protocol": 1, "outbox_id": OUTBOX, "vehicle": VIN, "model": "Model 3"} | changes)
    )


def stream(alias=0, stream_no=0, **changes) -> pb.Up:
    info = {
        "alias": alias,
        "stream_id": b"s" * 16,
        "stream_no": stream_no,
        "schema_hash": SCHEMA.hash,
        "boot_id": b"b" * 16,
    }
    return pb.Up(stream=pb.StreamInfo(**info | changes))


def batch(seq=0, alias=0, size=100, late=False) -> pb.Up:
    return pb.Up(batch=pb.Batch(alias=alias, seq=seq, late=late, block=bytes(size)))


def schema_blob() -> pb.Up:
    content = zstandard.ZstdCompressor().compress(SCHEMA.to_bytes())
    return pb.Up(blob=pb.Blob(kind=pb.BLOB_KIND_SCHEMA, hash=SCHEMA.hash, content=content))


def said(actions):
    """Names of the messages sent."""
    return [action.message.WhichOneof("message") for action in actions if isinstance(action, Send)]


def items(actions):
    return [type(action.item) for action in actions if isinstance(action, Submit)]


def refused(actions) -> tuple[int, str]:
    sent = [
        action.message.refuse
        for action in actions
        if isinstance(action, Send) and action.message.HasField("refuse")
    ]
    assert any(isinstance(action, End) for action in actions)
    return sent[0].code, sent[0].text


@pytest.fixture
def fresh():
    return Conversation()


def after(stored):
    return Position(0, 0) if stored is None else Position(stored.stream_no, stored.seq + 1)


def opened(stored=None, guards_hash=b"", **settings):
    one = Conversation(**settings)
    one.received(hello(guards_hash=guards_hash), 0)
    one.ingested(Welcomed(stored, after(stored), GUARDS.to_bytes(), GUARDS.hash), 0)
    return one


def streaming(**settings):
    one = opened(**settings)
    one.received(stream(), 0)
    one.ingested(Described(), 0)
    return one


# Greeting


def test_hello_asks_ingest_where_the_outbox_stands(fresh):
    (action,) = fresh.received(hello(), 0)
    assert isinstance(action.item, Greeting)
    assert (action.item.key.vehicle, action.item.key.outbox_id, action.item.model) == (VIN, OUTBOX, "Model 3")


def test_welcome_tells_what_is_stored_and_the_guards_follow_where_they_differ():
    one = Conversation(window_bytes=5000)
    one.received(hello(), 0)
    welcome, blob = one.ingested(
        Welcomed(Position(2, 9), Position(2, 10), GUARDS.to_bytes(), GUARDS.hash, b"stream"), 0
    )
    assert welcome.message.welcome == pb.Welcome(
        stored=pb.Position(stream_no=2, seq=9),
        max_block_version=1,
        window_bytes=5000,
        guards_hash=GUARDS.hash,
        stored_stream_id=b"stream",
        answer_within_s=20,
    )
    assert blob.message.blob == pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=GUARDS.hash, content=GUARDS.to_bytes())


def test_an_agent_that_has_the_guards_does_not_get_them_again():
    one = Conversation()
    one.received(hello(guards_hash=GUARDS.hash), 0)
    actions = one.ingested(Welcomed(None, Position(0, 0), GUARDS.to_bytes(), GUARDS.hash), 0)
    assert said(actions) == ["welcome"]
    assert not actions[0].message.welcome.HasField("stored")


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (hello(protocol=9), pb.Refuse.CODE_PROTOCOL, "protocol 9"),
        (hello(vehicle="NOVIN"), pb.Refuse.CODE_IDENTITY, "no VIN"),
        (hello(outbox_id=b"short"), pb.Refuse.CODE_MALFORMED, "outbox_id has 5 bytes, not 16"),
        (batch(), pb.Refuse.CODE_PROTOCOL, "batch before Hello"),
    ],
)
def test_a_bad_beginning_is_refused_with_its_reason(fresh, message, code, says):
    found, text = refused(fresh.received(message, 0))
    assert found == code
    assert says in text
    assert fresh.received(hello(), 0) == []


def test_a_certificate_decides_who_it_is():
    assert isinstance(Conversation(VIN).received(hello(vehicle=""), 0)[0].item, Greeting)
    assert "the certificate names" in refused(Conversation("asset:x").received(hello(), 0))[1]


def test_whoever_says_nothing_is_sent_away_and_whoever_says_hello_stays(fresh):
    fresh.opened(7)
    assert fresh.wake(fresh.due_ns - 1) == []
    greeted = Conversation()
    greeted.opened(7)
    greeted.received(hello(), 8)
    assert greeted.due_ns is None
    assert refused(fresh.wake(fresh.due_ns)) == (pb.Refuse.CODE_PROTOCOL, "no Hello within 20 s")
    assert fresh.due_ns is None


def test_a_second_hello_is_refused():
    assert refused(opened().received(hello(), 0))[0] == pb.Refuse.CODE_PROTOCOL


# Streams


def test_what_follows_a_description_waits_for_it():
    one = opened()
    assert items(one.received(stream(), 0)) == [Description]
    assert one.received(batch(0), 0) == one.received(batch(1), 0) == []
    assert items(one.ingested(Described(), 0)) == [BatchItem, BatchItem]


def test_a_schema_is_asked_for_once_and_the_stream_goes_on_when_it_is_here():
    one = opened()
    one.received(stream(), 0)
    one.received(batch(0), 0)
    (want,) = one.ingested(Lacking(pb.BLOB_KIND_SCHEMA, SCHEMA.hash, Position(0, 0)), 0)
    assert want.message.want == pb.Want(kind=pb.BLOB_KIND_SCHEMA, hash=SCHEMA.hash)
    (blob,) = one.received(schema_blob(), 0)
    assert blob.item == BlobItem(one.key, pb.BLOB_KIND_SCHEMA, SCHEMA.hash, SCHEMA.to_bytes())
    assert items(one.ingested(Kept(pb.BLOB_KIND_SCHEMA, SCHEMA.hash), 0)) == [Description]
    assert items(one.ingested(Described(), 0)) == [BatchItem]


def test_a_blob_that_nobody_asked_for_is_left_alone():
    assert opened().received(schema_blob(), 0) == []


def test_a_blob_that_is_not_what_its_hash_says_ends_the_conversation():
    one = opened()
    one.received(stream(), 0)
    one.ingested(Lacking(pb.BLOB_KIND_SCHEMA, SCHEMA.hash, Position(0, 0)), 0)
    bad = pb.Up(blob=pb.Blob(kind=pb.BLOB_KIND_SCHEMA, hash=SCHEMA.hash, content=b"nonsense"))
    assert refused(one.received(bad, 0))[0] == pb.Refuse.CODE_MALFORMED


def test_heartbeats_pass_while_others_wait():
    one = opened()
    one.received(stream(), 0)
    assert items(one.received(pb.Up(heartbeat=pb.Heartbeat(stream_no=0)), 0)) == [Beat]


def test_more_than_can_be_held_is_dropped_and_missed_later():
    one = opened()
    one.received(stream(), 0)
    for seq in range(5):
        one.received(batch(seq, size=HELD_BYTES_MAX // 3), 0)
    assert items(one.ingested(Described(), 0)) == [BatchItem, BatchItem]


def test_a_batch_of_a_stream_that_was_not_described_is_refused():
    assert "undescribed" in refused(opened().received(batch(alias=3), 0))[1]


def test_two_streams_are_told_apart_by_their_alias():
    one = streaming()
    one.received(stream(alias=7, stream_no=4), 0)
    one.ingested(Described(), 0)
    (action,) = one.received(batch(alias=7), 0)
    assert action.item.stream_no == 4


def test_a_twin_is_told_to_fork():
    one = opened()
    one.received(stream(), 0)
    actions = one.ingested(Forked(), 0)
    assert said(actions) == ["fork"]
    assert one.state is State.ENDED


# Acks


def fed(one, count, size=100, late=False, now_ns=0, start=0):
    actions = []
    for seq in range(start, start + count):
        one.received(batch(seq, size=size, late=late), now_ns)
        actions += one.ingested(Stored(Position(0, seq), late), now_ns)
    return actions


def test_an_ack_comes_at_half_the_window():
    one = streaming(window_bytes=2000)
    assert said(fed(one, 9)) == []
    (ack,) = fed(one, 1, start=9)
    assert ack.message.ack == pb.Ack(stream_no=0, seq=9)


def test_an_ack_comes_within_its_time_counted_from_the_first_batch_it_is_for():
    one = streaming()
    fed(one, 1, now_ns=5)
    fed(one, 1, now_ns=50, start=1)
    assert one.due_ns == 5 + ACK_WITHIN_NS
    assert one.wake(one.due_ns - 1) == []
    (ack,) = one.wake(one.due_ns)
    assert ack.message.ack.seq == 1
    assert one.due_ns is None


def test_an_ack_comes_when_a_backlog_ends_and_soon_while_it_drains():
    one = streaming()
    assert said(fed(one, 3, late=True)) == []
    assert one.due_ns == DRAIN_ACK_NS
    assert said(fed(one, 1, start=3)) == ["ack"]


def test_what_came_twice_is_acked_at_once():
    one = streaming()
    fed(one, 2)
    one.received(batch(0), 0)
    (ack,) = one.ingested(Repeated(Position(0, 1)), 0)
    assert ack.message.ack.seq == 1


def test_goodbye_is_answered_with_the_last_ack():
    one = streaming()
    fed(one, 2)
    (farewell,) = one.received(pb.Up(goodbye=pb.Goodbye(reason=pb.Goodbye.REASON_PARKED)), 0)
    assert farewell.item.state == "parked"
    actions = one.ingested(Noted(), 0)
    assert said(actions) == ["ack"]
    assert isinstance(actions[-1], End)
    assert one.lost() == []


def test_goodbye_before_all_is_here_is_answered_by_what_is_wanted_and_waited_with_for_an_ack_s_time():
    one = streaming()
    one.received(batch(5), 0)
    one.ingested(Ignored(), 0)
    one.received(pb.Up(goodbye=pb.Goodbye()), 0)
    assert said(one.ingested(Hole(Position(0, 5)), 0)) == ["rewind"]
    assert isinstance(one.wake(one.due_ns)[-1], End)


def test_a_collector_that_ends_acks_what_is_durable():
    one = streaming()
    fed(one, 2)
    one.received(batch(2), 0)
    ack, end = one.closing()
    assert ack.message.ack.seq == 1
    assert isinstance(end, End)
    assert one.ingested(Stored(Position(0, 2)), 0) == []


def test_a_gap_is_acked_like_a_batch():
    one = streaming(window_bytes=100)
    gap = pb.Gap(alias=0, first_seq=0, last_seq=4, end_record=10, reason=pb.GAP_REASON_QUOTA)
    assert items(one.received(pb.Up(gap=gap), 0)) == [GapItem]
    assert said(one.ingested(Stored(Position(0, 4)), 0)) == []
    assert said(one.wake(ACK_WITHIN_NS)) == ["ack"]


# Going back


def test_a_hole_is_answered_once_for_each_place_that_is_wanted():
    one = streaming()
    for seq in (5, 6, 7):
        one.received(batch(seq), 0)
    (rewind,) = one.ingested(Hole(Position(0, 3)), 0)
    assert rewind.message.rewind == pb.Rewind(stream_no=0, seq=3)
    assert one.ingested(Hole(Position(0, 3)), 0) == []
    assert said(one.ingested(Hole(Position(0, 4)), 0)) == ["rewind"]


@pytest.mark.parametrize(("acked", "rewound"), [((0, 4), False), ((0, 5), True), ((7, 0), True)])
def test_an_agent_that_knows_more_to_be_durable_is_told_in_welcome_where_to_go_on(acked, rewound):
    one = Conversation()
    up = hello()
    up.hello.acked.CopyFrom(pb.Position(stream_no=acked[0], seq=acked[1]))
    one.received(up, 0)
    (send,) = one.ingested(Welcomed(Position(0, 4), Position(0, 5), b"", b""), 0)
    told = send.message.welcome
    assert (told.HasField("wanted"), told.wanted.seq) == (rewound, 5 * rewound)


def test_damage_is_asked_for_with_its_group():
    one = streaming()
    one.received(batch(5), 0)
    report, send = one.ingested(Damaged(Resend(0, 3, 5), "why"), 0)
    assert isinstance(report, Report)
    assert send.message.resend == pb.Resend(stream_no=0, first_seq=3, last_seq=5)


def test_a_group_that_came_out_wrong_is_asked_for_though_its_successor_is_stored():
    one = streaming()
    one.received(batch(5), 0)
    assert said(one.ingested(Stored(Position(0, 5), resend=Resend(0, 2, 4)), 0)) == ["resend"]
    one.received(pb.Up(goodbye=pb.Goodbye()), 0)
    assert (said(one.ingested(Noted(), 0)), one.state) == (["ack"], State.OPEN)


def test_a_prior_is_asked_for_and_sending_goes_on_where_it_was_lacking():
    one = streaming()
    for seq in (3, 4):
        one.received(batch(seq), 0)
    assert said(one.ingested(Lacking(pb.BLOB_KIND_PRIOR, b"p" * 16, Position(0, 3)), 0)) == ["want"]
    assert said(one.ingested(Lacking(pb.BLOB_KIND_PRIOR, b"p" * 16, Position(0, 3)), 0)) == []
    one._submitted.append(BlobItem(one.key, pb.BLOB_KIND_PRIOR, b"p" * 16, b""))
    (rewind,) = one.ingested(Kept(pb.BLOB_KIND_PRIOR, b"p" * 16), 0)
    assert rewind.message.rewind.seq == 3


def test_sending_goes_on_where_a_prior_was_lacking_though_a_rewind_went_there_before():
    one = streaming()
    one.received(batch(4), 0)
    assert said(one.ingested(Hole(Position(0, 3)), 0)) == ["rewind"]
    one.received(batch(3), 0)
    one.ingested(Lacking(pb.BLOB_KIND_PRIOR, b"p" * 16, Position(0, 3)), 0)
    one.received(batch(4), 0)
    assert said(one.ingested(Hole(Position(0, 3)), 0)) == []
    one._submitted.append(BlobItem(one.key, pb.BLOB_KIND_PRIOR, b"p" * 16, b""))
    assert said(one.ingested(Kept(pb.BLOB_KIND_PRIOR, b"p" * 16), 0)) == ["rewind"]


def test_guards_that_nobody_knows_are_asked_for_and_hold_nothing_up():
    one = streaming()
    one.received(batch(0), 0)
    assert said(one.ingested(Stored(Position(0, 0), guards_wanted=b"g" * 16), 0)) == ["want"]


def test_what_waits_is_not_acked():
    one = streaming()
    one.received(batch(0), 0)
    assert said(one.ingested(Ignored(), 0)) == []


# Ends


def test_the_newer_conversation_ends_the_older_which_says_no_farewell():
    one = streaming()
    assert refused(one.replaced())[0] == pb.Refuse.CODE_REPLACED
    assert one.lost() == []
    (over := streaming()).closing()
    assert (over.replaced(), over.lost()) == ([], [])


def test_a_lost_connection_is_a_farewell():
    (action,) = streaming().lost()
    assert action.item == Farewell(action.item.key, "offline")
    assert Conversation().lost() == []


def test_an_error_of_ours_ends_the_conversation():
    one = streaming()
    one.received(batch(0), 0)
    assert "error of its own" in refused(one.ingested(Failed("an error of its own"), 0))[1]


def test_a_message_of_a_newer_agent_is_left_alone():
    assert streaming().received(pb.Up(), 0) == []


# Whatever a peer sends

numbers = st.sampled_from([0, 1, 2, 7, (1 << 62) + 1, (1 << 64) - 1])
blobs = st.sampled_from([b"", b"o" * 16, b"x" * 15, SCHEMA.hash, OUTBOX])
messages = st.one_of(
    st.builds(lambda p, o, v: pb.Up(hello=pb.Hello(protocol=p, outbox_id=o, vehicle=v)), st.sampled_from([1, 1, 2]), blobs, st.sampled_from([VIN, VIN, "x", ""])),
    st.builds(lambda a, i, n, h: pb.Up(stream=pb.StreamInfo(alias=a, stream_id=i, stream_no=n, schema_hash=h)), st.integers(0, 2), blobs, numbers, blobs),
    st.builds(lambda a, s, b: pb.Up(batch=pb.Batch(alias=a, seq=s, block=b)), st.integers(0, 2), numbers, st.binary(max_size=4)),
    st.builds(lambda a, f, n, e: pb.Up(gap=pb.Gap(alias=a, first_seq=f, last_seq=n, end_record=e)), st.integers(0, 2), numbers, numbers, numbers),
    st.builds(lambda n, r: pb.Up(heartbeat=pb.Heartbeat(stream_no=n, record=r)), numbers, st.binary(max_size=9)),
    st.builds(lambda k, h, c: pb.Up(blob=pb.Blob(kind=k, hash=h, content=c)), st.integers(0, 4), blobs, st.binary(max_size=9)),
    st.just(pb.Up(goodbye=pb.Goodbye())),
    st.just(hello()),
    st.just(stream()),
    st.just(schema_blob()),
)  # fmt: skip
outcomes = st.sampled_from(
    [
        Stored(Position(0, 0)), Repeated(Position(0, 0)), Hole(Position(0, 0)), Ignored(), Failed("f"),
        Lacking(pb.BLOB_KIND_SCHEMA, SCHEMA.hash, Position(0, 0)), Damaged(Resend(0, 0, 0), "w"),
    ]
)  # fmt: skip


def likely(item, outcome):
    """An outcome that ingest could give for this item."""
    match item:
        case Greeting():
            return Welcomed(None, Position(0, 0), b"", b"")
        case Description():
            return outcome if isinstance(outcome, Lacking | Failed) else Described()
        case BatchItem() | GapItem():
            return outcome
        case BlobItem(kind=kind, hash=name):
            return Kept(kind, name)
        case _:
            return Noted()


@given(st.lists(st.tuples(messages, st.booleans(), outcomes), max_size=30))
def test_any_messages_leave_a_conversation_that_is_open_or_ended_and_acks_only_what_is_durable(script):
    one = Conversation()
    waiting, durable = [], set()
    for message, answered, outcome in script:
        actions = one.received(message, 0)
        waiting += [action.item for action in actions if isinstance(action, Submit)]
        while waiting and answered:
            item = waiting.pop(0)
            answer = likely(item, outcome)
            if isinstance(answer, Stored | Repeated):
                durable.add(answer.stored)
            more = one.ingested(answer, 0)
            waiting += [action.item for action in more if isinstance(action, Submit)]
            actions += more
        for action in actions:
            if isinstance(action, Send) and action.message.HasField("ack"):
                assert Position(action.message.ack.stream_no, action.message.ack.seq) in durable
            if isinstance(action, End):
                assert one.state is State.ENDED
