"""Both ends of the protocol in one process, over a link that carries one message after another: real files, no threads.

An agent is the outbox, capture and session; a collector is conversation, ingest and store. A test drives, connects,
copies files and restarts at will, and compares what was committed with what is stored.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter, deque
from pathlib import Path

import numpy as np

from codec.errors import DamagedBlock
from codec.records import Records
from codec.stream import Clock
from collector.conversation import Conversation, End, Submit
from collector.conversation import Send as Down
from collector.ingest.ingest import Ingest
from collector.rules import Rules, load_rules
from collector.store import open_store
from collector.store.ledger import StoreLedger
from collector.writer import commit
from edge_agent import events
from edge_agent.capture import Capture, Settings, open_outbox
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.pipeline import BlockTicks
from edge_agent.session import Phase, Session
from protos import telemetry_pb2 as pb
from tests.edge_agent.samples import SCHEMA

VIN = "asset:test"
NOW_NS = 1_800_000_000 * 10**9
CLOCK = Clock(0, synchronised=True)
TICKS = BlockTicks(offline=60, online=30, watched=10, keyframe=120, loss_max=10)
RULES = load_rules('[[rule]]\ncode = "HOT"\nwhen = "Temp > 45"\nseverity = "CRITICAL"\ndescription = "hot"\n')
MESSAGES_MAX = 20_000


class Agent:
    """One vehicle's agent. What it commits is remembered by tick."""

    def __init__(self, folder: Path, name: str, *, quota_bytes: int = NOWHERE) -> None:
        self.path = folder / name
        self._settings = Settings(
            str(self.path), "OFF", quota_bytes, TICKS, 60 * 10**9, secrets.token_bytes(16)
        )
        self.committed: list[int] = []
        self.complaints: list[str] = []
        self.tick = 1000
        self.start()

    def start(self) -> None:
        outbox, _ = open_outbox(self._settings, secrets.token_bytes)
        self.capture = Capture(
            SCHEMA, None, outbox, self._settings, new_id=secrets.token_bytes, tell=lambda _: None
        )
        self.wanted = outbox.wanted

    def drive(self, count: int, temp: float = 30.0, *, at: int | None = None) -> None:
        """So many records, written as capture writes them. `at`: from this tick on."""
        self.tick = at or self.tick
        noise = np.random.default_rng(self.tick).uniform(-3, 3, count)
        for start in range(0, count, TICKS.loss_max):
            size = min(TICKS.loss_max, count - start)
            counts = np.zeros((size, 2), np.int64)
            counts[:, 0] = np.round((temp + noise[start : start + size]) / 0.5)
            records = Records(self.tick + start, counts, np.zeros((size, 2), np.uint8))
            self.capture._records([records], CLOCK)
        self.committed += range(self.tick, self.tick + count)
        self.tick += count

    def finish(self) -> None:
        """End the run: its last block is stored."""
        self.capture.flush(CLOCK)
        self.capture.close()

    def restart(self) -> None:
        """Another run, some ticks later."""
        self.finish()
        self.tick += 10
        self.start()

    def image(self, to: Path) -> None:
        """Copy the outbox as it lies on the disk, and go on in a run of its own."""
        self.finish()
        shutil.copy(self.path, to)
        self.tick += 10
        self.start()


class Collector:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.start()

    def start(self) -> None:
        self.ledger = StoreLedger(self.path)
        self.ingest = Ingest(RULES)

    def restart(self) -> None:
        self.ledger.close()
        self.start()

    def ticks(self) -> Counter[int]:
        """How often each tick is stored."""
        runs = open_store(self.path).runs(VIN)
        return Counter(tick for run in runs for tick in range(run.records.first_tick, run.records.end_tick))

    def gaps(self) -> list[tuple[int, int, int, str]]:
        return [
            (gap["stream_no"], gap["first_seq"], gap["records"], gap["reason"])
            for gap in open_store(self.path).gaps(VIN)
        ]

    def faults(self) -> list[int]:
        """First ticks."""
        return [fault["first_tick"] for fault in open_store(self.path).faults(VIN)]


class Link:
    """One conversation, from Hello to wherever `run` leaves it."""

    def __init__(self, agent: Agent, collector: Collector, on_the_way=lambda up: up) -> None:
        self.agent, self.collector = agent, collector
        self._on_the_way = on_the_way
        self.reader = OutboxReader(str(agent.path))
        self.session = Session(rate_hz=50, heartbeat_ns=10**9, backlog_heartbeat_ns=10**9)
        self.conversation = Conversation()
        self.up: deque[pb.Up] = deque()
        self.down: deque[pb.Down] = deque()
        self.forked = False
        self.offered: list[bytes] = []  # priors that came
        outbox, written = agent.capture.outbox, agent.capture.written()
        identity = events.Identity(
            outbox.outbox_id,
            outbox.replaces,
            outbox.guards_hash,
            VIN,
            "",
            "",
            "0",
            SCHEMA.hash,
            agent.capture.prior_hash,
            outbox.forked_from,
        )
        self._agent(events.Opened(identity, self.reader.extent(agent.wanted), agent.wanted))
        self._agent(events.Stored(written.end, written.stream_no, written.newest_tick))

    def run(self, batches: int = MESSAGES_MAX) -> None:
        """Until both are silent, or the link breaks after so many batches."""
        self.talk(batches)
        self.reader.close()
        if self.forked:
            self.agent.capture.fork(CLOCK)
            self.agent.wanted = self.agent.capture.outbox.wanted

    def talk(self, batches: int = MESSAGES_MAX) -> None:
        """The same, and the link stays."""
        for now_ns in range(MESSAGES_MAX):
            if self.up and batches == 0:
                break
            if self.up:
                batches -= self.up[0].HasField("batch")
                self._collector(self.conversation.received(self._on_the_way(self.up.popleft()), now_ns))
            elif self.down:
                self._agent(events.Received(self.down.popleft()))
            elif self.conversation.due_ns is not None:
                self._collector(self.conversation.wake(self.conversation.due_ns))
            else:
                break
        else:
            raise AssertionError("they talk for ever")

    def stored(self) -> None:
        """The agent has more to send."""
        written = self.agent.capture.written()
        self._agent(events.Stored(written.end, written.stream_no, written.newest_tick))

    def change_rules(self, rules: Rules) -> None:
        """As the collector does it while conversations go on."""
        self.collector.ingest.set_rules(rules)
        self._collector(self.conversation.guards_changed(rules.guards()))

    def _agent(self, event: events.Event) -> None:
        waiting = deque([event])
        while waiting:
            for action in self.session.handle(waiting.popleft()):
                answer = self._perform(action)
                waiting.extend([answer] if answer else [])

    def _perform(self, action: events.Action) -> events.Event | None:
        capture = self.agent.capture
        match action:
            case events.Send(message=message):
                self.up.append(message)
            case events.Fetch(start=start, bytes_max=bytes_max):
                return events.FetchDone(start, self.reader.fetch(start, bytes_max=bytes_max))
            case events.FetchAgain(start=start, end=end):
                return events.FetchDone(
                    start, self.reader.fetch(start, bytes_max=1 << 20, end=end), again=True
                )
            case events.FindBlob(kind=kind, hash=name):
                return events.BlobFound(kind, name, self.reader.blob(kind, name))
            case events.FindStored(position=position):
                return events.StoredFound(*self.reader.stored(position))
            case events.FindStream(stream_no=stream_no):
                return events.StreamFound(self.reader.described(stream_no))
            case events.SetWanted(wanted=wanted):
                self.agent.wanted = wanted
                capture.set_wanted(wanted)
            case events.SetGuards(hash=name, content=content):
                capture.set_guards(name, content)
            case events.SetPrior(content=content):
                self.offered.append(content)
                try:
                    capture.set_prior(content, CLOCK)
                except DamagedBlock as error:
                    capture.refuse_prior(str(error))
            case events.Mend(position=position, again=again):
                capture.mend(position, again=again)
                return events.Mended(position)
            case events.BecomeFork():
                self.forked = True
            case events.Complain(text=text):
                self.agent.complaints.append(text)
            case events.Close(reason=reason):
                self.agent.complaints += [reason] if reason else []
        return None

    def _collector(self, actions) -> None:
        todo = deque(actions)
        while todo:
            match todo.popleft():
                case Down(message):
                    self.down.append(message)
                case Submit(item):
                    (outcome,) = commit(self.collector.ledger, self.collector.ingest, [item], NOW_NS)
                    todo.extend(self.conversation.ingested(outcome, 0))
                case End():
                    self.session.phase = Phase.CLOSED if not self.down else self.session.phase


def park(agent: Agent, collector: Collector, link: Link | None = None) -> None:
    """Converse once, with nothing more to come: goodbye follows what is left at once."""
    link = link or Link(agent, collector)
    link._agent(events.Ending(parked=True))
    link.run()


def synchronise(agent: Agent, collector: Collector, conversations: int = 6) -> None:
    """Converse until everything the agent holds is acknowledged, a fork in between or not."""
    agent.capture.flush(CLOCK)
    for _ in range(conversations):
        Link(agent, collector).run()
        with OutboxReader(str(agent.path)) as reader:
            last = reader.extent(agent.wanted).last
        if last is None or agent.wanted > last:
            return
    raise AssertionError(f"not everything is acknowledged: {agent.complaints}")
