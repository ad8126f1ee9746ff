"""The conversation, decision by decision; then against a collector of a few lines, over any link."""

from __future__ import annotations

import contextlib
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.guards import GuardSet
from codec.priors import built_in, prior_hash
from edge_agent import events
from edge_agent.events import Close, Stored
from edge_agent.outbox import Outbox
from edge_agent.outbox_rows import NOWHERE
from edge_agent.rows import BlobKind, Reason, position_of
from edge_agent.session import Phase
from protos import telemetry_pb2 as pb
from tests.edge_agent.samples import HOT, RATE_HZ, SCHEMA, START, fill, ids, new_outbox
from tests.edge_agent.side import BIG, Side, position


@pytest.fixture
def outbox(tmp_path):
    """Two streams, 0 of four blocks and 1 of three."""
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as opened:
        fill(opened, 4)
        fill(opened, 3, stream_no=1)
        yield opened


@pytest.fixture
def side(outbox):
    made = Side(outbox.path)
    yield made
    made.reader.close()


ALL = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]


def test_hello_says_who_and_where(outbox):
    side = Side(outbox.path, wanted=position_of(0, 2))
    side.reader.close()
    (hello,) = [message.hello for message in side.sent]
    assert (hello.vehicle, hello.outbox_id) == ("asset:test", bytes(16))
    assert (hello.first_kept, hello.acked, hello.last) == (position(0, 0), position(0, 1), position(1, 2))


def test_hello_of_an_empty_outbox_has_no_positions(tmp_path):
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as outbox:
        side = Side(outbox.path)
        side.reader.close()
    (hello,) = [message.hello for message in side.sent]
    assert {field.name for field, _ in hello.ListFields()}.isdisjoint({"first_kept", "acked", "last"})


def test_nothing_is_sent_before_welcome(side):
    side.hear(Stored(NOWHERE, 1, 0), events.Ticked(10**12))
    assert len(side.sent) == 1


def test_oldest_first_each_stream_described_before_its_first_batch(side):
    side.welcome()
    assert side.batches() == ALL
    kinds = [message.WhichOneof("message") for message in side.sent]
    assert kinds == ["hello", "stream", *["batch"] * 4, "stream", *["batch"] * 3]
    one, other = (message.stream for message in side.sent if message.HasField("stream"))
    assert (one.stream_no, one.HasField("prev_last_seq"), one.origin_tick) == (0, False, START)
    assert (other.stream_no, other.prev_last_seq) == (1, 3)
    assert other.prev_digest


def test_what_either_side_knows_to_be_durable_is_not_sent_again(outbox, side):
    side.welcome(stored=position(0, 2))
    assert side.batches() == ALL[3:]
    assert side.wanted == position_of(0, 3)
    ahead = Side(outbox.path, wanted=position_of(1, 1))
    ahead.welcome(stored=position(0, 2))  # from a replica that lags
    ahead.reader.close()
    assert ahead.batches() == ALL[5:]
    assert ahead.wanted == position_of(1, 1)


def test_no_more_than_the_window_is_unacknowledged_or_one_batch(side):
    side.welcome(window=1)
    assert side.batches() == ALL[:1]
    for index in range(1, 4):
        side.hear(pb.Down(ack=pb.Ack(stream_no=0, seq=index - 1)))
        assert side.batches() == ALL[: index + 1]
        assert side.wanted == position_of(0, index)


def test_acks_are_cumulative_and_old_ones_change_nothing(side):
    side.welcome()
    side.hear(pb.Down(ack=pb.Ack(stream_no=1, seq=1)), pb.Down(ack=pb.Ack(stream_no=0, seq=2)))
    assert side.wanted == position_of(1, 2)


def test_an_ack_for_what_was_never_sent_ends_the_conversation(side):
    side.welcome(window=1)
    side.hear(pb.Down(ack=pb.Ack(stream_no=0, seq=1)))
    assert "ack of 0/1" in side.of(Close)[0].reason
    assert side.wanted == 0


def test_rewind_goes_back_and_takes_back_what_counted_as_acknowledged(side):
    side.welcome()
    side.hear(pb.Down(ack=pb.Ack(stream_no=1, seq=2)))
    side.sent.clear()
    side.session._aliases.clear()
    side.hear(pb.Down(rewind=pb.Rewind(stream_no=0, seq=3)))
    assert side.wanted == position_of(0, 3)
    assert side.batches() == ALL[3:]


def test_a_rewind_into_the_future_ends_the_conversation(side):
    side.welcome(window=1)
    side.hear(pb.Down(rewind=pb.Rewind(stream_no=7, seq=0)))
    assert "rewind to 7/0" in side.of(Close)[0].reason


def test_resend_repeats_and_moves_nothing(side):
    side.welcome()
    side.hear(pb.Down(ack=pb.Ack(stream_no=1, seq=2)))
    before = side.wanted
    side.hear(pb.Down(resend=pb.Resend(stream_no=0, first_seq=0, last_seq=2)))
    assert side.batches() == ALL + ALL[:3]
    assert side.wanted == before


def test_what_is_gone_is_answered_with_its_gap(outbox, side):
    side.welcome()
    outbox._drop(position_of(0, 0), position_of(0, 3), Reason.QUOTA)
    side.hear(pb.Down(rewind=pb.Rewind(stream_no=0, seq=1)))
    gap = next(message.gap for message in side.sent if message.HasField("gap"))
    assert (gap.first_seq, gap.last_seq, gap.end_record, gap.end_tick) == (1, 2, 1500, 1500)
    assert gap.reason == pb.GAP_REASON_QUOTA
    side.hear(pb.Down(resend=pb.Resend(stream_no=0, first_seq=0, last_seq=3)))
    assert [message.WhichOneof("message") for message in side.sent[-2:]] == ["gap", "batch"]


def test_a_broken_row_is_mended_before_anything_after_it_is_sent(outbox, side):
    outbox._db.execute("UPDATE batches SET content = x'00' WHERE position = 1")
    side.welcome()
    assert side.batches() == ALL[:1]
    (mend,) = side.of(events.Mend)
    outbox.mend(mend.position)
    side.hear(events.Mended(mend.position))
    assert side.batches() == [(0, 0), (0, 1), (0, 3), *ALL[4:]]
    assert [message.gap.last_seq for message in side.sent if message.HasField("gap")] == [2]


def test_what_is_still_broken_once_it_was_mended_is_said_to_be_and_an_earlier_connections_answer_is_none(
    outbox, side
):
    outbox._db.execute("UPDATE batches SET content = x'00' WHERE position = 1")
    side.welcome()
    side.hear(events.Mended(position_of(0, 0)))
    assert side.of(events.Mend) == [events.Mend(1)]
    side.hear(events.Mended(1))
    assert side.of(events.Mend) == [events.Mend(1), events.Mend(1, again=True)]


def test_late_is_what_is_older_than_30_s_or_of_an_earlier_run(outbox):
    side = Side(outbox.path)
    side.welcome(stream_no=1, tick=START + 1000 + 30 * RATE_HZ)
    side.reader.close()
    late = [message.batch.late for message in side.sent if message.HasField("batch")]
    assert late == [True] * 5 + [False] * 2
    assert not side.session.draining


def test_what_is_wanted_by_hash_is_sent_where_it_is_here(outbox, side):
    side.welcome()
    name = next(message.stream.schema_hash for message in side.sent if message.HasField("stream"))
    side.hear(
        pb.Down(want=pb.Want(kind=pb.BLOB_KIND_SCHEMA, hash=name)),
        pb.Down(want=pb.Want(kind=pb.BLOB_KIND_SCHEMA, hash=b"nobody's")),
        pb.Down(want=pb.Want(kind=pb.BLOB_KIND_PRIOR, hash=b"nobody's")),
    )
    found, *lost = [message.blob for message in side.sent if message.HasField("blob")]
    assert found.content == outbox.blob(BlobKind.SCHEMA, name)
    assert [(blob.kind, blob.hash, blob.content) for blob in lost] == [
        (pb.BLOB_KIND_SCHEMA, b"nobody's", b""),
        (pb.BLOB_KIND_PRIOR, b"nobody's", b""),
    ]
    assert len(side.of(events.Complain)) == 2


def test_a_damaged_prior_is_said_to_be_lost(outbox, side):
    outbox.keep_prior(SCHEMA.hash, b"n" * 16, b"not what its name says")
    side.welcome()
    side.hear(pb.Down(want=pb.Want(kind=pb.BLOB_KIND_PRIOR, hash=b"n" * 16)))
    assert side.sent[-1].blob.content == b""


def test_a_prior_is_taken_when_it_is_the_one_that_was_offered(side):
    content, name = built_in().content, built_in().hash
    side.hear(pb.Down(welcome=pb.Welcome(window_bytes=1 << 20, prior_hash=name)))
    for kind, hash_, body in (
        (pb.BLOB_KIND_PRIOR, prior_hash(b"another"), b"another"),
        (pb.BLOB_KIND_PRIOR, name, b"damaged"),
        (pb.BLOB_KIND_PRIOR, b"", b""),
    ):
        side.hear(pb.Down(blob=pb.Blob(kind=kind, hash=hash_, content=body)))
    assert not side.of(events.SetPrior)
    for _ in range(2):  # once is enough
        side.hear(pb.Down(blob=pb.Blob(kind=pb.BLOB_KIND_PRIOR, hash=name, content=content)))
    assert side.of(events.SetPrior) == [events.SetPrior(name, content)]


def test_guards_are_taken_when_they_are_what_they_say(side):
    side.welcome()
    content = HOT.to_bytes()
    side.hear(
        pb.Down(blob=pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=b"another", content=content)),
        pb.Down(blob=pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=HOT.hash, content=b"[[1]]")),
    )
    assert not side.of(events.SetGuards)
    side.hear(pb.Down(blob=pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=HOT.hash, content=content)))
    (taken,) = side.of(events.SetGuards)
    assert GuardSet.from_bytes(taken.content) == HOT


def test_a_welcome_without_guards_drops_them(outbox):
    side = Side(outbox.path)
    side.session._guards_hash = HOT.hash
    side.welcome()
    side.reader.close()
    assert side.of(events.SetGuards) == [events.SetGuards(b"", b"")]


def test_watch_and_keyframe_are_passed_on(side):
    side.welcome()
    side.hear(pb.Down(watch=pb.Watch(lease_s=60)), pb.Down(keyframe_now=pb.KeyframeNow()))
    assert side.others[1:] == [events.SetWatch(60), events.AskKeyframe()]


@pytest.mark.parametrize(
    "known",
    [
        pb.Down(fork=pb.Fork()),
        pb.Down(welcome=pb.Welcome(stored=position(3, 0))),  # more streams than there are
        pb.Down(welcome=pb.Welcome(stored=position(1 << 40, 0))),
        pb.Down(welcome=pb.Welcome(stored=position(0, 4))),  # more of a stream than there is
        pb.Down(welcome=pb.Welcome(stored=position(1, 1), stored_stream_id=b"the other's")),
        pb.Down(welcome=pb.Welcome(stored=position(0, 3), stored_crc=1)),
    ],
    ids=["told", "streams", "far", "batches", "stream_id", "block"],
)
def test_a_twin_makes_a_fork_and_its_acks_count_for_nothing(outbox, known):
    side = Side(outbox.path, wanted=position_of(0, 2))
    side.hear(known)
    side.reader.close()
    assert side.wanted == position_of(0, 2)
    assert side.of(events.BecomeFork)
    assert side.of(Close) == [Close()]
    assert side.batches() == []


@pytest.mark.parametrize(
    ("wanted", "crc", "forks"),
    [
        (position_of(0, 2), 1, True),
        (position_of(1, 0), 1, False),  # it was acknowledged before it was dropped
        (position_of(0, 2), 0, False),  # the collector has a gap there, too
    ],
    ids=["block", "acknowledged", "gap"],
)
def test_a_block_that_was_dropped_before_its_ack_may_be_a_twins_and_makes_a_fork(outbox, wanted, crc, forks):
    fill(outbox, 1, stream_no=2, limit_bytes=1)
    side = Side(outbox.path, wanted=wanted)
    assert side.reader.stored(position_of(0, 3))[2] == 0
    side.welcome(stored=position(0, 3), stored_crc=crc)
    side.reader.close()
    assert bool(side.of(events.BecomeFork)) is forks


def test_a_refusal_ends_the_conversation_with_its_reason(side):
    side.hear(pb.Down(refuse=pb.Refuse(code=pb.Refuse.CODE_IDENTITY, text="not you")))
    assert side.of(Close) == [Close("refused: not you")]
    side.welcome()
    assert side.batches() == []


def test_blocks_that_are_too_new_for_the_collector_wait(side):
    side.hear(Stored(NOWHERE, 1, 0), pb.Down(welcome=pb.Welcome(window_bytes=BIG, max_block_version=0)))
    assert side.batches() == ALL  # 0: it does not say
    old = Side(side.reader.path)
    from codec.stream import BLOCK_VERSION

    assert BLOCK_VERSION == 1, "then this test can send a version that is too old, and see batches wait"
    old.reader.close()


def test_heartbeats_come_often_while_a_backlog_drains(side):
    side.welcome(stream_no=9, tick=0)  # all is of an earlier run
    side.hear(*[events.Ticked(now) for now in range(10)])
    assert len(side.of(events.Beat)) == 5
    side.hear(Stored(NOWHERE, 1, START), pb.Down(rewind=pb.Rewind(stream_no=1, seq=2)))
    side.others.clear()
    side.hear(*[events.Ticked(now) for now in range(10, 130)])
    assert len(side.of(events.Beat)) == 2


def test_a_heartbeat_s_stream_is_described_before_it_though_its_batches_wait(side):
    side.welcome(window=1, stream_no=1)
    side.hear(events.Ticked(0))
    assert [one.stream.stream_no for one in side.sent if one.HasField("stream")] == [0, 1]
    assert len(side.of(events.Beat)) == 1
    side.hear(pb.Down(ack=pb.Ack(stream_no=0, seq=0)), events.Ticked(2))
    assert len([one for one in side.sent if one.HasField("stream")]) == 2, "once"
    assert side.batches() == ALL[:2]


def test_a_heartbeat_of_a_stream_that_the_outbox_does_not_have_yet_goes_without_description(side):
    side.welcome(stream_no=2)
    side.hear(events.Ticked(0))
    assert [one.stream.stream_no for one in side.sent if one.HasField("stream")] == [0, 1]
    assert side.of(events.Beat)


def test_a_crossing_that_has_to_wait_behind_a_backlog_is_told_at_once(side):
    side.welcome(window=1, stream_no=1)
    side.hear(events.Ticked(0))
    side.others.clear()
    side.hear(Stored(position_of(1, 4), 1, 0))
    assert not side.of(events.Beat), "nothing crossed"
    side.hear(Stored(position_of(1, 5), 1, 0, crossed=True))
    assert len(side.of(events.Beat)) == 1


def test_what_is_not_late_waits_for_no_ack_of_what_is_before_it(outbox):
    """Their acks may take 20 s, and a fault must not."""
    side = Side(outbox.path)
    side.session._flight.limit_bytes = 1
    side.welcome(stream_no=1, tick=START, end=position_of(0, 4))
    assert side.batches() == ALL[:1], "of an earlier run: late"
    side.reader.close()
    fresh = Side(outbox.path, wanted=position_of(1, 0))
    fresh.session._flight.limit_bytes = 1
    fresh.welcome(stream_no=1, tick=START)
    fresh.reader.close()
    assert fresh.batches() == ALL[4:]


def test_a_crossing_whose_block_goes_at_once_needs_no_heartbeat(side):
    side.welcome(end=position_of(1, 2), stream_no=1)
    side.hear(pb.Down(ack=pb.Ack(stream_no=1, seq=1)))
    side.hear(Stored(position_of(1, 3), 1, 0, crossed=True))
    assert side.batches() == ALL
    assert not side.of(events.Beat)


def test_goodbye_comes_after_the_last_batch_and_the_end_after_the_last_ack(side):
    side.hear(events.Ending(parked=True))
    side.welcome()
    assert side.batches() == ALL
    assert side.sent[-1].goodbye.reason == pb.Goodbye.REASON_PARKED
    assert side.session.phase is Phase.LEAVING
    side.hear(pb.Down(ack=pb.Ack(stream_no=1, seq=1)))
    assert not side.of(Close)
    side.hear(pb.Down(ack=pb.Ack(stream_no=1, seq=2)))
    assert side.of(Close) == [Close()]


def test_a_rewind_after_goodbye_ends_it_so_that_the_next_conversation_sends_again(side):
    side.hear(events.Ending(parked=True))
    side.welcome()
    side.hear(pb.Down(rewind=pb.Rewind(stream_no=0, seq=1)))
    assert side.of(Close) == [Close("rewound after goodbye")]
    assert side.wanted == 0


def test_news_of_the_network_puts_a_byte_on_the_link(side):
    side.hear(events.NetworkChanged())
    assert not side.of(events.Beat)
    side.welcome()
    side.hear(events.NetworkChanged())
    assert side.of(events.Beat)


def test_what_makes_no_sense_is_reported_or_ends_it_but_never_raises(side):
    side.hear(pb.Down(ack=pb.Ack()))
    assert side.of(Close) == [Close("ack before Welcome")]


numbers = st.sampled_from([0, 1, 2, 3, 4, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
downs = st.one_of(
    st.builds(lambda s, q: pb.Down(ack=pb.Ack(stream_no=s, seq=q)), numbers, numbers),
    st.builds(lambda s, q: pb.Down(rewind=pb.Rewind(stream_no=s, seq=q)), numbers, numbers),
    st.builds(
        lambda s, a, b: pb.Down(resend=pb.Resend(stream_no=s, first_seq=a, last_seq=b)),
        numbers,
        numbers,
        numbers,
    ),
    st.builds(lambda k, h: pb.Down(want=pb.Want(kind=k, hash=h)), st.integers(0, 5), st.binary(max_size=16)),
    st.builds(
        lambda k, c: pb.Down(blob=pb.Blob(kind=k, content=c)), st.integers(0, 5), st.binary(max_size=16)
    ),
    st.builds(lambda w: pb.Down(welcome=pb.Welcome(window_bytes=w)), st.integers(0, 4000)),
    st.just(pb.Down()),
)


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("session") / "outbox.db"
    with contextlib.closing(Outbox(str(path), ids())) as outbox:
        fill(outbox, 4)
        fill(outbox, 3, stream_no=1)
    return path


@given(st.lists(downs, max_size=12))
def test_no_message_of_any_collector_raises(shared_path, messages):
    side = Side(shared_path)
    with contextlib.closing(side.reader):
        side.hear(Stored(NOWHERE, 1, 0), pb.Down(welcome=pb.Welcome(window_bytes=500)), *messages)


class Collector:
    """Takes what is next, asks for what is missing, acknowledges what it has."""

    def __init__(self) -> None:
        self.has: list[tuple[int, int]] = []
        self.asked = False

    def take(self, place: tuple[int, int]) -> pb.Down | None:
        if place not in self.has:
            wanted = ALL[len(self.has)]
            if place != wanted:
                return None if self.asked else self.rewind()
            self.has.append(place)
            self.asked = False
        return pb.Down(ack=pb.Ack(stream_no=self.has[-1][0], seq=self.has[-1][1]))

    def rewind(self) -> pb.Down:
        self.asked = True
        stream_no, seq = ALL[len(self.has)]
        return pb.Down(rewind=pb.Rewind(stream_no=stream_no, seq=seq))


@settings(max_examples=40)
@given(st.data())
def test_over_any_link_everything_arrives_once_and_in_order(shared_path, data):
    """Cuts lose what is on its way in both directions; a restored backup forgets what was acknowledged."""
    collector, wanted = Collector(), 0
    lives = data.draw(st.integers(1, 4))
    for life in range(lives):
        last = life == lives - 1
        collector.asked = False
        side = Side(shared_path, wanted=wanted)
        with contextlib.closing(side.reader):
            stored = {"stored": position(*collector.has[-1])} if collector.has else {}
            side.welcome(window=data.draw(st.sampled_from([1, 2000, BIG])), end=NOWHERE, **stored)
            taken, answers = 0, deque()
            if len(collector.has) < len(ALL) and wanted > position_of(*ALL[len(collector.has)]):
                answers.append(collector.rewind())  # Hello says that more was acknowledged than is there
            for _ in range(40 if last else data.draw(st.integers(0, 12))):
                if answers and (last or data.draw(st.booleans())):
                    side.hear(answers.popleft())
                elif taken < len(side.batches()):
                    answer = collector.take(side.batches()[taken])
                    taken += 1
                    answers.extend([answer] if answer else [])
            assert not [close for close in side.of(Close) if close.reason]
            wanted = side.wanted
        if not last and collector.has and data.draw(st.booleans()):
            del collector.has[data.draw(st.integers(0, len(collector.has))) :]
    assert collector.has == ALL
    assert wanted == position_of(1, 3)
