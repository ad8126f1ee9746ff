"""The agent's end of conversations: what edge_agent.uplink and edge_agent.conversation do around the session, without asyncio."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from codec.schema import NS
from edge_agent import commands, events
from edge_agent.errors import OutboxBusy, OutboxDamaged
from edge_agent.outbox_reader import OutboxReader
from edge_agent.pipeline import Mode
from edge_agent.rows import position_of, split_position
from edge_agent.session import RESEND_BATCHES_MAX, Session
from protos import telemetry_pb2 as pb
from tests.simulation.network import Connection

if TYPE_CHECKING:
    from edge_agent.capture import Written
    from tests.simulation.agent import Agent

WELCOME_NS = 20 * NS
RETRY_NS_MIN, RETRY_NS_MAX = NS // 2, 60 * NS
RESEND_BYTES_MAX = 4 << 20
NOWHERE = 1 << 63  # beyond every position


class Uplink:
    """Connects, converses, and connects again."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._world = agent.world
        self.wanted = 0
        self._identity: events.Identity | None = None
        self._written: Written | None = None
        self._leaving: events.Ending | None = None
        self._failures = 0
        self.left = False  # with Goodbye, and nobody asked to come back
        self._talk: _Talk | None = None

    def begin(self, identity: events.Identity, wanted: int, written: Written) -> None:
        """The outbox is this one, from now on."""
        self._identity, self.wanted, self._written = identity, wanted, written
        if self._talk is not None:
            self._talk.wanted, self._talk.forked = wanted, False
            self.part("the outbox was exchanged")
        self._later(0)

    def written(self, news: Written) -> None:
        self._written = news
        if self._talk is not None:
            crossed = news.crossed or (self._talk.news is not None and self._talk.news.crossed)
            self._talk.news = dataclasses.replace(news, crossed=crossed)
            self._talk.soon()

    def put(self, item: events.Event | commands.Snapped) -> None:
        if self._talk is not None:
            self._talk.put(item)

    def leave(self, ending: events.Ending | None) -> None:
        self._leaving, self.left = ending, False
        if ending is not None:
            self.put(ending)
        if self._talk is None:
            self._later(0)

    def _later(self, delay_ns: int) -> None:
        self._agent.later(delay_ns, self._connect)

    def _connect(self) -> None:
        if self._talk is not None or self._identity is None or self.left:
            return
        link = self._agent.vehicle.link
        if not link.up:
            self._try_again()
            return
        try:
            reader = OutboxReader(self._agent.vehicle.outbox_path)
            self._talk = _Talk(self, self._agent, reader, self._identity, self.wanted)
            self._talk.begin(self._written, self._leaving)
        except OutboxBusy as error:
            if self._talk is None:
                self._try_again()
            else:
                self.part(str(error))
        except OutboxDamaged as error:
            self.damaged(str(error))

    def _try_again(self) -> None:
        self._failures += 1
        ceiling = min(RETRY_NS_MAX, RETRY_NS_MIN << min(self._failures, 8))
        self._later(self._world.rng.randint(RETRY_NS_MIN, max(RETRY_NS_MIN + 1, ceiling)))

    def damaged(self, text: str) -> None:
        identity, self._identity = self._identity, None
        self.part("the outbox is damaged")
        if identity is not None:
            self._agent.post(commands.ToOutbox(identity.outbox_id, commands.ReplaceFile(text)))

    def part(self, reason: str) -> None:
        """The conversation is over; `reason` is empty when it ended with Goodbye."""
        talk, self._talk = self._talk, None
        if talk is None:
            return
        talk.close(cleanly=not reason)
        self._agent.note(f"offline: {reason or 'left'}")
        self.wanted = talk.wanted
        if talk.forked:
            self._identity = None
        if talk.guards_hash is not None and self._identity is not None:
            self._identity = dataclasses.replace(self._identity, guards_hash=talk.guards_hash)
        self._agent.post(commands.SetMode(Mode.OFFLINE))
        if not reason and self._leaving is not None and not talk.forked:  # under its new name it has not left
            self.left = True
            return
        self._failures = 0 if talk.welcomed else self._failures
        self._try_again()

    def close(self, *, vanish: bool) -> None:
        """The process is dead."""
        if self._talk is not None:
            self._talk.die(vanish=vanish)
            self._talk = None

    def check(self) -> None:
        if self._talk is not None:
            self._talk.check()

    def tick(self) -> None:
        if self._talk is not None:
            self._talk.tick()


@dataclass(frozen=True, slots=True)
class _Lost:
    """The link broke, or the other side ended it."""

    reason: str


class _Talk:
    """One conversation."""

    def __init__(
        self, uplink: Uplink, agent: Agent, reader: OutboxReader, identity: events.Identity, wanted: int
    ) -> None:
        self.wanted = wanted
        self.guards_hash: bytes | None = None
        self.welcomed = self.forked = False
        self.news: Written | None = None
        self._identity = identity
        self._uplink, self._agent, self._reader = uplink, agent, reader
        self._items: deque[events.Event | commands.Snapped | _Lost] = deque()
        self._session = Session(rate_hz=agent.rate_hz, heartbeat_ns=60 * NS, backlog_heartbeat_ns=2 * NS)
        self._streams: dict[int, int] = {}  # stream_no by alias
        self._rewound: tuple[int, int] | None = None  # until something was sent after it
        self._acked = wanted  # as the collector said, or this outbox knew before
        self._back_to = NOWHERE  # the first place that a Rewind named
        self._watched_until_ns = 0
        self._began_ns = agent.world.now_ns
        self._open = True
        self._connection = Connection(agent.world, agent.vehicle.link, self._arrived, self._lost)
        agent.world.station.accept(self._connection, agent.vehicle.link)

    def begin(self, written: Written | None, leaving: events.Ending | None) -> None:
        self.news = written
        if leaving is not None:
            self._items.append(leaving)
        self._happened(events.Opened(self._identity, self._reader.extent(self.wanted), self.wanted))
        self.soon()

    def put(self, item: events.Event | commands.Snapped) -> None:
        self._items.append(item)
        self.soon()

    def soon(self) -> None:
        self._agent.later(self._agent.world.rng.randint(0, 20_000_000), self._work)

    def _arrived(self, message: pb.Down) -> None:
        if self._agent.alive:
            self.put(events.Received(message, self._agent.world.now_ns))

    def _lost(self, reason: str) -> None:
        if self._agent.alive and self._open:
            self._items.append(_Lost(reason))  # after all that was heard before
            self._agent.later(0, self._work)

    def _work(self) -> None:
        try:
            while self._open and (self._items or self.news is not None):
                if self.news is not None:
                    news, self.news = self.news, None
                    self._happened(
                        events.Stored(news.end, news.stream_no, news.newest_tick, crossed=news.crossed)
                    )
                    continue
                item = self._items.popleft()
                if isinstance(item, _Lost):
                    self._uplink.part(item.reason)
                elif isinstance(item, commands.Snapped):
                    self._beat(item)
                else:
                    if isinstance(item, events.Received):
                        self._heard(item.message)
                    self._happened(item)
        except OutboxBusy as error:
            self._uplink.part(str(error))
        except OutboxDamaged as error:
            self._uplink.damaged(str(error))

    def tick(self) -> None:
        now_ns = self._agent.world.now_ns
        if not self.welcomed and now_ns - self._began_ns > WELCOME_NS:
            self._uplink.part("no Welcome")
            return
        if self._watched_until_ns and now_ns > self._watched_until_ns:
            self._watched_until_ns = 0
            self._agent.post(commands.SetMode(Mode.ONLINE))
        self._items.append(events.Ticked(now_ns))
        self._work()

    def _happened(self, event: events.Event) -> None:
        actions = deque(self._session.handle(event))
        while actions and self._open:
            self._agent.point()
            answer = self._perform(actions.popleft())
            if answer is not None:
                actions.extend(self._session.handle(answer))

    def _perform(self, action: events.Action) -> events.Event | None:
        match action:
            case events.Send():
                self._check_rewound(action.message)
                self._connection.send_up(action.message)
            case events.Fetch():
                return events.FetchDone(
                    action.start, self._reader.fetch(action.start, bytes_max=action.bytes_max)
                )
            case events.FetchAgain():
                fetched = self._reader.fetch(
                    action.start, bytes_max=RESEND_BYTES_MAX, end=action.end, rows_max=RESEND_BATCHES_MAX
                )
                return events.FetchDone(action.start, fetched, again=True)
            case events.FindBlob():
                return events.BlobFound(action.kind, action.hash, self._reader.blob(action.kind, action.hash))
            case events.FindStored():
                return events.StoredFound(*self._reader.stored(action.position))
            case events.FindStream():
                return events.StreamFound(self._reader.described(action.stream_no))
            case events.SetWanted():
                self._check_wanted(action.wanted)
                self.wanted = action.wanted
                self._post_to_outbox(action)
            case events.SetGuards():
                self.guards_hash = action.hash
                self._agent.post(action)
            case events.Mend():
                self._post_to_outbox(action)
            case events.AskKeyframe() | events.SetPrior() | events.SetSpent():
                self._agent.post(action)
            case events.BecomeFork():
                self.forked = True
                self._agent.note("becomes a fork")
                self._post_to_outbox(action)
            case events.SetWatch():
                self._watched_until_ns = self._agent.world.now_ns + action.lease_s * NS
                self._agent.post(commands.SetMode(Mode.WATCHED))
            case events.Beat():
                self._agent.post(commands.AskSnapshot())
            case events.Welcomed():
                self.welcomed = True
                self._agent.note("online")
                self._agent.post(commands.SetMode(Mode.ONLINE))
            case events.Complain():
                self._agent.note(f"complains: {action.text}")
            case events.Close():
                self._uplink.part(action.reason)
            case _:
                assert_never(action)
        return None

    def _post_to_outbox(self, command: events.SetWanted | events.Mend | events.BecomeFork) -> None:
        self._agent.post(commands.ToOutbox(self._identity.outbox_id, command))

    def _heard(self, message: pb.Down) -> None:
        if message.HasField("rewind") or (message.HasField("welcome") and message.welcome.HasField("wanted")):
            place = message.rewind if message.HasField("rewind") else message.welcome.wanted
            self._rewound = (place.stream_no, place.seq)
            self._back_to = min(self._back_to, position_of(*self._rewound))
        if message.HasField("ack"):
            self._acked = max(self._acked, position_of(message.ack.stream_no, message.ack.seq) + 1)
        if message.HasField("welcome") and message.welcome.HasField("stored"):
            stored = message.welcome.stored
            self._acked = max(self._acked, position_of(stored.stream_no, stored.seq) + 1)

    def _check_wanted(self, wanted: int) -> None:
        """Acknowledged is what the collector said is, and stays so unless that asks for it again."""
        if wanted > self._acked:
            self._agent.world.violation(
                f"{split_position(wanted)} is wanted, but acked is {split_position(self._acked)}"
            )
        if wanted < min(self.wanted, self._back_to):
            self._agent.world.violation(f"{split_position(wanted)} is wanted again, and nobody asked for it")

    def _check_rewound(self, message: pb.Up) -> None:
        """What follows a Rewind is what it named, or from before it; or the next that there is, where that was a stream's end."""
        if message.HasField("stream"):
            self._streams[message.stream.alias] = message.stream.stream_no
        if self._rewound is None or not (message.HasField("batch") or message.HasField("gap")):
            return
        row = message.batch if message.HasField("batch") else message.gap
        place = (self._streams[row.alias], row.seq if message.HasField("batch") else row.first_seq)
        rows = self._reader.fetch(position_of(*self._rewound), bytes_max=1).rows
        if place > self._rewound and (not rows or place > split_position(rows[0].position)):
            self._agent.world.violation(f"rewound to {self._rewound}, but {place} is sent")
        self._rewound = None

    def _beat(self, snapped: commands.Snapped) -> None:
        beat = pb.Heartbeat()
        if (snapshot := snapped.snapshot) is not None:
            beat = pb.Heartbeat(
                stream_no=snapshot.stream_no,
                tick=snapshot.tick,
                record=snapshot.record,
                guards_hash=snapshot.guards_hash,
                guard_states=snapshot.guard_states,
                guard_lasted=snapshot.guard_lasted,
            )
        self._connection.send_up(pb.Up(heartbeat=beat))

    def check(self) -> None:
        """What it holds is bounded."""
        session = self._session
        flight = session._flight
        if len(flight) > 1 and flight.bytes > flight.bytes_max:
            self._agent.world.violation(f"{flight.bytes} bytes in flight in a window of {flight.bytes_max}")

    def close(self, *, cleanly: bool) -> None:
        self._open = False
        self._reader.close()
        self._connection.leave(cleanly=cleanly)

    def die(self, *, vanish: bool) -> None:
        self._open = False
        self._reader.close()
        if vanish:
            self._connection.vanish()
        else:
            self._connection.leave(cleanly=False)
