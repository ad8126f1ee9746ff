"""When the uplink tries again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.retry import Retry, full_jitter


def longest() -> Retry:
    return Retry(0.5, lambda failures: min(60, 0.5 * 2**failures))


def test_waits_double_from_the_shortest_to_the_longest():
    retry, waits = longest(), []
    for _ in range(40):
        retry.failed(100.0)
        waits.append(retry.due_s - 100)
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert set(waits[6:]) == {60}


@given(st.integers(1, 40))
def test_jitter_takes_all_of_what_is_allowed(failures):
    draw, ceiling = full_jitter(0.5, 60), min(60, 0.5 * 2**failures)
    waits = [draw(failures) for _ in range(300)]
    assert 0.5 <= min(waits) <= 0.5 + (ceiling - 0.5) / 5
    assert ceiling - (ceiling - 0.5) / 5 <= max(waits) <= ceiling


def test_after_a_welcome_the_next_failure_is_the_first():
    retry = longest()
    for _ in range(9):
        retry.failed(0.0)
    retry.succeeded()
    retry.failed(10.0)
    assert retry.due_s == 11


def test_a_network_that_came_back_is_tried_at_once_but_once_in_the_shortest_wait():
    retry = longest()
    for _ in range(9):
        retry.failed(100.0)
    retry.network_changed(130.0)
    assert retry.due_s == 130
    retry.failed(130.1)
    retry.network_changed(130.2)
    assert retry.due_s == 130.6
    retry.network_changed(130.3)
    assert retry.due_s == 130.6


def test_the_first_try_and_what_else_changes_wait_for_nothing():
    retry = longest()
    assert retry.due_s == 0
    retry.network_changed(5.0)
    assert retry.due_s == 0
    retry.failed(5.0)
    retry.at_once()
    assert retry.due_s == 0
