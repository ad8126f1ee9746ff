"""What a webhook is told next: pure. Notices and a clock in, one step out.

Rules
- Notices are told in the order of their numbers, and each at least once: `Standing` says how far a target is, and is written
  after the delivery that it is about. A crash in between tells the same delivery, under the same name, once more.
- What is not wanted is passed over. What a silence holds back waits until the silence ends; a fault that opened and
  ended within one is then not worth telling.
- Notices wait `group_s` for others, and go together. No more than `per_minute` deliveries leave in a minute: what waits for its
  turn goes with the next.
- A delivery that fails is tried again, with growing pauses, and keeps the ones after it waiting: order matters more than
  speed. After `give_up_s`, or when its receiver says that it never will, it becomes a dead letter, and the rest goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collector.webhooks.notice import ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.webhooks.notice import Notice
    from collector.webhooks.targets import Target

NS = 1_000_000_000
GROUP_MAX = 100  # notices of one delivery: 50 kB
HELD_MAX = 1000  # of one target: a weekend of a fleet's warnings; beyond that the oldest become dead letters
MINUTE_NS = 60 * NS
RETRY_S_MIN, RETRY_S_MAX = 1.0, 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a target is. `done`: every notice up to this one is dealt with, but for those held."""

    done: int
    held: tuple[int, ...] = ()  # held back by a silence, oldest first
    sent_ns: tuple[int, ...] = ()  # when the last deliveries left, for the rate
    failing_since_ns: int | None = None
    failures: int = 0  # of the delivery that is next
    retry_ns: int = 0


@dataclass(frozen=True, slots=True)
class Deliver:
    """Tell these, together; then, if it went well, `after` is how things stand."""

    notices: tuple[Notice, ...]
    after: Standing


@dataclass(frozen=True, slots=True)
class Settle:
    """Nothing to tell of what is new: `after` is how things stand. `dropped`: more was held back than there is room for."""

    after: Standing
    dropped: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time, unless new notices come; None: nothing at all."""

    until_ns: int | None = None


Step = Deliver | Settle | Wait


def next_step(target: Target, standing: Standing, notices: Sequence[Notice], now_ns: int) -> Step:
    """`notices`: those held, and those after `standing.done`, in the order of their numbers."""
    held_before = frozenset(standing.held)
    fresh = [notice for notice in notices if notice.id not in held_before]
    wanted = [notice for notice in notices if notice.id in held_before or target.wants(notice)]
    held = [notice for notice in wanted if target.is_silenced(notice, now_ns)]
    free = [notice for notice in wanted if not target.is_silenced(notice, now_ns)]
    going = _without_what_is_over(free, held_before)
    done = max((notice.id for notice in fresh), default=standing.done)
    if not going:
        kept, dropped = held[-HELD_MAX:], held[:-HELD_MAX]
        after = replace(standing, done=done, held=tuple(notice.id for notice in kept))
        return Wait() if after == standing else Settle(after, tuple(dropped))
    due_ns = max(
        _gathered_ns(target, going, held_before, now_ns),
        _turn_ns(target, standing, now_ns),
        standing.retry_ns,
    )
    if now_ns < due_ns:
        return Wait(due_ns)
    group = tuple(going[:GROUP_MAX])
    if len(group) < len(going):
        done = max(standing.done, group[-1].id)
    told = {notice.id for notice in group}
    still = tuple(
        notice.id
        for notice in wanted
        # One that is over stays until the notice that ended it is dealt with too.
        if notice.id <= done and notice.id not in told and (notice in held or len(group) < len(going))
    )
    recent = (*(at for at in standing.sent_ns if at > now_ns - MINUTE_NS), now_ns)[-target.per_minute :]
    return Deliver(group, Standing(done, still, recent))


def failed(standing: Standing, now_ns: int, jitter: float, retry_after_s: float | None = None) -> Standing:
    """After a delivery that may succeed later. `jitter` in 0..1 spreads the tries of many; the receiver may ask for a pause."""
    pause_s = min(RETRY_S_MIN * 2**standing.failures, RETRY_S_MAX)
    wait_s = max(pause_s * (0.5 + jitter / 2), min(retry_after_s or 0.0, RETRY_S_MAX))
    since_ns = now_ns if standing.failing_since_ns is None else standing.failing_since_ns
    return replace(
        standing,
        failing_since_ns=since_ns,
        failures=min(standing.failures + 1, 30),
        retry_ns=now_ns + round(wait_s * NS),
    )


def is_given_up(target: Target, standing: Standing, now_ns: int) -> bool:
    """Whether a delivery has failed for long enough to be a dead letter."""
    return (
        standing.failing_since_ns is not None and now_ns - standing.failing_since_ns >= target.give_up_s * NS
    )


def _gathered_ns(target: Target, going: Sequence[Notice], held_before: frozenset[int], now_ns: int) -> int:
    """When the group has waited for long enough. A notice ahead of the clock was written before the clock was set back."""
    if len(going) >= GROUP_MAX or going[0].id in held_before or going[0].noted_ns > now_ns:
        return 0
    return going[0].noted_ns + round(target.group_s * NS)


def _turn_ns(target: Target, standing: Standing, now_ns: int) -> int:
    """When the rate allows another delivery. Times ahead of the clock are those of a clock that was set back since."""
    recent = [at for at in standing.sent_ns if now_ns - MINUTE_NS < at <= now_ns]
    return 0 if len(recent) < target.per_minute else recent[-target.per_minute] + MINUTE_NS


def _without_what_is_over(free: Sequence[Notice], held_before: frozenset[int]) -> list[Notice]:
    """Without the faults of which both the opening and the end were held back."""
    opened = {n.page for n in free if n.id in held_before and n.kind == "opened"}
    over = {n.page for n in free if n.kind in ENDS and n.page in opened}
    return [notice for notice in free if notice.page not in over]
