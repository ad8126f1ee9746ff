"""`collector serve` as a process: it says when it listens, ends cleanly, and survives being killed at any point."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time

import grpc
import pytest

from codec import kernel
from codec.columns import decode_columns, decode_together
from collector.__main__ import main
from collector.app import warm_up
from collector.battery.kernels import add_up
from collector.detectors.kernels import score
from collector.rules import load_rules
from collector.store import open_store
from collector.survey.kernels import survey
from tests.collector.agent import LONG_S, SCHEMA_BLOB, connect, described, hello, sent
from tests.collector.vehicle import Bench, Vehicle, within_bounds

END_S = 5
START_S = 60
KILLS = 3


def rule(limit) -> str:
    return f'[[rule]]\ncode = "HOT"\nwhen = "Temp > {limit}"\nseverity = "CRITICAL"\ndescription = "hot"\n'


class Served:
    """A collector process on a port of its own, and again on the same one."""

    def __init__(self, folder) -> None:
        self.store = folder / "s.db"
        self.rules = folder / "rules.toml"
        self.rules.write_text(rule(45))
        self._log = folder / "log"
        self._port = 0
        self._process: subprocess.Popen | None = None

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "collector",
            "serve",
            "--listen",
            f"127.0.0.1:{self._port}",
            "--store",
            str(self.store),
            "--rules",
            str(self.rules),
        ]
        begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*command, "--ack-within-s", "0.1"], stderr=log)
        self._port = int(self.wait_for("listening", begin)["address"].rpartition(":")[2])

    def wait_for(self, event: str, begin: int = 0):
        until = time.monotonic() + START_S
        while not (said := [line for line in self.events(begin) if line["event"] == event]):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        return said[0]

    def events(self, begin=0):
        with self._log.open() as log:
            log.seek(begin)
            return [json.loads(line) for line in log if line.endswith("\n")]

    def send(self, number) -> None:
        self._process.send_signal(number)

    def signal(self, number) -> int:
        """Exit status."""
        if self._process is None or self._process.poll() is not None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(LONG_S)


@pytest.fixture
def served(tmp_path):
    one = Served(tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.signal(signal.SIGKILL)


async def test_it_ends_cleanly_with_everything_it_had_taken(served, vehicle):
    async with connect(served.port) as link:
        await link.say(hello(vehicle), described(vehicle.run()))
        await link.hear("want")
        await link.say(SCHEMA_BLOB, *(sent(vehicle.drive()) for _ in range(5)))
        await link.hear("ack")
        began = time.monotonic()
        assert await asyncio.to_thread(served.signal, signal.SIGTERM) == 0
        assert time.monotonic() - began < END_S
    assert served.events()[-1]["event"] == "ended"
    assert not served.store.with_name("s.db-wal").exists()


async def test_a_rules_file_that_changes_goes_to_every_vehicle_that_is_here(served, vehicle):
    async with connect(served.port) as link:
        await link.say(hello(vehicle))
        assert (await link.hear("blob")).blob.hash == load_rules(rule(45)).guards().hash
        served.rules.write_text("nonsense")
        served.send(signal.SIGHUP)
        await asyncio.to_thread(
            served.wait_for, "the rules file cannot be used; the rules before it stay in force"
        )
        served.rules.write_text(rule(40))  # and no signal
        assert (await link.hear("blob")).blob.hash == load_rules(rule(40)).guards().hash
        served.rules.write_text("")
        served.send(signal.SIGHUP)
        assert (await link.hear("blob")).blob.hash == b""


async def test_it_ends_in_time_though_its_store_is_locked(served, vehicle):
    holder = sqlite3.connect(served.store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with connect(served.port) as link:
        await link.say(hello(vehicle))
        await asyncio.to_thread(served.wait_for, "store cannot be written; trying again")
        began = time.monotonic()
        assert await asyncio.to_thread(served.signal, signal.SIGINT) == 0
        assert time.monotonic() - began < END_S
    holder.close()


def test_it_deletes_what_is_too_old_while_it_serves(served, vehicle):
    served.signal(signal.SIGTERM)
    before = Bench(served.store)
    before.take(vehicle.greeting, vehicle.schema, vehicle.run(), vehicle.drive(1200))
    before.ledger.close()
    served.start()
    said = served.wait_for("deleted what is too old")
    assert said["telemetry_logs"] == 120  # of 2023
    assert sum(len(run.records) for run in open_store(served.store).runs("asset:one")) == 1200


async def test_what_was_acked_survives_being_killed_at_any_point(served):
    """An agent that keeps what is not acked, and a collector that is killed again and again."""
    chance = random.Random(7)
    vehicle = Vehicle()
    begun = vehicle.run()
    batches = [vehicle.drive(chance.randint(1, 30), step=chance.choice([0.0, 0.3, -0.3])) for _ in range(300)]
    acked = -1
    for _ in range(KILLS):
        killing = asyncio.create_task(kill_after(served, chance.uniform(0.05, 0.5)))
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError, AssertionError, TimeoutError):
            async with connect(served.port) as link:
                acked = await send_all(link, vehicle, begun, batches, acked)
        await killing
        stored = sum(1 for _ in open_store(served.store).runs("asset:one")) if vehicles(served) else 0
        assert stored > acked, "an ack came for what is not durable"
        await asyncio.to_thread(served.start)
    async with connect(served.port) as link:
        assert await send_all(link, vehicle, begun, batches, acked) == len(batches) - 1
    runs = [(run.facts.stream_no, run.records) for run in open_store(served.store).runs("asset:one")]
    assert within_bounds(vehicle.sampled, runs)


def vehicles(served):
    return open_store(served.store).vehicles()


async def kill_after(served, seconds) -> None:
    await asyncio.sleep(seconds)
    await asyncio.to_thread(served.signal, signal.SIGKILL)


async def send_all(link, vehicle, begun, batches, acked) -> int:
    """Last seq that was acked."""
    await link.say(hello(vehicle))
    welcome = (await link.hear("welcome")).welcome
    if welcome.HasField("stored"):
        acked = max(acked, welcome.stored.seq)
    await link.say(described(begun))
    for batch in batches[acked + 1 :]:
        await link.say(sent(batch))
    while acked < len(batches) - 1:
        message = await link.hear()
        if message.HasField("want"):
            await link.say(SCHEMA_BLOB)
        if message.HasField("ack"):
            acked = max(acked, message.ack.seq)
    return acked


def test_every_kernel_that_a_block_meets_is_ready_before_the_first_one():
    met = (decode_columns, decode_together, survey, add_up, score)
    with kernel.kernels_from({}):  # each decides anew where it comes from
        assert all(one.run == one._first for one in met)
        warm_up()
        assert all(one.run != one._first for one in met)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rules", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["--store", "/nowhere/s.db"], "does its folder exist"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(arguments, says, capsys):
    assert main(["serve", "--listen", "127.0.0.1:0", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert says in json.loads(line)["trouble"]
