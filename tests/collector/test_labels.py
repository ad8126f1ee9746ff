"""A boot that learns its time late gets it for everything; one that never does goes before the next."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from collector.labels import OFFSET_NS_MAX, Label, relabelled

PERIOD_NS = 20_000_000
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


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 10**6)), min_size=1, max_size=8), st.integers(0, 2**61))
def test_what_is_read_is_in_the_order_of_ticks_and_said_twice_changes_nothing(boots, offset_ns):
    labels = []
    for number, (streams, end_s) in enumerate(boots):
        for at in range(streams):
            labels.append(label(len(labels), bytes([number]) * 16, end_s=end_s * (at + 1)))
    last = labels[-1].stream_no
    changed = {one.stream_no: one for one in relabelled(labels, last, offset_ns)}
    after = [changed[one.stream_no] for one in labels]
    for one, other in zip(after, after[1:], strict=False):
        if one.boot_id != other.boot_id:
            assert one.end_tick * PERIOD_NS + one.offset_ns <= max(other.offset_ns, one.end_tick * PERIOD_NS - OFFSET_NS_MAX)
        else:
            assert (one.offset_ns, one.synchronised) == (other.offset_ns, other.synchronised)
    assert relabelled([replace(one) for one in after], last, offset_ns + 1) == []
