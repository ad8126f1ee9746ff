"""How much may be on its way: on links of any speed, more is never lost than it takes to keep them busy."""

from __future__ import annotations

import heapq

import pytest

from edge_agent.flight import LEAST_BYTES, QUEUE_NS, Flight

NS = 10**9
BATCH = 500


def drained(rate: float, delay_s: float, seconds: float, *, ack_every_s: float = 0.2) -> tuple[float, float]:
    """(share of the link that was used, longest that anything waited in its queue after the first seconds, in s).

    A link carries `rate` bytes a second, each way takes `delay_s`; the collector says every so often what it has.
    """
    flight = Flight(256 << 10)
    events: list[tuple[int, int, int]] = []  # (when, what, end): 0 arrives, 1 an ack is made, 2 it is here
    now, end, free_at, arrived, waited = 0, 0, 0, 0, 0.0
    ack_due = False

    def send() -> None:
        nonlocal end, free_at, waited
        while not flight or flight.room_bytes(late=True) >= BATCH:
            end += 1
            flight.sent(end, BATCH, now, late=True)
            if now > 10 * NS:
                waited = max(waited, (free_at - now) / NS)
            free_at = max(free_at, now) + int(BATCH / rate * NS)
            heapq.heappush(events, (free_at + int(delay_s * NS), 0, end))

    send()
    while now < seconds * NS:
        now, what, which = heapq.heappop(events)
        if what == 0:
            arrived = which
            if not ack_due:
                ack_due = True
                heapq.heappush(events, (now + int(ack_every_s * NS), 1, 0))
        elif what == 1:
            ack_due = False
            heapq.heappush(events, (now + int(delay_s * NS), 2, arrived))
        else:
            flight.acked(which, now)
            send()
    return arrived * BATCH / (rate * seconds), waited


@pytest.mark.parametrize(
    ("rate", "delay_s"), [(2e3, 0.05), (8e3, 0.1), (60e3, 0.05), (60e3, 0.4), (1e6, 0.02)]
)
def test_a_slow_link_is_kept_busy_and_nothing_waits_long_in_its_queue(rate, delay_s):
    share, waited = drained(rate, delay_s, 60)
    assert share > 0.8
    assert waited < 1.5


def test_a_fast_link_far_away_gets_all_that_welcome_allows():
    flight = Flight(256 << 10)
    for end in range(1, 2000):
        flight.sent(end, BATCH, end * NS, late=True)
        flight.acked(end, end * NS + 2 * NS)
    assert flight.room_bytes(late=True) == 256 << 10


def test_a_way_that_becomes_longer_is_found_out():
    flight, now = Flight(256 << 10), 0
    for end in range(1, 100):
        took = NS // 50 if end < 20 else 2 * NS
        flight.sent(end, BATCH, now, late=True)
        now += took
        flight.acked(end, now)
    assert flight.room_bytes(late=True) > 4 * LEAST_BYTES


def test_one_late_ack_halves_the_room_once():
    flight = Flight(256 << 10)
    flight.sent(1, BATCH, 0, late=True)
    flight.acked(1, 10)
    for end in (2, 3):
        flight.sent(end, BATCH, 20, late=True)
    before = flight.room_bytes(late=True) + flight.bytes
    flight.acked(2, 2 * QUEUE_NS)
    flight.acked(3, 2 * QUEUE_NS + 1)
    assert flight.room_bytes(late=True) == before // 2


def test_what_welcome_allows_is_never_exceeded():
    flight = Flight(LEAST_BYTES // 2)
    for end in range(1, 10):
        assert flight.room_bytes(late=True) == LEAST_BYTES // 2
        flight.sent(end, BATCH, 0, late=True)
        flight.acked(end, 0)
    flight.sent(10, BATCH, 0, late=True)
    flight.forget()
    assert not flight
    assert flight.bytes == 0


def test_what_is_not_late_waits_for_the_window_alone_and_tells_nothing_of_the_link():
    flight = Flight(10_000)
    for end in range(1, 21):
        assert flight.room_bytes(late=False) == 10_000
        flight.sent(end, 4000, end * NS, late=False)
        flight.acked(end, end * NS + (20 * NS if end % 2 else 0))
    assert flight.room_bytes(late=True) == 2 << 10
