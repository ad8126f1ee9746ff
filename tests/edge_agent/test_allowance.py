"""Pace and budget, by their rules."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import events
from edge_agent.allowance import ENVELOPE_BYTES, STRETCH_MAX, Allowance, Limits, Spent
from protos import telemetry_pb2 as pb
from tests.edge_agent.samples import fill, new_outbox
from tests.edge_agent.side import BIG, Side

NS = 10**9
NOVEMBER = 2026 * 12 + 10


def unix_ns(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * NS


def test_without_limits_there_is_room_for_anything():
    allowance = Allowance()
    allowance.charge(1 << 40)
    assert allowance.room_bytes > 1 << 40
    assert allowance.stretch == 1


@given(
    pace=st.integers(10, 10_000),
    steps=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 20_000)), min_size=1, max_size=60),
)
def test_what_is_sent_keeps_to_the_pace_but_for_a_second_of_it_and_one_batch(pace, steps):
    allowance = Allowance(Limits(pace_bytes_per_s=pace))
    allowance.ticked(0, None)
    now_ms, sent, largest = 0, 0, 0
    for wait_ms, size in steps:
        now_ms += wait_ms
        allowance.ticked(now_ms * NS // 1000, None)
        if allowance.room_bytes:
            allowance.charge(size)
            sent += size + ENVELOPE_BYTES
            largest = max(largest, size + ENVELOPE_BYTES)
    assert sent <= pace * (now_ms / 1000 + 1) + largest


def test_what_waits_for_the_pace_goes_once_time_has_passed():
    allowance = Allowance(Limits(pace_bytes_per_s=1000))
    allowance.ticked(0, None)
    allowance.charge(10_000 - ENVELOPE_BYTES)
    allowance.ticked(9 * NS, None)
    assert allowance.room_bytes == 0
    allowance.ticked(10 * NS, None)
    assert allowance.room_bytes == 1000


def test_a_month_is_one_in_utc_and_begins_with_nothing_spent():
    allowance = Allowance(Limits(month_bytes=1000), Spent(NOVEMBER, 990))
    allowance.ticked(0, unix_ns(2026, 11, 30, 23, 59, 59))
    assert allowance.spent == Spent(NOVEMBER, 990)
    allowance.charge(10)
    assert allowance.used_up
    assert allowance.room_bytes == 0
    allowance.ticked(NS, unix_ns(2026, 12, 1))
    assert allowance.spent.name == "2026-12"
    assert allowance.room_bytes == 1000
    allowance.ticked(2 * NS, unix_ns(2027, 1, 1))
    assert allowance.spent.name == "2027-01"


def test_a_clock_that_nobody_set_ends_no_month():
    allowance = Allowance(Limits(month_bytes=1000), Spent(NOVEMBER, 2000))
    allowance.ticked(0, None)
    assert allowance.spent.bytes == 2000
    fresh = Allowance(Limits(month_bytes=1000))
    fresh.charge(500 - ENVELOPE_BYTES)
    assert fresh.spent.name == ""
    fresh.ticked(0, unix_ns(2026, 11, 1))  # what it cost before it knew the time counts where that is
    assert fresh.spent == Spent(NOVEMBER, 500)


def test_blocks_become_longer_as_the_budget_runs_out_before_the_month():
    halfway = unix_ns(2026, 11, 16)

    def stretch(spent: int) -> int:
        allowance = Allowance(Limits(month_bytes=1000), Spent(NOVEMBER, spent))
        allowance.ticked(0, halfway)
        return allowance.stretch

    assert [stretch(spent) for spent in (0, 500, 600, 750, 900, 950, 1000, 5000)] == [1, 1, 1, 2, 5, 8, 8, 8]


@given(spent=st.integers(0, 3000), wall_s=st.integers(0, 1 << 33))
def test_stretch_is_bounded_at_any_time(spent, wall_s):
    allowance = Allowance(Limits(month_bytes=1000), Spent(0, spent))
    allowance.ticked(0, wall_s * NS)
    assert 1 <= allowance.stretch <= STRETCH_MAX
    assert allowance.used_up == (spent >= 1000)


# Over a session

ALL = [(0, 0), (0, 1), (0, 2), (0, 3)]


@pytest.fixture
def outbox(tmp_path):
    with contextlib.closing(new_outbox(tmp_path / "outbox.db")) as opened:
        fill(opened, 4)
        yield opened


def test_batches_keep_to_the_pace_over_conversations_and_heartbeats_do_not_wait(outbox):
    allowance = Allowance(Limits(pace_bytes_per_s=1))
    side = Side(outbox.path, allowance=allowance)
    side.welcome()
    assert side.batches() == []  # Hello alone was more than a second's worth
    side.hear(events.Ticked(10**9))
    assert side.batches() == []
    assert side.of(events.Beat)
    side.hear(events.Ticked(10**13))
    assert side.batches() == ALL[:1]
    side.hear(events.Ticked(10**13 + 10**9))
    assert side.batches() == ALL[:1]
    side.reader.close()
    again = Side(outbox.path, allowance=allowance)
    again.welcome()
    again.hear(events.Ticked(10**13 + 2 * 10**9))
    again.reader.close()
    assert again.batches() == []


def test_with_its_budget_used_up_nothing_is_sent_and_nothing_dropped_until_the_next_month(outbox):
    november, december = unix_ns(2026, 11, 30, 23, 59, 59), unix_ns(2026, 12, 1)
    allowance = Allowance(Limits(month_bytes=2000), Spent(0, 2000))
    side = Side(outbox.path, allowance=allowance)
    side.welcome()
    side.hear(events.Ticked(0, november))
    assert side.batches() == []
    assert side.of(events.SetSpent)[-1].stretch == 8
    assert side.of(events.SetSpent)[-1].spent.name == "2026-11"
    assert len(side.of(events.Beat)) == 1
    allowance.limits = Limits(month_bytes=10**6)
    side.hear(events.Ticked(10**9, december))
    side.reader.close()
    assert side.batches() == ALL
    assert side.of(events.SetSpent)[-1].spent.name == "2026-12"


def test_a_vehicle_that_parks_with_its_budget_used_up_leaves_with_what_it_has(outbox):
    side = Side(outbox.path, allowance=Allowance(Limits(month_bytes=1)))
    side.welcome()
    side.hear(events.Ending(parked=True))
    side.reader.close()
    assert side.sent[-1].goodbye.reason == pb.Goodbye.REASON_PARKED
    assert side.of(events.Close) == [events.Close()]


def test_everything_that_is_said_and_heard_is_charged(outbox):
    side = Side(outbox.path)
    side.welcome()
    side.reader.close()
    said = sum(message.ByteSize() + 120 for message in side.sent)
    welcome = pb.Down(welcome=pb.Welcome(window_bytes=BIG, max_block_version=1)).ByteSize() + 120
    assert side.session.allowance.spent.bytes == said + welcome
