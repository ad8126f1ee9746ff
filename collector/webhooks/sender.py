"""Tells webhooks what there is to tell: one task for each. It waits, posts and writes; what comes next `plan` decides.

A webhook that cannot be reached, a store that cannot be written and a bug of ours cost that webhook time, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import socket
from typing import TYPE_CHECKING, assert_never

import structlog

from collector import times
from collector.store.errors import StoreUnavailable
from collector.store.webhooks import DeadLetter, WebhookStore
from collector.webhooks.body import body_of, delivery_name
from collector.webhooks.plan import Deliver, Settle, Standing, Wait, failed, is_given_up, next_step
from collector.webhooks.post import Delivered, Later, Never, Result, new_client, post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import httpx

    from collector.store.address import Address
    from collector.webhooks.notice import Notice
    from collector.webhooks.targets import Target

NS = 1_000_000_000
POLL_S = 1.0  # how late a notice may be told at most, before it waits for others
CLAIM_S = 5.0  # how often the lease is renewed, or asked for where another collector has it

log = structlog.get_logger()


async def tell(targets: Sequence[Target], where: Address | Path | str, clock: Callable[[], int]) -> None:
    """Until it is cancelled. Raises StoreError where the store cannot be used at all."""
    if not targets:
        return
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    store = await _opened(where, holder)
    log.info("telling webhooks", webhooks=[target.name for target in targets])
    try:
        await Sender(targets, store, clock).run()
    finally:
        store.close()


async def _opened(where: Address | Path | str, holder: str) -> WebhookStore:
    """As soon as it can be had: vehicles come back at the moment when a collector starts."""
    trouble = ""
    while True:
        try:
            return await asyncio.to_thread(WebhookStore, where, holder)
        except StoreUnavailable as error:
            if str(error) != trouble:
                log.warning("webhooks wait for the store", trouble=str(error))
            trouble = str(error)
        await asyncio.sleep(POLL_S)


class Sender:
    """All webhooks of one collector. `clock` is the wall clock, in ns."""

    def __init__(self, targets: Sequence[Target], store: WebhookStore, clock: Callable[[], int]) -> None:
        self._targets = targets
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled."""
        async with new_client() as client:
            await asyncio.gather(*(self._serve(client, target) for target in self._targets))

    async def _serve(self, client: httpx.AsyncClient, target: Target) -> None:
        trouble = ""
        while True:
            try:
                await self._hold(client, target)
                trouble = ""
            except StoreUnavailable as error:
                if str(error) != trouble:  # once, not at every try
                    log.warning("webhook waits for the store", webhook=target.name, trouble=str(error))
                trouble = str(error)
            except Exception:
                log.exception("webhook met a bug; it goes on", webhook=target.name)
            await asyncio.sleep(CLAIM_S)

    async def _hold(self, client: httpx.AsyncClient, target: Target) -> None:
        """Tell while this collector is the one that does."""
        try:
            while (
                standing := await asyncio.to_thread(self._store.claim, target.name, self._clock())
            ) is not None:
                renew_ns = self._clock() + round(CLAIM_S * NS)
                while self._clock() < renew_ns:
                    after = await self._step(client, target, standing)
                    if after is None:
                        return
                    standing = after
        finally:
            await asyncio.shield(asyncio.to_thread(self._store.release, target.name))

    async def _step(self, client: httpx.AsyncClient, target: Target, standing: Standing) -> Standing | None:
        """One step of the plan. How things stand after it; None: another collector has taken over."""
        notices = await asyncio.to_thread(self._store.notices, standing)
        step = next_step(target, standing, notices, self._clock())
        match step:
            case Wait(until_ns):
                left_s = POLL_S if until_ns is None else (until_ns - self._clock()) / NS
                await asyncio.sleep(min(max(left_s, 0.0), POLL_S))
                return standing
            case Settle(after, dropped):
                dead = (
                    self._dead(target, dropped, "a silence held back more than there is room for")
                    if dropped
                    else None
                )
                return await self._keep(target, after, dead)
            case Deliver(group, after):
                name = delivery_name(target, group)
                holding = asyncio.create_task(self._go_on_holding(target))
                try:
                    result = await post(client, target, name, body_of(target, group), self._clock())
                finally:
                    holding.cancel()
                return await self._delivered(target, standing, group, after, result)
            case _:
                assert_never(step)

    async def _go_on_holding(self, target: Target) -> None:
        """A delivery may take longer than a lease lasts."""
        held = True
        while held:
            await asyncio.sleep(CLAIM_S)
            with contextlib.suppress(StoreUnavailable):
                held = await asyncio.to_thread(self._store.renew, target.name, self._clock())

    async def _delivered(
        self, target: Target, standing: Standing, group: Sequence[Notice], after: Standing, result: Result
    ) -> Standing | None:
        match result:
            case Delivered():
                log.info("webhook told", webhook=target.name, notices=len(group), last=group[-1].id)
                return await self._keep(target, after, None)
            case Later(why, after_s) if not is_given_up(target, standing, self._clock()):
                if not standing.failures:
                    log.warning(
                        "webhook does not answer as it should; trying again", webhook=target.name, why=why
                    )
                waiting = failed(standing, self._clock(), random.random(), after_s)
                return await self._keep(target, waiting, None)
            case Later(why) | Never(why):
                log.error("webhook gives a delivery up", webhook=target.name, why=why, notices=len(group))
                return await self._keep(target, after, self._dead(target, group, why))
            case _:
                assert_never(result)

    async def _keep(self, target: Target, standing: Standing, dead: DeadLetter | None) -> Standing | None:
        kept = await asyncio.to_thread(self._store.keep, target.name, standing, dead, self._clock())
        return standing if kept else None

    def _dead(self, target: Target, group: Sequence[Notice], why: str) -> DeadLetter:
        at = times.to_text(self._clock())
        return DeadLetter(target.name, delivery_name(target, group), body_of(target, group), why, at)
