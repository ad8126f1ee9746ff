"""Frames wait for capture: the oldest go where there are too many, and are counted; a log waits."""

from __future__ import annotations

import threading

from decoder.frames import Frames
from edge_agent.inbox import Inbox


def frames(count: int) -> Frames:
    return Frames.from_rows([(at, 0, at, b"") for at in range(count)])


def test_a_full_inbox_drops_the_oldest_and_counts_them_by_bus():
    inbox = Inbox(frames_max=100)
    for bus in (0, 1, 1, 0, 0):
        inbox.put(bus, frames(40))
    assert [(bus, len(part)) for bus, part in inbox.take(0)] == [(0, 40), (0, 40)]
    assert inbox.dropped == {0: 40, 1: 80}


def test_a_full_inbox_holds_up_a_log():
    inbox = Inbox(frames_max=100, waits=True)
    thread = threading.Thread(target=lambda: [inbox.put(0, frames(40)) for _ in range(10)])
    thread.start()
    total = 0
    while total < 400:
        items = inbox.take(1.0)
        assert sum(len(part) for _, part in items) <= 100
        total += sum(len(part) for _, part in items)
    thread.join()
    assert inbox.dropped.total() == 0


def test_who_waits_is_woken_and_whoever_closes_frees_the_bus():
    inbox = Inbox(frames_max=1, waits=True)
    inbox.put(0, frames(1))
    thread = threading.Thread(target=inbox.put, args=(0, frames(1)))
    thread.start()
    inbox.close()
    thread.join(10)
    assert not thread.is_alive()
