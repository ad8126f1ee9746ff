"""A boot that learns its time late gets it for everything; one that never does goes before the next."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.stream import Clock
from collector.ingest.labels import OFFSET_NS_MAX, Label, corrected, relabelled
from collector.store import open_store
from collector.times import NS, to_text
from tests.collector.vehicle import SCHEMA, START_TICK, Vehicle, spoiled

PERIOD_NS = SCHEMA.period_ns
A, B, C = (bytes([name]) * 16 for name in (1, 2, 3))
NOON_NS = 1_700_000_000 * 10**9


def label(stream_no: int, boot_id: bytes, *, end_s: int | None = 100, known: bool = False) -> Label:
    end_tick = None if end_s is None else end_s * 10**9 // PERIOD_NS
    return Label(stream_no, boot_id, PERIOD_NS, end_tick, NOON_NS if known else 5, known)


def offsets(labels) -> dict[int, tuple[int, bool]]:
    return {one.stream_no: (one.offset_ns, one.synchronised) for one in labels}


def test_all_streams_of_a_boot_get_its_first_synchronised_offset():
    labels = [label(0, A), label(1, A), label(2, A, end_s=None)]
    assert offsets(relabelled(labels, 2, NOON_NS)) == dict.fromkeys(range(3), (NOON_NS, True))


def test_a_stream_of_a_boot_whose_time_is_known_gets_it_whatever_its_own_clock_says():
    labels = [label(0, A, known=True), label(1, A, end_s=None)]
    for said in (None, NOON_NS + 10**9):
        assert offsets(relabelled(labels, 1, said)) == {1: (NOON_NS, True)}


def test_without_a_time_nothing_changes():
    assert relabelled([label(0, A), label(1, B, end_s=None)], 1, None) == []


def test_boots_that_never_got_their_time_end_where_the_next_one_was_switched_on():
    labels = [label(0, A, end_s=50), label(1, B, end_s=30), label(2, B, end_s=70), label(3, C, end_s=None)]
    assert offsets(relabelled(labels, 3, NOON_NS)) == {
        3: (NOON_NS, True),
        2: (NOON_NS - 70 * 10**9, False),
        1: (NOON_NS - 70 * 10**9, False),
        0: (NOON_NS - 120 * 10**9, False),
    }


def test_a_clock_gone_mad_stays_within_what_a_store_can_hold():
    labels = [label(0, A), label(1, B, end_s=None)]
    for said in (-(1 << 80), 1 << 80):
        assert all(abs(one.offset_ns) <= OFFSET_NS_MAX for one in relabelled(labels, 1, said))


def test_a_time_that_a_wrong_keyframe_gave_is_taken_back_from_the_whole_boot_and_those_before():
    labels = [label(0, A, end_s=50), label(1, B, known=True), label(2, B, known=True)]
    right = Clock(NOON_NS + 10**9)
    assert offsets(corrected(labels, 2, NOON_NS, right)) == {
        2: (NOON_NS + 10**9, True),
        1: (NOON_NS + 10**9, True),
        0: (NOON_NS + 10**9 - 50 * 10**9, False),
    }
    unset = Clock(7, synchronised=False)
    assert offsets(corrected(labels, 2, NOON_NS, unset)) == dict.fromkeys((1, 2), (7, False))


def test_a_time_that_another_keyframe_gave_stays():
    labels = [label(0, A, known=True), label(1, A)]
    assert corrected(labels, 0, NOON_NS + 1, Clock(5)) == []
    assert corrected(labels, 1, 5, Clock(5)) == []


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 10**6)), min_size=1, max_size=8),
    st.integers(0, 2**61),
)
def test_what_is_read_is_in_the_order_of_ticks_and_said_twice_changes_nothing(boots, offset_ns):
    labels = []
    for number, (streams, end_s) in enumerate(boots):
        for at in range(streams):
            labels.append(label(len(labels), bytes([number]) * 16, end_s=end_s * (at + 1)))
    last = labels[-1].stream_no
    changed = {one.stream_no: one for one in relabelled(labels, last, offset_ns)}
    after = [changed[one.stream_no] for one in labels]
    for one, other in pairwise(after):
        if one.boot_id != other.boot_id:
            assert one.end_tick * PERIOD_NS + one.offset_ns <= max(
                other.offset_ns, one.end_tick * PERIOD_NS - OFFSET_NS_MAX
            )
        else:
            assert (one.offset_ns, one.synchronised) == (other.offset_ns, other.synchronised)
    assert relabelled([replace(one) for one in after], last, offset_ns + 1) == []


# In the store


UNSET = Clock(
    -START_TICK * PERIOD_NS + 20 * NS, synchronised=False
)  # 1970: the machine was switched on 20 s ago


def boot(vehicle, number: int, clock: Clock, **run):
    return replace(vehicle.run(clock=clock, **run), boot_id=bytes([number]) * 16)


def read_times(bench):
    """What readers see of time: rows, and faults with their ends."""
    store = open_store(bench.path)
    rows = [(row["tick"], row["timestamp"], row["time_uncertain"]) for row in store.latest(0)]
    found = [(f["started_at"], f["detected_at"], f["ended_at"], f["time_uncertain"]) for f in store.faults()]
    return rows, found


def test_a_boot_that_learns_its_time_gets_it_for_everything_it_stored(bench, vehicle):
    """Also what an earlier run of the agent stored in the same boot, and what began in one and ended in the other."""
    clock = Clock(3_600 * NS, synchronised=True)
    bench.take(vehicle.greeting, vehicle.schema, boot(vehicle, 7, UNSET))
    bench.take(vehicle.drive(25, temp=20.0), vehicle.drive(10, temp=50.0))
    bench.take(boot(vehicle, 7, UNSET), vehicle.drive(20, temp=50.0), vehicle.drive(10, temp=20.0))
    rows, found = read_times(bench)
    assert {uncertain for *_, uncertain in (*rows, *found)} == {True}
    assert {text[:4] for _, text, _ in rows} == {"1970"}
    vehicle._encoder._clock = clock
    bench.take(vehicle.drive(20, keyframe=True))
    rows, found = read_times(bench)
    assert [(text, uncertain) for _, text, uncertain in rows] == [
        (to_text(tick * PERIOD_NS + clock.offset_ns), False) for tick, _, _ in rows
    ]
    (hot,) = found
    begin = (START_TICK + 25) * PERIOD_NS + clock.offset_ns
    assert hot == (to_text(begin), to_text(begin), to_text(begin + 29 * PERIOD_NS), False)


def test_a_time_that_a_wrong_keyframe_gave_goes_when_its_group_turns_out_to_be_wrong(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    other = Vehicle()
    other.run()
    other._encoder._clock = Clock(3_600 * NS, synchronised=True)
    right = vehicle.drive(25, temp=50.0)
    bench.take(other.drive(25, temp=50.0))
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(3_600 * NS, True)}
    bench.take(vehicle.drive(20, keyframe=True))
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(0, False)}
    bench.take(right)
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(0, True)}
    rows, found = read_times(bench)
    assert [text for _, text, _ in rows] == [to_text(tick * PERIOD_NS) for tick, _, _ in rows]
    assert found[0][0] == to_text(START_TICK * PERIOD_NS)


def test_a_keyframe_that_contradicts_the_group_before_it_gives_no_time(bench, vehicle):
    """It may be the one that is wrong. The next one, or the group when it came again, tells."""
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    other = Vehicle()
    other.run()
    right = vehicle.drive(25)
    other.drive(25, temp=50.0)
    other._encoder._clock = Clock(3_600 * NS, synchronised=True)
    bench.take(right, other.drive(20, keyframe=True))
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(0, False)}
    vehicle.drive(20, keyframe=True)
    bench.take(right, vehicle.drive(20, keyframe=True))
    assert {s.offset_ns for s in open_store(bench.path).streams()} == {0}


def test_a_time_that_a_doubtful_keyframe_gave_is_uncertain_until_another_one_comes(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    other = Vehicle()
    other.run()
    other._encoder._clock = Clock(3_600 * NS, synchronised=True)
    first, second = vehicle.drive(25), vehicle.drive(25)
    bench.take(other.drive(25, temp=50.0), spoiled(second), first)
    assert bench.take(spoiled(second)).quarantined
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(0, False)}
    bench.take(vehicle.drive(20, keyframe=True))
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(0, True)}


def test_a_boot_that_never_got_its_time_goes_right_before_the_next(bench, vehicle):
    known = Clock(0, synchronised=True)
    bench.take(vehicle.greeting, vehicle.schema, boot(vehicle, 1, known), vehicle.drive(30))
    bench.take(boot(vehicle, 2, UNSET), vehicle.drive(30, temp=50.0), vehicle.drive(30))
    bench.take(boot(vehicle, 3, known), vehicle.drive(30))
    rows, found = read_times(bench)
    end = START_TICK + 90
    expected = [(text, tick >= START_TICK + 30 and tick < end) for tick, text, _ in rows]
    assert [(text, uncertain) for _, text, uncertain in rows] == expected
    placed = Clock(-end * PERIOD_NS)  # it ended at the next one's zero
    middle = [(tick, text) for tick, text, uncertain in rows if uncertain]
    assert middle == [(tick, to_text(tick * PERIOD_NS + placed.offset_ns)) for tick, _ in middle]
    assert [fault[3] for fault in found] == [True]
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {
        (0, True),
        (placed.offset_ns, False),
    }


def test_two_boots_in_1970_do_not_take_each_others_rows(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema)
    for number in (1, 2):
        clock = Clock(-vehicle.tick * PERIOD_NS, synchronised=False)
        bench.take(boot(vehicle, number, clock), vehicle.drive(30))
    assert len(read_times(bench)[0]) == 6


@pytest.mark.parametrize("offset_ns", [-(1 << 60), -(10**18), -1, 0, 999_999_999, 10**18 + 7, 1 << 62])
def test_times_that_are_put_right_read_as_if_they_had_been_right_at_once(bench, vehicle, offset_ns):
    bench.take(vehicle.greeting, vehicle.schema, boot(vehicle, 7, UNSET), vehicle.drive(20, temp=50.0))
    bench.take(boot(vehicle, 7, Clock(offset_ns, synchronised=True)), vehicle.drive(20))
    rows, _ = read_times(bench)
    (label,) = {s.offset_ns for s in open_store(bench.path).streams()}
    assert [text for _, text, _ in rows] == [to_text(tick * PERIOD_NS + label) for tick, _, _ in rows]


def test_a_boot_that_gets_its_time_in_the_block_that_opens_a_fault(bench, vehicle):
    """Rows from before the fault are asked for once more, under the time that the boot has now."""
    bench.take(
        vehicle.greeting, vehicle.schema, boot(vehicle, 7, UNSET), vehicle.drive(40), vehicle.drive(40)
    )
    vehicle._encoder._clock = Clock(3_600 * NS, synchronised=True)
    bench.take(vehicle.drive(20, temp=50.0, keyframe=True), vehicle.drive(20, temp=50.0))
    rows, _ = read_times(bench)
    assert len({tick for tick, *_ in rows}) == len(rows)
    assert {uncertain for *_, uncertain in rows} == {False}


def test_a_doubtful_keyframe_takes_no_time_back_that_others_gave_too(bench, vehicle):
    known, other = Clock(3_600 * NS, synchronised=True), Vehicle()
    other.run(clock=UNSET)
    bench.take(vehicle.greeting, vehicle.schema, boot(vehicle, 7, UNSET))
    vehicle._encoder._clock = other._encoder._clock = known
    for _ in range(3):
        bench.take(vehicle.drive(100, keyframe=True))
        other.drive(100, keyframe=True)
    vehicle.drive(20, keyframe=True)
    bench.take(other.drive(20, temp=50.0, keyframe=True), vehicle.drive(20, keyframe=True))
    (stream,) = open_store(bench.path).streams()
    assert stream.doubtful
    assert (stream.offset_ns, stream.synchronised) == (known.offset_ns, True)


def test_a_time_that_comes_back_with_its_group_is_that_of_later_streams_of_the_boot_too(bench, vehicle):
    other = Vehicle()
    other.run(clock=UNSET)
    bench.take(vehicle.greeting, vehicle.schema, boot(vehicle, 7, UNSET))
    vehicle._encoder._clock = other._encoder._clock = Clock(3_600 * NS, synchronised=True)
    right = vehicle.drive(25)
    bench.take(other.drive(25, temp=50.0), boot(vehicle, 7, UNSET), vehicle.drive(25), right)
    assert {(s.offset_ns, s.synchronised) for s in open_store(bench.path).streams()} == {(3_600 * NS, True)}


def test_a_stream_whose_first_block_is_lost_gets_the_time_of_its_boot_too(bench, vehicle):
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(40))
    again = vehicle.run(clock=Clock(-NS, synchronised=False))
    vehicle.drive(40, keyframe=True)
    bench.take(again, vehicle.gap(0, 0, 40), vehicle.drive(40, keyframe=True))
    assert {(stream.offset_ns, stream.synchronised) for stream in open_store(bench.path).streams()} == {
        (0, True)
    }
