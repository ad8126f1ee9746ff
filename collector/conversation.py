"""One conversation with one agent: messages and outcomes in, actions out. No clock, no socket.

States
    NEW        nothing was said                    Hello within HELLO_NS -> GREETED
    GREETED    ingest is asked where it stands     Welcomed -> OPEN
    OPEN       batches up, acks down               Goodbye, or an error of the peer's -> ENDED
    ENDED      whatever still comes is left alone

Rules
- Items go to ingest in the order in which messages came, and outcomes come back in that order.
- While a stream's description is with ingest, or its schema is on its way, what follows it is held back: to drop it would
  cost sending it again. Blobs and heartbeats pass; more than HELD_BYTES_MAX is dropped, and then missed and asked for.
- An ack is sent at half the window, when a backlog ends, at goodbye, within ack_within_ns of the first batch that it is for
  (DRAIN_ACK_NS while a backlog drains: an agent may take its window smaller than we do), and at once for what came
  twice. A batch that is not durable is never acked: outcomes tell of commits only.
- Batches, gaps and heartbeats are answered within ack_within_ns, if only by a message that says nothing: so an agent knows a
  link that leads nowhere from one on which nothing happens. An agent that says less than it promised in its heartbeat is gone,
  unless it is this side that has not got round to listening.
- A hole is answered with one Rewind for each place that is wanted. What still arrives from beyond it is left alone.
  An agent that knows more to be durable than is here hears so in Welcome: it may have nothing new to send, and leave.
- What is asked for (blobs, groups) is asked for once. A vehicle that said goodbye before it heard of that is heard until all is here.
- Guards that change are told at once, or right after Welcome where that was on its way with the old ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from codec.stream import BLOCK_VERSION
from collector import wire
from collector.items import (
    BatchItem,
    Damaged,
    Described,
    Description,
    Failed,
    Farewell,
    Forked,
    GapItem,
    Hole,
    Ignored,
    Item,
    Kept,
    Lacking,
    Noted,
    OutboxKey,
    Outcome,
    Position,
    Repeated,
    Resend,
    Stored,
    Welcomed,
    held_bytes,
    window_bytes,
)
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from codec.guards import GuardSet
    from codec.stream import StreamFacts

NS = 1_000_000_000
WINDOW_BYTES = 256 << 10  # a backlog at 20 MB/s and 10 ms; a vehicle's own traffic fits a thousand times
ACK_WITHIN_NS = 20 * NS
DRAIN_ACK_NS = NS // 5
PATIENCE = 1.5  # of what the agent promised
ANSWERED = frozenset({"batch", "gap", "heartbeat"})
HELLO_NS = 20 * NS  # whoever says nothing for so long is no agent, and takes the place of one
HELD_BYTES_MAX = 2 << 20
ALIASES_MAX = 4096  # streams described in one conversation


@dataclass(frozen=True, slots=True)
class Send:
    message: pb.Down


@dataclass(frozen=True, slots=True)
class Submit:
    item: Item


@dataclass(frozen=True, slots=True)
class Report:
    """Something that an operator may want to read; `fields` are for the log."""

    event: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more will be said."""


Action = Send | Submit | Report | End


class State(Enum):
    NEW = auto()
    GREETED = auto()
    OPEN = auto()
    ENDED = auto()


class Conversation:
    """`identity`: the vehicle that the client's certificate names, None without one."""

    def __init__(
        self,
        identity: str | None = None,
        *,
        window_bytes: int = WINDOW_BYTES,
        ack_within_ns: int = ACK_WITHIN_NS,
    ) -> None:
        self.state = State.NEW
        self.key: OutboxKey | None = None
        self._hello_due_ns: int | None = None
        self._ack_due_ns: int | None = None
        self._answer_due_ns: int | None = None
        self._heard_ns = 0
        self._patience_ns = 0  # for the agent to say something; 0: it promised nothing
        self._identity = identity
        self._window_bytes = window_bytes
        self._ack_within_ns = ack_within_ns
        self._submitted: deque[Item] = deque()  # with ingest; outcomes come in this order
        self.in_ingest_bytes = 0  # what the shell should wait for before it reads more
        self._held: deque[pb.Up] = deque()
        self._held_bytes = 0
        self._describing: Description | None = None  # with ingest, or waiting for its schema
        self._aliases: dict[int, StreamFacts] = {}
        self._asked_blobs: set[tuple[int, bytes]] = set()
        self._rewind_after: dict[tuple[int, bytes], Position] = {}  # blob: where to go on once it is here
        self._rewound_to: Position | None = None
        self._stored: Position | None = None
        self._acked: Position | None = None  # on this connection
        self._unacked_bytes = 0
        self._draining = False
        self._guards_hash = self._prior_hash = b""  # the agent's
        self._newer_guards: GuardSet | None = None  # than ingest may have known when it was greeted
        self._agent_acked: Position | None = None  # as it says in Hello
        self._last: Position | None = None  # of what came
        self._parting: Farewell | None = None  # goodbye was said
        self._parted_ns: int | None = None  # when it is over whatever was asked for
        self._owed: Position | None = None  # the last of what was asked for again, and has not come

    @property
    def due_ns(self) -> int | None:
        """When `wake` has something to do."""
        if self.state is State.NEW:
            return self._hello_due_ns
        if self.state is not State.OPEN:
            return None
        gone_ns = self._heard_ns + self._patience_ns if self._patience_ns else None
        dues = (self._ack_due_ns, self._answer_due_ns, self._parted_ns, gone_ns)
        return min((due for due in dues if due is not None), default=None)

    # Events

    def opened(self, now_ns: int) -> None:
        """The connection is there."""
        self._hello_due_ns = now_ns + HELLO_NS

    def received(self, up: pb.Up, now_ns: int) -> list[Action]:
        """A message came."""
        self._heard_ns = now_ns
        if self._answer_due_ns is None and up.WhichOneof("message") in ANSWERED:
            self._answer_due_ns = now_ns + self._ack_within_ns
        try:
            return self._answered(self._received(up))
        except wire.Malformed as error:
            return self._refuse(error.code, str(error))

    def ingested(self, outcome: Outcome, now_ns: int) -> list[Action]:
        """Ingest is done with the oldest item that was submitted."""
        item = self._submitted.popleft()
        self.in_ingest_bytes -= held_bytes(item)
        if self.state is State.ENDED:
            return []
        return self._answered(self._ingested(item, outcome, now_ns))

    def wake(self, now_ns: int) -> list[Action]:
        """Time has passed; `due_ns` says when this is wanted."""
        if self.due_ns is None or now_ns < self.due_ns:
            return []
        if self.state is State.NEW:
            return self._refuse(pb.Refuse.CODE_PROTOCOL, f"no Hello within {HELLO_NS // NS} s")
        if self._parted_ns is not None and now_ns >= self._parted_ns:
            if not self._submitted:
                return [*self._ack(), *self._end()]
            self._parted_ns = now_ns + self._ack_within_ns
        if self._patience_ns and now_ns - self._heard_ns >= self._patience_ns:
            if not self._submitted:
                return [Report("agent has fallen silent", {"for_s": self._patience_ns // NS}), *self._end()]
            self._heard_ns = now_ns  # it may have said much that waits for ingest to take it
            if self.due_ns is None or now_ns < self.due_ns:
                return []
        acked = self._ack() if self._ack_due_ns is not None else []
        return self._answered(acked or [Send(pb.Down())])

    def _answered(self, actions: list[Action]) -> list[Action]:
        if any(isinstance(action, Send) for action in actions):
            self._answer_due_ns = None
        return actions

    def guards_changed(self, guards: GuardSet) -> list[Action]:
        """The rules want this set from now on."""
        if self.state is State.GREETED:
            self._newer_guards = guards
        return self._tell_guards(guards.hash, guards.to_bytes()) if self.state is State.OPEN else []

    def replaced(self) -> list[Action]:
        """A newer conversation of the same outbox began."""
        self.key = None  # the vehicle is online still: no farewell
        if self.state is State.ENDED:
            return []
        return self._refuse(pb.Refuse.CODE_REPLACED, "a newer conversation of this outbox began")

    def closing(self) -> list[Action]:
        """The collector ends: a last ack for what is durable."""
        if self.state is State.ENDED:
            return []
        return [*self._ack(), *self._end()]

    def lost(self) -> list[Action]:
        """The connection is gone, whoever ended it."""
        key, self.key = self.key, None
        self.state = State.ENDED
        return [] if key is None else [self._submit(Farewell(key, "offline"))]

    # Messages

    def _received(self, up: pb.Up) -> list[Action]:
        kind = up.WhichOneof("message")
        if self.state is State.ENDED or kind is None:
            return []  # kind None: of a newer agent, which cannot count on it
        if self._parting is not None:
            return self._after_goodbye(self._parting.key, kind, up)
        if kind == "hello":
            if self.state is not State.NEW:
                return self._refuse(pb.Refuse.CODE_PROTOCOL, "a second Hello")
            item = wire.greeting(up.hello, self._identity)
            self.state, self.key, self._guards_hash = State.GREETED, item.key, up.hello.guards_hash
            self._prior_hash = up.hello.prior_hash
            acked = up.hello.acked
            self._agent_acked = Position(acked.stream_no, acked.seq) if up.hello.HasField("acked") else None
            return [self._submit(item)]
        if self.state is State.NEW or self.key is None:
            return self._refuse(pb.Refuse.CODE_PROTOCOL, f"{kind} before Hello")
        if kind == "blob":
            return self._blob(self.key, up.blob)
        if kind == "heartbeat":
            beat = wire.beat(self.key, up.heartbeat)
            self._patience_ns = int(beat.speaks_within_s * PATIENCE * NS)
            return [self._submit(beat)]
        if self.state is State.GREETED or self._describing is not None:
            return self._hold(up)
        return self._in_order(self.key, up)

    def _in_order(self, key: OutboxKey, up: pb.Up) -> list[Action]:
        """A message that nothing holds back."""
        match up.WhichOneof("message"):
            case "stream":
                item = wire.description(key, up.stream)
                if len(self._aliases) >= ALIASES_MAX:
                    return self._refuse(
                        pb.Refuse.CODE_PROTOCOL, f"more than {ALIASES_MAX} streams in one conversation"
                    )
                self._aliases[up.stream.alias] = item.facts
                self._describing = item
                return [self._submit(item)]
            case "batch":
                facts = self._aliases.get(up.batch.alias)
                if facts is None:
                    return self._refuse(
                        pb.Refuse.CODE_PROTOCOL, f"a batch of the undescribed stream {up.batch.alias}"
                    )
                return self._sent(wire.batch(key, up.batch, facts))
            case "gap":
                facts = self._aliases.get(up.gap.alias)
                if facts is None:
                    return self._refuse(
                        pb.Refuse.CODE_PROTOCOL, f"a gap of the undescribed stream {up.gap.alias}"
                    )
                return self._sent(wire.gap(key, up.gap, facts))
            case "goodbye":
                state = wire.REASONS.get(up.goodbye.reason, "offline")
                self._parting, self.key = Farewell(key, state, self._last), None
                self._parted_ns = self._heard_ns + self._ack_within_ns
                return [self._submit(self._parting)]
            case other:
                return self._refuse(pb.Refuse.CODE_PROTOCOL, f"{other} is out of place")

    def _sent(self, item: BatchItem | GapItem) -> list[Action]:
        self._last = item.last if self._last is None else max(self._last, item.last)
        return [self._submit(item)]

    def _after_goodbye(self, key: OutboxKey, kind: str, up: pb.Up) -> list[Action]:
        """The answer to what was asked for, which the vehicle may have heard too late to wait with its goodbye."""
        self._parted_ns = self._heard_ns + self._ack_within_ns
        if kind == "blob":
            return self._blob(key, up.blob)
        return self._in_order(key, up) if kind in ("stream", "batch", "gap") else []

    def _hold(self, up: pb.Up) -> list[Action]:
        size = up.ByteSize()
        if self._held_bytes + size <= HELD_BYTES_MAX:
            self._held.append(up)
            self._held_bytes += size
        return []

    def _release(self) -> list[Action]:
        """What was held back, up to the next description."""
        actions: list[Action] = []
        while self._held and self._describing is None and self.state is State.OPEN and self.key is not None:
            up = self._held.popleft()
            self._held_bytes -= up.ByteSize()
            try:
                actions += self._in_order(self.key, up)
            except wire.Malformed as error:
                actions += self._refuse(error.code, str(error))
        return actions

    def _blob(self, key: OutboxKey, message: pb.Blob) -> list[Action]:
        if (message.kind, message.hash) not in self._asked_blobs:
            return []  # nobody asked: a store is not a place to leave things
        return [self._submit(wire.blob(key, message))]

    # Outcomes

    def _ingested(self, item: Item, outcome: Outcome, now_ns: int) -> list[Action]:
        if self._owed is None or not (isinstance(item, BatchItem | GapItem) and item.covers(self._owed)):
            return self._heard(item, outcome, now_ns)
        self._owed = None
        actions = self._heard(item, outcome, now_ns)
        if self._parting is None or self._owed is not None or self._submitted:
            return actions
        return [*actions, self._submit(self._parting)]  # which says what else is wanted

    def _heard(self, item: Item, outcome: Outcome, now_ns: int) -> list[Action]:
        match outcome:
            case Welcomed():
                return self._welcome(outcome)
            case Described(resend):
                self._describing = None
                return [*self._resend(resend), *self._release()]
            case Stored():
                return self._stored_one(item, outcome, now_ns)
            case Repeated(stored):
                self._stored = stored
                if self._acked != stored:
                    return self._ack()
                return self._count(window_bytes(item), now_ns)
            case Hole(wanted):
                if not isinstance(item, Farewell):
                    return self._rewind(wanted)
                if self._owed or self._rewind_after:  # first comes what was asked for
                    return self._ack()
                self._rewound_to = None
                return [*self._ack(), *self._rewind(wanted)]
            case Lacking(kind, name, wanted):
                if not isinstance(item, Description):
                    self._rewind_after[kind, name] = wanted
                return self._want(kind, name)
            case Damaged(resend, why):
                report = Report(
                    "block could not be decoded; asked for its group once more",
                    {"why": why, "seq": resend.last_seq},
                )
                return [report, *self._resend(resend)]
            case Forked():
                self.state = State.ENDED
                return [Send(pb.Down(fork=pb.Fork())), Report("the outbox has a twin", {}), End()]
            case Kept(kind, name):
                return self._kept(kind, name)
            case Noted():
                if not isinstance(item, Farewell):
                    return []
                return [*self._ack(), *([] if self._owed else self._end())]
            case Failed(text):
                return self._refuse(pb.Refuse.CODE_MALFORMED, text)
            case Ignored():
                return []
            case _:
                assert_never(outcome)

    def _welcome(self, outcome: Welcomed) -> list[Action]:
        self.state = State.OPEN
        self._stored = self._acked = outcome.stored
        stored = outcome.stored
        welcome = pb.Welcome(
            stored=wire.position(stored.stream_no, stored.seq) if stored else None,
            max_block_version=BLOCK_VERSION,
            window_bytes=self._window_bytes,
            guards_hash=outcome.guards_hash,
            answer_within_s=-(-self._ack_within_ns // NS),
            prior_hash=outcome.prior_hash,
            stored_stream_id=outcome.stored_stream_id,
            stored_crc=outcome.stored_crc,
        )
        wanted = outcome.wanted
        if self._agent_acked is not None and self._agent_acked >= wanted:
            welcome.wanted.CopyFrom(wire.position(wanted.stream_no, wanted.seq))
        actions: list[Action] = [Send(pb.Down(welcome=welcome))]
        if outcome.guards:
            actions += self._tell_guards(outcome.guards_hash, outcome.guards)
        else:
            self._guards_hash = b""  # as Welcome says
        if self._newer_guards is not None:
            actions += self._tell_guards(self._newer_guards.hash, self._newer_guards.to_bytes())
        if outcome.prior and outcome.prior_hash != self._prior_hash:
            blob = pb.Blob(kind=pb.BLOB_KIND_PRIOR, hash=outcome.prior_hash, content=outcome.prior)
            actions.append(Send(pb.Down(blob=blob)))
        return [*actions, *self._release()]

    def _tell_guards(self, name: bytes, content: bytes) -> list[Action]:
        if name == self._guards_hash:
            return []
        self._guards_hash = name
        return [Send(pb.Down(blob=pb.Blob(kind=pb.BLOB_KIND_GUARDS, hash=name, content=content)))]

    def _stored_one(self, item: Item, outcome: Stored, now_ns: int) -> list[Action]:
        self._stored = outcome.stored
        actions: list[Action] = []
        if outcome.quarantined:
            actions.append(
                Report("block quarantined", {"why": outcome.quarantined, "seq": outcome.stored.seq})
            )
        if outcome.guards_wanted:
            actions += self._want(pb.BLOB_KIND_GUARDS, outcome.guards_wanted)
        actions += self._resend(outcome.resend)
        caught_up = isinstance(item, BatchItem) and self._draining and not outcome.late
        if isinstance(item, BatchItem):
            self._draining = outcome.late
        return [*actions, *(self._ack() if caught_up else self._count(window_bytes(item), now_ns))]

    def _count(self, size: int, now_ns: int) -> list[Action]:
        """So many bytes more are durable and not acked."""
        self._unacked_bytes += size
        if self._unacked_bytes * 2 >= self._window_bytes:
            return self._ack()
        due_ns = now_ns + (DRAIN_ACK_NS if self._draining else self._ack_within_ns)
        self._ack_due_ns = due_ns if self._ack_due_ns is None else min(self._ack_due_ns, due_ns)
        return []

    def _ack(self) -> list[Action]:
        self._unacked_bytes = 0
        self._ack_due_ns = None
        self._acked = self._stored
        if self._stored is None:
            return []
        return [Send(pb.Down(ack=pb.Ack(stream_no=self._stored.stream_no, seq=self._stored.seq)))]

    def _rewind(self, wanted: Position) -> list[Action]:
        if self._rewound_to == wanted:
            return []
        self._rewound_to = wanted
        return [Send(pb.Down(rewind=pb.Rewind(stream_no=wanted.stream_no, seq=wanted.seq)))]

    def _resend(self, resend: Resend | None) -> list[Action]:
        if resend is None:
            return []
        self._owed = Position(resend.stream_no, resend.last_seq)
        message = pb.Resend(stream_no=resend.stream_no, first_seq=resend.first_seq, last_seq=resend.last_seq)
        return [Send(pb.Down(resend=message))]

    def _want(self, kind: int, name: bytes) -> list[Action]:
        if (kind, name) in self._asked_blobs:
            return []
        self._asked_blobs.add((kind, name))
        return [Send(pb.Down(want=pb.Want(kind=pb.BlobKind.ValueType(kind), hash=name)))]

    def _kept(self, kind: int, name: bytes) -> list[Action]:
        self._asked_blobs.discard((kind, name))
        describing = self._describing
        if describing is not None and (kind, name) == (pb.BLOB_KIND_SCHEMA, describing.schema_hash):
            return [self._submit(describing)]
        wanted = self._rewind_after.pop((kind, name), None)
        if wanted is None:
            return []
        self._rewound_to = None  # what came after an earlier Rewind to there could not be taken
        return self._rewind(wanted)

    def _submit(self, item: Item) -> Action:
        self._submitted.append(item)
        self.in_ingest_bytes += held_bytes(item)
        return Submit(item)

    def _refuse(self, code: pb.Refuse.Code.ValueType, text: str) -> list[Action]:
        refusal = Send(wire.refusal(code, text))
        return [refusal, Report("refused", {"why": text, "code": pb.Refuse.Code.Name(code)}), *self._end()]

    def _end(self) -> list[Action]:
        self.state = State.ENDED
        return [End()]
