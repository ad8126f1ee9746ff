"""The collector's machine: what collector.gateway and collector.writer do around conversations and ingest, without threads."""

from __future__ import annotations

import shutil
from collections import deque
from typing import TYPE_CHECKING

from codec.schema import NS
from collector.conversation import Conversation, End, Report, Send, Submit
from collector.gateway import IN_INGEST_WINDOWS
from collector.ingest.ingest import Ingest
from collector.store import StoreError
from collector.store.ledger import StoreLedger
from collector.writer import Turns, commit
from tests.simulation import car
from tests.simulation.agent import Killed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector.conversation import Action
    from collector.items import Item, OutboxKey, Outcome
    from collector.rules import Rules
    from protos import telemetry_pb2 as pb
    from tests.simulation.network import Connection, Link
    from tests.simulation.world import World


class Station:
    """The collector: its store's disk, and the process while it lives."""

    def __init__(self, world: World, folder: Path, template: Path) -> None:
        self.world = world
        self.disk = world.add_disk(folder)
        self.path = folder / "store.db"
        shutil.copy(template, self.path)
        self.rules = car.RULES[0]
        self.window_bytes = world.rng.choice((400, 4096, 256 << 10))
        self.ack_within_ns = world.rng.choice((1, 10, 100)) * NS
        self.process: Process | None = None
        self.after_death: list[str] = []

    def start(self) -> None:
        if self.process is not None:
            return
        try:
            self.process = Process(self)
        except StoreError as error:
            self.world.note("collector", f"cannot start: {str(error).rpartition('/')[2]}")
        if self.disk.frozen:
            self.died()
        if self.process is None:
            self.world.at(2 * NS, self.start)
            return
        self.world.note("collector", "starts")
        self.world.checker.station_started()

    def change_rules(self, rules: Rules) -> None:
        """In the file, and where it runs, as collector.app does it."""
        self.rules = rules
        process = self.process
        if process is not None:
            self.do(process, lambda: process.change_rules(rules))

    def accept(self, connection: Connection, link: Link) -> None:
        """A vehicle calls. Without a collector there is nobody to hear it."""
        if self.process is None or not link.up:
            connection.reset()
        else:
            self.process.accept(connection)

    def kill(self, then: str = "") -> None:
        if then:
            self.after_death.append(then)
        self.disk.frozen = True
        self.died()

    def died(self) -> None:
        process, self.process = self.process, None
        self.disk.dies_in = None
        self.world.checker.close()
        if process is not None:
            self.world.note("collector", "died")
            process.discard()
        self.disk.frozen = False
        fates, self.after_death = self.after_death, []
        for fate in fates:
            self.world.faults.station_after_death(self, fate)
        self.world.at(self.world.rng.randint(NS // 10, 20 * NS), self.start)

    def do(self, process: Process, action: Callable[[], None]) -> None:
        """Unless that process is dead, or dies of it."""
        if self.process is not process:
            return
        try:
            action()
            self.point()
        except Killed:
            self.died()

    def point(self) -> None:
        self.disk.count()
        if self.disk.frozen:
            raise Killed


class Process:
    """One life of the collector."""

    def __init__(self, station: Station) -> None:
        self.station, self.world = station, station.world
        self.ledger = StoreLedger(station.path)
        try:
            self.ledger.nobody_is_online("start")
        except BaseException:
            self.ledger._engine.dispose()
            raise
        self.ingest = Ingest(station.rules, settled=False)
        self.calls: dict[Call, None] = {}
        self.by_outbox: dict[OutboxKey, Call] = {}
        self._turns = Turns()
        self._waiting = 0
        self._writing = False

    def accept(self, connection: Connection) -> None:
        call = Call(self, connection)
        self.calls[call] = None

    def change_rules(self, rules: Rules) -> None:
        self.ingest.set_rules(rules)
        for call in list(self.calls):
            call.perform(call.conversation.guards_changed(rules.guards()))

    def discard(self) -> None:
        for call in list(self.calls):
            call.connection.reset()
        self.ledger.close()
        self.ledger._engine.dispose()

    def greet(self, call: Call, key: OutboxKey) -> None:
        older = self.by_outbox.get(key)
        self.by_outbox[key] = call
        if older is not None and older is not call:
            older.perform(older.conversation.replaced())

    def submit(self, call: Call, item: Item) -> None:
        self._turns.put((call, item))
        self._waiting += 1
        self._write_soon(self.world.rng.randint(0, 30_000_000))

    def _write_soon(self, delay_ns: int) -> None:
        if not self._writing:
            self._writing = True
            self.later(delay_ns, self._write)

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        self.world.at(delay_ns, lambda: self.station.do(self, action))

    def _write(self) -> None:
        """One transaction, as collector.writer does it."""
        self._writing = False
        group = self._turns.take()
        count = min(len(group), self.world.rng.choice((1, 2, 8, 64)))
        self._turns.put_back(group[count:])
        group = group[:count]
        items = [item for _, item in group]
        self.station.point()
        try:
            outcomes = commit(self.ledger, self.ingest, items, self.world.wall_ns)
        except StoreError as error:
            self.station.point()
            self.world.note("collector", f"cannot write: {str(error).rpartition('/')[2]}")
            self._turns.put_back(group)
            self._write_soon(NS // 2)
            return
        self.station.point()
        self.world.checker.committed(items[: len(outcomes)])
        self._turns.put_back(group[len(outcomes) :])
        self._waiting -= len(outcomes)
        if self._waiting:
            self._write_soon(0)
        for (call, _), outcome in zip(group, outcomes, strict=False):
            self.station.point()
            call.ingested(outcome)


class Call:
    """One agent's call."""

    def __init__(self, process: Process, connection: Connection) -> None:
        station = process.station
        self.conversation = Conversation(
            window_bytes=station.window_bytes, ack_within_ns=station.ack_within_ns
        )
        self.process, self.connection = process, connection
        self._inbox: deque[pb.Up] = deque()
        self._key: OutboxKey | None = None
        self._due_ns: int | None = None
        connection.hear_up = lambda up: self._do(lambda: self._heard(up))
        connection.station_lost = lambda: self._do(self._lost)
        self.conversation.opened(process.world.now_ns)
        self._set_timer()

    def _do(self, action: Callable[[], None]) -> None:
        self.process.station.do(self.process, action)

    def _heard(self, up: pb.Up) -> None:
        self._inbox.append(up)
        self._read()

    def _read(self) -> None:
        limit = IN_INGEST_WINDOWS * self.process.station.window_bytes
        while self._inbox and self.conversation.in_ingest_bytes <= limit:
            self.process.station.point()
            self.perform(self.conversation.received(self._inbox.popleft(), self.process.world.now_ns))
            key = self.conversation.key
            if self._key is None and key is not None:
                self._key = key
                self.process.greet(self, key)

    def ingested(self, outcome: Outcome) -> None:
        self.perform(self.conversation.ingested(outcome, self.process.world.now_ns))
        self._read()

    def perform(self, actions: list[Action]) -> None:
        world = self.process.world
        for action in actions:
            match action:
                case Send(message):
                    self.process.station.point()
                    world.checker.said(self._key, message)
                    self.connection.send_down(message)
                case Submit(item):
                    self.process.submit(self, item)
                case Report(event, fields):
                    world.checker.reported(self._key, event, fields)
                case End():
                    self.connection.end()
                    self._lost()
        self._set_timer()

    def _set_timer(self) -> None:
        due_ns = self.conversation.due_ns
        if due_ns is not None and due_ns != self._due_ns:
            self.process.later(max(0, due_ns - self.process.world.now_ns), self._wake)
        self._due_ns = due_ns

    def _wake(self) -> None:
        self._due_ns = None
        self.perform(self.conversation.wake(self.process.world.now_ns))

    def _lost(self) -> None:
        if self in self.process.calls:
            del self.process.calls[self]
            self.perform(self.conversation.lost())
            if self._key is not None and self.process.by_outbox.get(self._key) is self:
                del self.process.by_outbox[self._key]
