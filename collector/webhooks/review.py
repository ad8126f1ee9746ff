"""What people do with webhooks: check a file, try one out, look at what was given up, and send it again."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from collector import times
from collector.query import PRINTERS
from collector.store.webhooks import DeadLetter, WebhookStore
from collector.webhooks.body import body_of, delivery_name
from collector.webhooks.notice import Notice
from collector.webhooks.post import Delivered, Result, new_client, post
from collector.webhooks.targets import Target, TargetError, load_targets
from collector.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEAD_COLUMNS = ("id", "webhook", "delivery", "at", "why")


class NotDelivered(Exception):
    """A receiver did not take it, or there is nothing of that name; the message says which and why."""


def check(path: Path) -> None:
    for target in load_targets(path, os.environ):
        signed = "signed" if target.secret else "NOT SIGNED"
        silences = f", {counted(len(target.silences), 'silence')}" if target.silences else ""
        print(
            f"{target.name}: {target.url}, {target.format}, {signed}; {' '.join(sorted(target.severities))}; "
            f"{' '.join(sorted(target.kinds))}{silences}"
        )


def test(path: Path, name: str) -> None:
    """Raises NotDelivered, TargetError."""
    target = _named(load_targets(path, os.environ), name)
    now_ns = time.time_ns()
    at = times.to_text(now_ns)
    opened = Notice(
        0, "opened", now_ns, "test", "asset:test", "TEST", "CRITICAL", "This is a test: no fault, nothing to do",
        detected_at=at, age_s=0.0,
    )  # fmt: skip
    closed = replace(opened, kind="closed", ended_at=at)
    for notice in (opened, closed):
        _taken(name, _post(target, delivery_name(target, [notice]), body_of(target, [notice])))
    print(f"{name}: took both")


def dead(where: Path | str, form: str) -> None:
    with closing(WebhookStore(where, "")) as store:
        letters = store.dead_letters()
    rows = ({column: getattr(letter, column) for column in DEAD_COLUMNS} for letter in letters)
    PRINTERS[form](DEAD_COLUMNS, rows)


def retry(where: Path | str, path: Path, ids: Sequence[int]) -> None:
    """Raises NotDelivered at the first that is not taken; those before it are dead letters no longer."""
    targets = load_targets(path, os.environ)
    with closing(WebhookStore(where, "")) as store:
        for letter in _chosen(store, ids):
            assert letter.id is not None
            target = _named(targets, letter.webhook)
            _taken(f"{letter.id} to {letter.webhook}", _post(target, letter.delivery, letter.body))
            store.forget(letter.id)
            print(f"{letter.id} to {letter.webhook}: taken")


def drop(where: Path | str, ids: Sequence[int]) -> None:
    """Raises NotDelivered where one is not there."""
    with closing(WebhookStore(where, "")) as store:
        for letter in _chosen(store, ids):
            assert letter.id is not None
            store.forget(letter.id)
            print(f"{letter.id} to {letter.webhook}: forgotten")


def _chosen(store: WebhookStore, ids: Sequence[int]) -> list[DeadLetter]:
    letters = {letter.id: letter for letter in store.dead_letters()}
    for letter in ids:
        if letter not in letters:
            raise NotDelivered(f"there is no dead letter {letter}; `collector webhooks dead` lists them")
    return [letters[letter] for letter in ids] if ids else list(letters.values())


def _named(targets: Sequence[Target], name: str) -> Target:
    for target in targets:
        if target.name == name:
            return target
    raise TargetError(
        f"no webhook {name!r} in the file; there is {', '.join(t.name for t in targets) or 'none'}"
    )


def _post(target: Target, name: str, body: bytes) -> Result:
    async def once() -> Result:
        async with new_client() as client:
            return await post(client, target, name, body, time.time_ns())

    return asyncio.run(once())


def _taken(what: str, result: Result) -> None:
    if not isinstance(result, Delivered):
        raise NotDelivered(f"{what}: not taken: {result.why}")
