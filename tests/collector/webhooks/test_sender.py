"""Real stores, real HTTP: what is noted is told, in order, whoever dies in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from dataclasses import replace

import pytest
import structlog
from sqlalchemy import select

from collector.store.ledger import StoreLedger
from collector.store.tables import webhooks
from collector.store.webhooks import LEASE_NS, WebhookStore
from collector.webhooks import sender
from collector.webhooks.plan import Standing
from collector.webhooks.sender import Sender, tell
from tests.collector.webhooks.receiver import receiving
from tests.collector.webhooks.samples import NOW, NS, TARGET


@pytest.fixture
def opened(bench):
    made = []

    def open_one(holder="here"):
        made.append(WebhookStore(bench.path, holder))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


@contextlib.asynccontextmanager
async def telling(store, *targets):
    running = asyncio.create_task(Sender(targets, store, time.time_ns).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def told(receiver):
    return [one for _, body in receiver.received for one in json.loads(body)["notices"]]


def drive_hot(bench, vehicle):
    """A fault that opens, and one that ends: two notices."""
    bench.take(vehicle.drive(20, temp=50.0), vehicle.drive(20, temp=20.0))


async def test_what_opens_and_ends_is_told_with_what_to_do_and_the_fault_to_acknowledge(
    bench, connected, opened
):
    store = opened()
    with receiving() as receiver:
        target = replace(TARGET, url=receiver.url, secret=b"s3cret")
        async with telling(store, target):
            await until(lambda: "ops" in store.standings())
            drive_hot(bench, connected)
            await until(lambda: len(told(receiver)) == 2)
    first, last = told(receiver)
    assert (first["kind"], last["kind"], first["page"]) == ("opened", "closed", last["page"])
    assert (first["code"], first["vin"], first["severity"]) == ("HOT", "asset:one", "CRITICAL")
    assert last["ended_at"] is not None
    assert last["peak"] == pytest.approx(50.0, abs=0.5)
    assert first["fault"] is not None
    assert all("deadreckon-signature" in headers for headers, _ in receiver.received)


async def test_a_receiver_that_fails_gets_it_later_once_and_in_order(bench, connected, opened, monkeypatch):
    monkeypatch.setattr("collector.webhooks.plan.RETRY_S_MIN", 0.01)
    store = opened()
    with receiving() as receiver:
        receiver.answers.extend([(500, {}, "no"), (503, {}, "no"), (204, {}, "")])
        async with telling(store, replace(TARGET, url=receiver.url)):
            await until(lambda: "ops" in store.standings())
            drive_hot(bench, connected)
            await until(lambda: store.standings()["ops"].done == 2)
    taken = [one["kind"] for _, body in receiver.received[2:] for one in json.loads(body)["notices"]]
    assert taken == ["opened", "closed"]
    assert store.dead_letters() == []


async def test_what_is_refused_or_fails_for_too_long_is_a_dead_letter_and_the_rest_goes_on(
    bench, connected, opened
):
    store = opened()
    with receiving() as receiver:
        receiver.answers.append((410, {}, "gone"))
        async with telling(store, replace(TARGET, url=receiver.url)):
            await until(lambda: "ops" in store.standings())
            bench.take(connected.drive(20, temp=50.0))
            await until(store.dead_letters)
            bench.take(connected.drive(20, temp=20.0))
            await until(lambda: len(receiver.received) == 2)
    (letter,) = store.dead_letters()
    assert (letter.webhook, letter.why) == ("ops", "HTTP 410 gone")
    assert letter.delivery.startswith("ops-1-1-")
    assert letter.body == receiver.received[0][1]
    assert [one["kind"] for one in json.loads(receiver.received[1][1])["notices"]] == ["closed"]
    store.forget(letter.id)
    assert store.dead_letters() == []


async def test_what_was_noted_while_nobody_sent_is_told_after_the_restart(bench, connected, opened):
    first = opened("first")
    now = time.time_ns()
    assert first.claim("ops", now) == Standing(0)
    drive_hot(bench, connected)
    store = opened("second")
    assert store.claim("ops", now) is None
    assert store.claim("ops", now + LEASE_NS) is not None  # the first one is dead
    assert not first.keep("ops", Standing(9), None, now)
    store.release("ops")
    with receiving() as receiver:
        async with telling(store, replace(TARGET, url=receiver.url)):
            await until(lambda: store.standings()["ops"].done == 2)
    assert [one["id"] for one in told(receiver)] == [1, 2]


def test_a_webhook_that_is_new_is_not_told_of_what_was(bench, connected, opened):
    drive_hot(bench, connected)
    assert opened().claim("late", NOW) == Standing(2)


def test_standings_come_back_as_they_were_kept(opened):
    store = opened()
    store.claim("ops", NOW)
    standing = Standing(7, (3, 5), (NOW - NS, NOW), NOW, 2, NOW + NS)
    assert store.keep("ops", standing, None, NOW)
    assert store.claim("ops", NOW) == standing


async def test_a_bug_in_one_webhook_costs_no_other_anything(bench, connected, opened, monkeypatch):
    body_of = sender.body_of

    def broken(target, notices):
        return 1 / 0 if target.name == "bad" else body_of(target, notices)

    monkeypatch.setattr(sender, "body_of", broken)
    store = opened()
    with receiving() as receiver:
        good = replace(TARGET, url=receiver.url)
        async with telling(store, replace(good, name="bad"), good):
            await until(lambda: {"ops", "bad"} <= set(store.standings()))
            drive_hot(bench, connected)
            await until(lambda: len(told(receiver)) == 2)


async def test_a_store_that_is_busy_when_the_collector_starts_is_waited_for(tmp_path, monkeypatch):
    """As it is when every vehicle comes back at once."""
    monkeypatch.setattr(sender, "POLL_S", 0.05)
    path = tmp_path / "collector.db"
    StoreLedger(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with structlog.testing.capture_logs() as logs:
            running = asyncio.create_task(tell((TARGET,), path, time.time_ns))
            await until(lambda: any(one["event"] == "webhooks wait for the store" for one in logs))
            busy.execute("COMMIT")
            await until(lambda: any(one["event"] == "telling webhooks" for one in logs))
        running.cancel()
        await asyncio.wait({running})


def held_until_ns(store):
    with store._reading.begin() as connection:
        return connection.execute(select(webhooks.c.held_until_ns)).scalar_one()


async def test_a_webhook_is_held_for_as_long_as_a_delivery_takes(bench, connected, opened, monkeypatch):
    monkeypatch.setattr(sender, "CLAIM_S", 0.05)
    store, other = opened("here"), opened("there")
    with receiving() as receiver:
        async with telling(store, replace(TARGET, url=receiver.url)):
            await until(lambda: "ops" in store.standings())
            receiver.answering.clear()
            drive_hot(bench, connected)
            await until(lambda: receiver.received)
            later_ns = time.time_ns() + LEASE_NS
            await until(lambda: held_until_ns(store) > later_ns)
            assert other.claim("ops", later_ns) is None
            receiver.answering.set()
            await until(lambda: store.standings()["ops"].done == 2)
    assert [one["id"] for one in told(receiver)] == [1, 2]
