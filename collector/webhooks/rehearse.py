"""What a webhook would have been told of notices, had they been noted at their time: the plan that a sender follows, with no receiver.

Rules
- Every delivery succeeds at once; a sender that waits looks again after POLL_S, which silences are told to the minute by.
- What is still held at the end is held: the silence had not ended.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from collector.webhooks.plan import NS, Deliver, Settle, Standing, Wait, next_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.webhooks.notice import Notice
    from collector.webhooks.targets import Target

POLL_S = 60.0


@dataclass(slots=True)
class Told:
    """`notices`: by kind. `wanted`: what the webhook asks for at all."""

    deliveries: int = 0
    wanted: int = 0
    notices: Counter[str] = field(default_factory=Counter)
    held: int = 0  # at the end


def rehearse(target: Target, notices: Sequence[Notice], until_ns: int) -> Told:
    """`notices` are numbered from 1, in the order of their times."""
    told = Told(wanted=sum(target.wants(one) for one in notices))
    standing, by_id, at = Standing(0), {one.id: one for one in notices}, 0
    now_ns = notices[0].noted_ns if notices else until_ns
    while True:
        while at < len(notices) and notices[at].noted_ns <= now_ns:
            at += 1
        known = [*(by_id[one] for one in standing.held), *notices[standing.done : at]]
        step = next_step(target, standing, known, now_ns)
        match step:
            case Deliver(group, after):
                told.deliveries += 1
                told.notices.update(one.kind for one in group)
                standing = after
            case Settle(after):
                standing = after
            case Wait(due_ns):
                coming = [notices[at].noted_ns] if at < len(notices) else []
                if not coming and due_ns is None and not standing.held:
                    break
                looks = [now_ns + round(POLL_S * NS)] if standing.held else []
                now_ns = min([*coming, *looks, *([] if due_ns is None else [due_ns])])
                if now_ns > until_ns and not coming and due_ns is None:
                    break
            case _:
                assert_never(step)
    told.held = len(standing.held)
    return told
