"""What frames, error frames, silence and failures make of a bus's state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bus_state import BUS_OFF, CONTROLLER, RESTARTED, SILENT_NS, TROUBLE_CHARACTERS_MAX, BusState

NOW = 10**12


def opened() -> BusState:
    state = BusState("can0")
    state.opened(NOW)
    return state


def test_a_bus_is_up_once_a_read_has_worked_and_not_before():
    state = opened()
    assert state.state == "down"
    state.failed("can0: [Errno 100] Network is down")
    assert (state.state, state.times_down) == ("down", 0), "it never was up"
    state.read(0, NOW)
    assert (state.state, state.trouble) == ("up", "")


def test_silence_is_counted_from_the_last_frame_or_from_the_opening():
    state = opened()
    state.read(0, NOW + SILENT_NS)
    assert state.state == "up"
    state.read(0, NOW + SILENT_NS + 1)
    assert state.state == "silent"
    state.read(3, NOW + 2 * SILENT_NS)
    assert (state.state, state.frames) == ("up", 3)


def test_an_adapter_that_is_pulled_out_is_counted_once_however_often_it_is_tried():
    state = opened()
    for _ in range(2):
        state.read(1, NOW)
        for _ in range(5):
            state.failed("x" * 9999)
    assert (state.state, state.times_down) == ("down", 2)
    assert len(state.trouble) == TROUBLE_CHARACTERS_MAX


@pytest.mark.parametrize(
    "back",
    [lambda state: state.error_frame(RESTARTED, b""), lambda state: state.read(1, NOW)],
    ids=["restarted", "frame"],
)
def test_bus_off_lasts_until_the_controller_or_a_frame_says_otherwise(back):
    state = opened()
    state.read(1, NOW)
    state.error_frame(BUS_OFF | CONTROLLER, bytes(8))
    state.error_frame(BUS_OFF, bytes(8))
    state.read(0, NOW + 9 * SILENT_NS)
    assert (state.state, state.times_bus_off) == ("bus_off", 1)
    assert "restart-ms" in state.trouble
    back(state)
    assert (state.state, state.trouble) == ("up", "")
    state.error_frame(BUS_OFF, bytes(8))
    assert state.times_bus_off == 2


def test_a_controller_whose_queue_ran_over_lost_a_frame_at_least():
    state = opened()
    state.error_frame(CONTROLLER, b"\0\x01")
    state.error_frame(CONTROLLER, b"\0\x02")  # that was the queue for sending
    state.error_frame(CONTROLLER, b"")
    assert (state.frames_overrun, state.error_frames) == (1, 3)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("read"), st.integers(0, 3), st.integers(0, 3 * SILENT_NS)),
            st.tuples(st.just("error"), st.integers(0, 0x1FF), st.binary(max_size=8)),
            st.tuples(st.just("failed"), st.just(0), st.just(0)),
        ),
        max_size=30,
    )
)
def test_every_sequence_leaves_a_state_that_says_what_is_wrong(events):
    state, now = opened(), NOW
    for kind, first, second in events:
        if kind == "read":
            now += second
            state.read(first, now)
        elif kind == "error":
            state.error_frame(first, second)
        else:
            state.failed("gone")
            state.opened(now)
        assert state.state in ("up", "silent", "bus_off", "down")
        assert bool(state.trouble) == (state.state in ("bus_off", "down")) or state.frames == 0
    assert state.frames == sum(first for kind, first, _ in events if kind == "read")
