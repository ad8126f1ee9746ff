"""Several buses become one sequence, in which time decides and each bus keeps its order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from decoder.frames import Frames
from edge_agent.merge import WAITING_MAX, Merge


def frames(bus: int, *times: int) -> Frames:
    return Frames.from_rows([(time, bus, index, b"") for index, time in enumerate(times)])


def given_out(taken: Frames) -> list[tuple[int, int]]:
    return list(zip(taken.timestamps_ns.tolist(), taken.buses.tolist(), strict=True))


def test_one_bus_waits_for_nobody_and_keeps_its_order():
    merge = Merge(1, own_clock=True)
    merge.add(0, frames(0, 5, 3, 9))
    assert given_out(merge.take()) == [(5, 0), (3, 0), (9, 0)]
    assert len(merge.take()) == 0


def test_a_frame_is_given_out_once_every_bus_has_shown_a_later_one():
    merge = Merge(2, own_clock=True)
    merge.add(0, frames(0, 1, 5, 9))
    assert given_out(merge.take()) == []
    merge.add(1, frames(1, 2, 6))
    assert given_out(merge.take()) == [(1, 0), (2, 1), (5, 0)]
    merge.end(1)
    merge.add(0, frames(0, 12))
    assert given_out(merge.take()) == [(6, 1), (9, 0)]
    merge.end(0)
    assert given_out(merge.take()) == [(12, 0)]


def test_with_the_systems_clock_nobody_waits():
    merge = Merge(2, own_clock=False)
    merge.add(1, frames(1, 7))
    merge.add(0, frames(0, 3))
    assert given_out(merge.take()) == [(3, 0), (7, 1)]


def test_what_waits_for_a_bus_that_shows_nothing_is_bounded():
    merge = Merge(2, own_clock=True)
    merge.add(0, frames(0, *range(WAITING_MAX + 1)))
    assert len(merge.take()) == WAITING_MAX + 1


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_the_sequence_is_a_function_of_what_the_buses_carry(buses, random):
    def run(cut) -> list[tuple[int, int]]:
        merge = Merge(len(buses), own_clock=True)
        rest = [list(times) for times in buses]
        found = []
        while any(rest):
            bus = random.choice([index for index, times in enumerate(rest) if times])
            size = cut()
            merge.add(bus, frames(bus, *rest[bus][:size]))
            rest[bus] = rest[bus][size:]
            found += given_out(merge.take())
        for bus in range(len(buses)):
            merge.end(bus)
        return found + given_out(merge.take())

    whole = run(lambda: 100)
    assert run(lambda: random.randint(1, 4)) == whole
    for bus, times in enumerate(buses):
        assert [time for time, at in whole if at == bus] == times
