"""Stamps become CLOCK_BOOTTIME at the door, whatever the wall clock does in between."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent import clock
from edge_agent.clock import AGE_MAX_NS, Door, Instant

BOOT_NS = 500 * 10**9
MS = 10**6
HOUR_NS = 3600 * 10**9
OFFSET_1970_NS = 7 * 10**9  # a clock without a battery begins in 1970, seconds before the boot's own
OFFSET_NS = 1_700_000_000 * 10**9


def instant(boot_ns: int, offset_ns: int) -> Instant:
    return Instant(boot_ns, boot_ns + offset_ns)


def test_a_frame_is_as_old_as_the_wall_clock_says():
    read = instant(BOOT_NS, OFFSET_NS)
    assert Door().to_boottime(read.wall_ns - 250 * MS, read) == BOOT_NS - 250 * MS


@pytest.mark.parametrize("step_ns", [-HOUR_NS, -40 * MS, 40 * MS, HOUR_NS, OFFSET_NS - OFFSET_1970_NS])
def test_a_step_between_the_stamp_and_the_reading_costs_nothing(step_ns):
    door = Door()
    before, after = OFFSET_NS, OFFSET_NS + step_ns
    door.to_boottime(BOOT_NS + before, instant(BOOT_NS, before))
    stamped_ns, read_ns = BOOT_NS + 10 * MS, BOOT_NS + 30 * MS
    assert door.to_boottime(stamped_ns + before, instant(read_ns, after)) == stamped_ns
    assert door.to_boottime(read_ns + after, instant(read_ns, after)) == read_ns


def test_a_smeared_leap_second_is_no_step():
    door = Door()
    for second in range(0, 86_400, 60):
        offset = OFFSET_NS - second * 10**9 // 86_400
        read = instant(BOOT_NS + second * 10**9, offset)
        assert door.to_boottime(read.wall_ns - 5 * MS, read) == read.boot_ns - 5 * MS


def test_a_driver_with_a_clock_of_its_own_is_read_when_it_is_read():
    door = Door()
    for stamp_ns in (0, 12_345, 2**62, -(2**62)):
        assert door.to_boottime(stamp_ns, instant(BOOT_NS, OFFSET_NS)) == BOOT_NS


def test_what_waited_while_the_machine_slept_counts_when_it_is_read():
    door = Door()
    door.to_boottime(BOOT_NS + OFFSET_NS, instant(BOOT_NS, OFFSET_NS))
    awake_ns = BOOT_NS + 8 * HOUR_NS
    assert door.to_boottime(BOOT_NS + MS + OFFSET_NS, instant(awake_ns, OFFSET_NS)) == awake_ns


@dataclass(frozen=True)
class Stamped:
    """A frame of the model: when it was stamped and read, on the boot clock, and how far the wall clock was from it."""

    stamped_ns: int
    read_ns: int
    offset_then_ns: int
    offset_now_ns: int
    stepped: bool  # the clock was set so shortly before that both offsets could be meant


@st.composite
def stamped_frames(draw) -> list[Stamped]:
    """Frames in order, each stamped after the reading before it or before, on a clock that is set now and then."""
    steps = st.sampled_from([0, 0, 0, 1, -1, 500 * MS, -500 * MS, 30 * MS, HOUR_NS, -HOUR_NS, OFFSET_NS])
    pauses = st.lists(st.integers(1, 400 * MS), min_size=1, max_size=25)
    reads = list(accumulate(draw(pauses), initial=BOOT_NS))
    offsets = list(
        accumulate(
            (draw(steps) for _ in reads[1:]), initial=draw(st.sampled_from([OFFSET_1970_NS, OFFSET_NS]))
        )
    )
    found = []
    for at, (read_ns, offset) in enumerate(zip(reads, offsets, strict=True)):
        # The clock was set at some moment after the reading before this one, or not at all.
        before_ns = reads[at - 1] if at else read_ns
        set_ns = draw(st.integers(before_ns, read_ns))
        stamped_ns = draw(st.integers(max(before_ns, read_ns - AGE_MAX_NS), read_ns))
        then = offset if stamped_ns >= set_ns else offsets[at - 1]
        recent = {
            other
            for time_ns, other in zip(reads[: at + 1], offsets, strict=False)
            if read_ns - time_ns <= AGE_MAX_NS
        }
        found.append(Stamped(stamped_ns, read_ns, then, offset, len(recent) > 1))
    return found


@given(stamped_frames())
@example([Stamped(BOOT_NS, BOOT_NS, OFFSET_NS, OFFSET_NS, False)])
def test_no_frame_is_before_its_stamp_or_after_its_reading_and_without_steps_none_is_off(frames):
    door = Door()
    for frame in frames:
        found = door.to_boottime(
            frame.stamped_ns + frame.offset_then_ns, instant(frame.read_ns, frame.offset_now_ns)
        )
        assert frame.stamped_ns - clock.STEP_NS <= found <= frame.read_ns
        if not frame.stepped:
            assert found == frame.stamped_ns


@given(st.integers(-(2**63), 2**63), st.integers(0, 2**62), st.integers(-(2**62), 2**62))
def test_no_stamp_moves_a_frame_out_of_reach(stamp_ns, boot_ns, offset_ns):
    assert boot_ns - AGE_MAX_NS <= Door().to_boottime(stamp_ns, instant(boot_ns, offset_ns)) <= boot_ns


def test_this_machine_has_a_clock_and_a_boot():
    now, wall = clock.now(), clock.wall_clock()
    assert abs(now.boot_ns + wall.offset_ns - time.time_ns()) < 10**9
    assert len(clock.boot_id()) == 16
    assert clock.boot_id() != clock.FRAMES_BOOT_ID
