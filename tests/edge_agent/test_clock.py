"""Stamps become CLOCK_BOOTTIME at the door, whatever the wall clock does in between."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from edge_agent import clock
from edge_agent.clock import AGE_MAX_NS, Instant, to_boottime

READ = Instant(boot_ns=500 * 10**9, wall_ns=1_700_000_000 * 10**9)


def test_a_frame_is_as_old_as_the_wall_clock_says():
    assert abs(to_boottime(1_700_000_000 - 0.25, READ) - (READ.boot_ns - 250_000_000)) < 1000


def test_a_step_of_the_wall_clock_between_stamp_and_read_changes_nothing():
    for step_s in (3600, -3600, 1.6e9):
        assert to_boottime(1_700_000_000 + step_s, READ) == READ.boot_ns


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_no_stamp_moves_a_frame_out_of_reach(stamp_s):
    assert READ.boot_ns - AGE_MAX_NS <= to_boottime(stamp_s, READ) <= READ.boot_ns


def test_this_machine_has_a_clock_and_a_boot():
    instant, now = clock.now(), clock.wall_clock()
    assert abs(instant.boot_ns + now.offset_ns - time.time_ns()) < 10**9
    assert len(clock.boot_id()) == 16
    assert clock.boot_id() != clock.FRAMES_BOOT_ID
