"""In order, each at least once, no more often than allowed; what a silence holds back comes after it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, time
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from collector.webhooks.plan import (
    GROUP_MAX,
    HELD_MAX,
    MINUTE_NS,
    RETRY_S_MAX,
    Deliver,
    Settle,
    Standing,
    Wait,
    failed,
    is_given_up,
    next_step,
)
from collector.webhooks.targets import DAYS, Silence
from tests.collector.webhooks.samples import NOW, NS, TARGET, notice

ALWAYS = Silence(frozenset(range(7)), time(0), time(0), UTC, frozenset({"CRITICAL"}), ("*",), ("*",))
SILENT = replace(TARGET, silences=(ALWAYS,))
NEW = Standing(0)


def test_what_is_new_is_told_in_its_order_and_how_things_stand_after_it():
    step = next_step(TARGET, NEW, [notice(1), notice(2)], NOW)
    assert step == Deliver((notice(1), notice(2)), Standing(2, (), (NOW,)))
    assert next_step(TARGET, step.after, [], NOW) == Wait()


def test_notices_wait_for_others_so_long_and_no_longer():
    target = replace(TARGET, group_s=5.0)
    assert next_step(target, NEW, [notice(1)], NOW) == Wait(NOW + 5 * NS)
    assert isinstance(next_step(target, NEW, [notice(1), notice(2)], NOW + 5 * NS), Deliver)
    assert isinstance(next_step(target, NEW, [notice(k) for k in range(1, GROUP_MAX + 1)], NOW), Deliver)


def test_a_clock_that_is_set_back_holds_up_nothing():
    target = replace(TARGET, group_s=5.0, per_minute=1)
    standing = Standing(0, (), (NOW + 3600 * NS,))
    assert isinstance(next_step(target, standing, [notice(1, noted_ns=NOW + 3600 * NS)], NOW), Deliver)


def test_a_large_group_goes_in_parts():
    many = [notice(k) for k in range(1, GROUP_MAX + 3)]
    step = next_step(TARGET, NEW, many, NOW)
    assert len(step.notices) == GROUP_MAX
    assert step.after.done == GROUP_MAX
    assert [n.id for n in next_step(TARGET, step.after, many[GROUP_MAX:], NOW).notices] == [101, 102]


def test_what_is_not_wanted_is_passed_over():
    step = next_step(TARGET, NEW, [notice(1, severity="INFO"), notice(2, severity="INFO")], NOW)
    assert step == Settle(Standing(2))
    told = replace(TARGET, kinds=frozenset({"closed"}))
    assert next_step(told, NEW, [notice(1), notice(2, "closed")], NOW).notices == (notice(2, "closed"),)


def test_no_more_deliveries_leave_in_a_minute_than_allowed():
    target = replace(TARGET, per_minute=2)
    standing = Standing(0, (), (NOW - 30 * NS, NOW - 10 * NS))
    assert next_step(target, standing, [notice(1)], NOW) == Wait(NOW - 30 * NS + MINUTE_NS)
    step = next_step(target, standing, [notice(1)], NOW + 30 * NS)
    assert step.after.sent_ns == (NOW - 10 * NS, NOW + 30 * NS)


def test_a_silence_holds_back_and_what_ended_within_it_is_never_told():
    step = next_step(SILENT, NEW, [notice(1, page="a"), notice(2, page="b")], NOW)
    assert step == Settle(Standing(2, (1, 2)))
    waiting = [notice(1, page="a"), notice(2, page="b"), notice(3, "closed", "a")]
    step = next_step(SILENT, step.after, waiting, NOW)
    assert step.after.held == (1, 2, 3)
    over = next_step(TARGET, step.after, waiting, NOW)
    assert [n.id for n in over.notices] == [2]
    assert over.after == Standing(3, (), (NOW,))


def test_more_than_can_be_held_is_dropped_by_name():
    many = [notice(k) for k in range(1, HELD_MAX + 3)]
    step = next_step(SILENT, NEW, many, NOW)
    assert [n.id for n in step.dropped] == [1, 2]
    assert len(step.after.held) == HELD_MAX


def test_tries_come_at_growing_pauses_and_end():
    standing, pauses, now_ns = NEW, [], NOW
    for _ in range(12):
        standing = failed(standing, now_ns, 1.0)
        pauses.append((standing.retry_ns - now_ns) / NS)
        assert next_step(TARGET, standing, [notice(1)], now_ns) == Wait(standing.retry_ns)
        now_ns = standing.retry_ns
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == RETRY_S_MAX
    assert failed(NEW, NOW, 0.0, retry_after_s=30.0).retry_ns == NOW + 30 * NS
    assert not is_given_up(TARGET, standing, NOW + 86_399 * NS)
    assert is_given_up(TARGET, standing, NOW + 86_400 * NS)
    assert next_step(TARGET, standing, [notice(1)], now_ns).after.failing_since_ns is None


@given(st.integers(0, 2**32))
def test_everything_wanted_is_told_once_a_delivery_and_in_order(seed):
    """A life of a target: notices come, silences begin and end, deliveries fail, the process dies between any two steps."""
    chance = random.Random(seed)
    largest = chance.choice([1, 2, 3, GROUP_MAX])
    opened: set[str] = set()
    notices = []
    for number in range(1, chance.randint(1, 60) + 1):
        fault = f"f{chance.randint(0, 15)}"
        kind = "closed" if fault in opened else "opened"
        (opened.discard if kind == "closed" else opened.add)(fault)
        notices.append(notice(number, kind, fault, severity=chance.choice(["CRITICAL", "WARNING", "INFO"])))
    target = replace(TARGET, per_minute=3)
    standing, now_ns, arrived = NEW, NOW, 0
    told: list[int] = []
    silenced: set[int] = set()
    sent_ns: list[int] = []
    for _ in range(1000):
        quiet = arrived < len(notices) and chance.random() < 0.4
        arrived = min(len(notices), arrived + chance.randint(0, 3))
        seen = [n for n in notices[:arrived] if n.id > standing.done or n.id in standing.held]
        with mock.patch("collector.webhooks.plan.GROUP_MAX", largest):
            step = next_step(replace(target, silences=(ALWAYS,) if quiet else ()), standing, seen, now_ns)
        match step:
            case Wait(until_ns):
                if until_ns is None and arrived == len(notices) and not quiet:
                    break
                now_ns = max(now_ns + NS, until_ns or 0)
            case Settle(after):
                assert after.done >= standing.done
                standing = after
            case Deliver(group, after):
                if chance.random() < 0.3:
                    standing = failed(standing, now_ns, 0.5)
                    continue
                told += [n.id for n in group]
                sent_ns.append(now_ns)
                standing = after
        silenced |= set(standing.held)
    else:
        raise AssertionError("it never comes to rest")
    assert len(told) == len(set(told))
    free = [number for number in told if number not in silenced]
    assert free == sorted(free)
    missing = {n.id for n in notices if target.wants(n)} - set(told)
    held_back = {notices[number - 1].page for number in silenced}
    assert all(notices[number - 1].page in held_back for number in missing)
    assert all(later - earlier >= MINUTE_NS for earlier, later in zip(sent_ns, sent_ns[3:], strict=False))
    assert standing.held == ()


def test_days_are_named_from_monday():
    assert DAYS[0] == "mon"
