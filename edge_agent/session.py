"""The uplink's conversation, without I/O: events in, actions out. One instance is one connection.

    GREETING --Welcome--> CHECKING --the same streams here--> STREAMING --Ending, all sent--> LEAVING --all acked--> CLOSED
       any --Refuse, Fork, another's streams, a message that makes no sense--> CLOSED

Rules
- Everything is sent in the order of positions, from what neither side knows to be durable; a stream is described
  before its first batch on this connection.
- At most `window_bytes` are unacknowledged, or one batch, and less where the link is slow: see `flight`. Heartbeats and what is
  sent again by Resend are exempt.
- Batches wait while the allowance has no room: for a while where it is the pace, for the next month where the budget is
  used up. Then a vehicle that parks or stops leaves with them in its outbox.
- Welcome only moves forward; Rewind alone goes back. An ack is for what was sent, or the collector is wrong.
- What Welcome says is stored counts only where it is of a stream that this outbox has, under its id, and no more of it
  than there is. Otherwise a twin sent it, and this outbox becomes a fork with everything that was not acked before.
- Either side promises how soon it speaks: the collector after anything that it hears, the agent by itself. Whoever waits half
  as long again in vain ends the conversation: what is connected may still lead nowhere.
- Nothing is sent that the outbox does not hold: a broken row is mended there first, and its gap is sent.
- A heartbeat's stream is described before it, though its batches may wait behind a backlog. One goes at once where a guard has
  crossed in a block that has to wait so: whoever looks at now must not wait for what was.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, assert_never

from codec.errors import SchemaError
from codec.guards import GuardSet
from codec.priors import PRIOR_BYTES_MAX, prior_hash
from codec.schema import NS
from codec.stream import BLOCK_VERSION
from edge_agent import messages
from edge_agent.allowance import Allowance
from edge_agent.events import (
    Action,
    AskKeyframe,
    Beat,
    BecomeFork,
    BlobFound,
    Close,
    Complain,
    Ending,
    Event,
    Fetch,
    FetchAgain,
    FetchDone,
    FindBlob,
    FindStored,
    FindStream,
    Mend,
    Mended,
    NetworkChanged,
    Opened,
    Received,
    Send,
    SetGuards,
    SetPrior,
    SetSpent,
    SetWanted,
    SetWatch,
    Stored,
    StoredFound,
    StreamFound,
    Ticked,
    Welcomed,
)
from edge_agent.flight import Flight
from edge_agent.rows import SEQ_MAX, STREAM_NO_MAX, BatchRow, BlobKind, GapRow, position_of, split_position
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from edge_agent.outbox_reader import Described, Fetched

LATE_S = 30  # on the vehicle's own clock
WINDOW_BYTES_MAX = 16 << 20  # whatever the collector says, the agent remembers no more than this
RESEND_BATCHES_MAX = 4096  # of one request: some minutes of a watched vehicle, far more than one group
GAP_BYTES = 32  # of a gap on the wire, about
PATIENCE = 1.5  # of what the collector promised
ANSWERED = frozenset({"batch", "gap", "heartbeat"})  # by whatever the collector says next


class Phase(Enum):
    """See the rules."""

    GREETING = "greeting"
    CHECKING = "checking"
    STREAMING = "streaming"
    LEAVING = "leaving"
    CLOSED = "closed"


class Session:
    """One conversation. `rate_hz` is that of the newest stream; `allowance` outlives conversations."""

    def __init__(
        self,
        *,
        rate_hz: int,
        heartbeat_ns: int,
        backlog_heartbeat_ns: int,
        speaks_within_ns: int | None = None,
        allowance: Allowance | None = None,
        flight: Flight | None = None,
    ) -> None:
        self.phase = Phase.GREETING
        self.allowance = allowance or Allowance()
        self._speaks_within_ns = heartbeat_ns if speaks_within_ns is None else speaks_within_ns
        self._said = False  # something since the last tick
        self._said_at_ns: int | None = None
        self._unanswered = False  # something was said that the collector has not answered
        self._unanswered_at_ns: int | None = None
        self._promised_s = 0  # as speaks_within_s
        self._patience_ns = 0  # how long that may take; 0: the collector did not say
        self._late_ticks = LATE_S * rate_hz
        self._heartbeat_ns = heartbeat_ns
        self._backlog_heartbeat_ns = backlog_heartbeat_ns
        self._beat_at_ns: int | None = None
        self._told_spent: SetSpent | None = None
        self._wanted = 0  # first position that is not acknowledged
        self._cursor = 0  # first position that was not sent on this connection
        self._end = 0  # of what the outbox holds
        self._stream_no = 0  # of this run
        self._newest_tick = 0
        self._claimed = (0, b"", 0)  # what Welcome says is stored: position, stream_id, CRC
        self._asked_back: int | None = None  # where Welcome says to go on
        self._flight = Flight() if flight is None else flight
        self._now_ns = 0  # as last told
        self._aliases: dict[int, int] = {}  # by stream_no
        self._busy = False  # a Fetch or Mend is under way
        self._mending: int | None = None  # the position that was mended last
        self._holding = False  # the collector is too old for our blocks
        self._ending: Ending | None = None
        self._guards_hash = b""
        self._offered_prior = b""
        self.draining = False  # the last batch sent was late

    def handle(self, event: Event) -> list[Action]:
        """What to do about an event. After CLOSED nothing is."""
        if self.phase is Phase.CLOSED:
            return []
        match event:
            case Opened():
                return self._opened(event)
            case Received():
                self._now_ns = max(self._now_ns, event.now_ns)
                self.allowance.charge(event.message.ByteSize())
                self._unanswered, self._unanswered_at_ns = False, None
                return self._received(event.message)
            case Stored():
                self._end = max(self._end, event.end)
                self._stream_no, self._newest_tick = event.stream_no, event.newest_tick
                waits = self.phase is Phase.STREAMING and self._cursor < event.end - 1
                actions = self._go_on()
                return [*actions, *self._beat()] if event.crossed and waits else actions
            case FetchDone():
                return self._send_again(event.fetched) if event.again else self._send(event)
            case Mended():
                if event.position != self._mending:
                    return []  # what an earlier connection asked for
                self._busy = False
                return self._go_on()
            case BlobFound():
                return self._blob_found(event)
            case StoredFound():
                return self._check(event)
            case StreamFound():
                return self._describe(event.described) if event.described else []
            case Ticked():
                return self._ticked(event)
            case NetworkChanged():
                # A byte that nobody acknowledges is what shows a dead link.
                return self._beat() if self.phase is Phase.STREAMING else []
            case Ending():
                self._ending = event
                return self._go_on() if self.phase is Phase.STREAMING else []
            case _:
                assert_never(event)

    # Greeting

    def _opened(self, event: Opened) -> list[Action]:
        self._wanted = self._cursor = event.wanted
        self._guards_hash = event.identity.guards_hash
        return [self._say(messages.hello(event.identity, event.extent))]

    def _welcome(self, welcome: pb.Welcome) -> list[Action]:
        self.phase = Phase.STREAMING
        self._flight.bytes_max = min(welcome.window_bytes, WINDOW_BYTES_MAX)
        self._offered_prior = welcome.prior_hash
        self._patience_ns = int(welcome.answer_within_s * PATIENCE * NS)
        self._holding = 0 < welcome.max_block_version < BLOCK_VERSION
        actions: list[Action] = [Welcomed()]
        if self._holding:
            actions.append(Complain(
                f"the collector takes blocks up to version {welcome.max_block_version}, ours are {BLOCK_VERSION}: "
                "they wait in the outbox until it is upgraded"
            ))  # fmt: skip
        if not welcome.guards_hash and self._guards_hash:
            self._guards_hash = b""
            actions.append(SetGuards(b"", b""))
        if welcome.HasField("wanted"):
            self._asked_back = _position(welcome.wanted)
        if not welcome.HasField("stored"):
            return actions + self._begin()
        if welcome.stored.stream_no > STREAM_NO_MAX:
            return actions + self._fork("the collector has more of this outbox than there is")
        self.phase = Phase.CHECKING
        self._claimed = (_position(welcome.stored), welcome.stored_stream_id, welcome.stored_crc)
        return [*actions, FindStored(_position(welcome.stored))]

    def _check(self, found: StoredFound) -> list[Action]:
        """Whether what Welcome says is stored came from here."""
        stored, stream_id, crc = self._claimed
        stream_no, seq = split_position(stored)
        if found.stream_id is None or seq >= found.next_seq:
            return self._fork("the collector has more of this outbox than there is")
        if stream_id and stream_id != found.stream_id:
            return self._fork(f"the collector has another stream {stream_no} of this outbox")
        if crc and found.crc and crc != found.crc:
            return self._fork(f"the collector has another block {stream_no}/{seq} of this outbox")
        if crc and not found.crc and stored >= self._wanted:
            # It was dropped before it was acknowledged: its ack was lost, or a twin sent another one. A fork is right for both.
            return self._fork(f"the collector has block {stream_no}/{seq}, and this outbox no more")
        self.phase = Phase.STREAMING
        if stored < self._wanted:
            return self._begin()
        self._wanted = self._cursor = stored + 1
        return [SetWanted(self._wanted), *self._go_on()]

    def _begin(self) -> list[Action]:
        """Where the collector has less than it acknowledged, what it had is sent again, before anything else and any goodbye."""
        if self._asked_back is None or self._asked_back >= self._wanted:
            return self._go_on()
        self._wanted = self._cursor = self._asked_back
        return [SetWanted(self._wanted), *self._go_on()]

    # What the collector says

    def _received(self, message: pb.Down) -> list[Action]:
        if not message.ByteSize():
            return []  # the collector is there, and has nothing else to say
        kind = message.WhichOneof("message")
        if kind == "refuse":
            return self._close(f"refused: {message.refuse.text or pb.Refuse.Code.Name(message.refuse.code)}")
        if kind == "welcome":
            if self.phase is not Phase.GREETING:
                return self._close("a second Welcome")
            return self._welcome(message.welcome)
        if kind == "fork":
            return self._fork("the collector knows a twin of this outbox")
        if self.phase is Phase.GREETING:
            return self._close(f"{kind} before Welcome")
        match kind:
            case "ack":
                return self._acked(message.ack)
            case "rewind":
                return self._rewind(message.rewind)
            case "resend":
                return self._resend(message.resend)
            case "want":
                if message.want.kind not in (pb.BLOB_KIND_SCHEMA, pb.BLOB_KIND_GUARDS, pb.BLOB_KIND_PRIOR):
                    return [
                        Complain(
                            f"asked for a blob of kind {message.want.kind}, which this agent has none of"
                        )
                    ]
                return [FindBlob(BlobKind(message.want.kind), message.want.hash)]
            case "watch":
                return [SetWatch(message.watch.lease_s)]
            case "keyframe_now":
                return [AskKeyframe()]
            case "blob":
                return self._blob(message.blob)
            case _:
                return [Complain("a message that this agent does not know; the collector is newer")]

    def _acked(self, ack: pb.Ack) -> list[Action]:
        if ack.seq > SEQ_MAX or (wanted := _position(ack) + 1) > self._cursor:
            sent = split_position(self._cursor)
            return self._close(f"ack of {ack.stream_no}/{ack.seq}, but next to send is {sent[0]}/{sent[1]}")
        if wanted <= self._wanted:
            return []
        self._wanted = wanted
        self._flight.acked(wanted, self._now_ns)
        return [SetWanted(wanted), *self._go_on()]

    def _rewind(self, rewind: pb.Rewind) -> list[Action]:
        if rewind.seq > SEQ_MAX or (wanted := _position(rewind)) > self._cursor:
            return self._close(f"rewind to {rewind.stream_no}/{rewind.seq}, which was not sent yet")
        self._wanted = min(self._wanted, wanted)
        self._cursor = wanted
        self._flight.forget()
        if self.phase is Phase.LEAVING:  # after Goodbye nothing can be sent any more
            return [SetWanted(self._wanted), *self._close("rewound after goodbye")]
        return [SetWanted(self._wanted), *self._go_on()]

    def _resend(self, resend: pb.Resend) -> list[Action]:
        last_seq = min(resend.last_seq, resend.first_seq + RESEND_BATCHES_MAX - 1, SEQ_MAX)
        if resend.first_seq > last_seq:
            return [
                Complain(
                    f"resend of {resend.stream_no}/{resend.first_seq}..{resend.last_seq}: an empty range"
                )
            ]
        start = position_of(resend.stream_no, resend.first_seq)
        end = min(position_of(resend.stream_no, last_seq) + 1, self._cursor)
        return [FetchAgain(start, end)] if start < end else []

    def _blob(self, blob: pb.Blob) -> list[Action]:
        if blob.kind == pb.BLOB_KIND_PRIOR and blob.hash == self._offered_prior != b"":
            if len(blob.content) > PRIOR_BYTES_MAX or prior_hash(blob.content) != blob.hash:
                return [Complain("a prior that does not match its hash")]
            self._offered_prior = b""
            return [SetPrior(blob.hash, blob.content)]
        if blob.kind != pb.BLOB_KIND_GUARDS:
            return [Complain(f"a blob of kind {blob.kind} that nobody asked for")]
        try:
            guards = GuardSet.from_bytes(blob.content)
        except SchemaError as error:
            return [Complain(f"guards that make no sense: {error}")]
        if guards.hash != blob.hash:
            return [Complain("guards that do not match their hash")]
        self._guards_hash = guards.hash
        return [SetGuards(guards.hash, guards.to_bytes())]

    def _blob_found(self, event: BlobFound) -> list[Action]:
        content = event.content or b""
        blob = pb.Blob(kind=int(event.kind), hash=event.hash, content=content)  # type: ignore[arg-type]
        actions: list[Action] = [self._say(pb.Up(blob=blob))]
        if not content:
            what = f"{event.kind.name.lower()} {event.hash.hex()}"
            actions.append(Complain(f"asked for {what}, which is damaged or not here"))
        return actions

    # Sending

    def said(self, message: pb.Up) -> None:
        """It goes to the collector."""
        self.allowance.charge(message.ByteSize())
        self._said = True
        self._unanswered |= message.WhichOneof("message") in ANSWERED

    def _say(self, message: pb.Up) -> Send:
        self.said(message)
        return Send(message)

    def _go_on(self) -> list[Action]:
        """The next step of sending, if there is one."""
        if self.phase is not Phase.STREAMING or self._busy:
            return self._left() if self.phase is Phase.LEAVING else []
        if self._cursor < self._end and not self._stays:
            room, allowed = self._flight.room_bytes(late=self.draining), self.allowance.room_bytes
            if (room <= 0 and self._flight) or not allowed:
                return []
            self._busy = True
            return [Fetch(self._cursor, max(min(room, allowed), 1))]
        if self._ending is not None:
            self.phase = Phase.LEAVING
            reason = pb.Goodbye.REASON_PARKED if self._ending.parked else pb.Goodbye.REASON_SHUTDOWN
            return [self._say(pb.Up(goodbye=pb.Goodbye(reason=reason))), *self._left()]
        return []

    def _left(self) -> list[Action]:
        return self._close("") if not self._flight else []

    def _send(self, event: FetchDone) -> list[Action]:
        self._busy = False
        if event.start != self._cursor or self.phase is not Phase.STREAMING:
            return self._go_on()  # a Rewind came in between
        actions: list[Action] = []
        for row in event.fetched.rows:
            size = len(row.content) if isinstance(row, BatchRow) else GAP_BYTES
            late = self._late(row)
            full = self._flight and size > self._flight.room_bytes(late=late)
            if full or not self.allowance.room_bytes:
                return actions
            actions += self._describe(event.fetched.streams[row.stream_no])
            self.draining = late
            actions.append(self._say(self._wire_row(row, event.fetched)))
            self._cursor = row.end
            self._flight.sent(row.end, size, self._now_ns, late=late)
        if event.fetched.broken is not None:
            return [*actions, self._mend(event.fetched.broken)]
        if not event.fetched.rows:
            self._end = self._cursor  # nothing is there yet; Stored will say when
        return actions + self._go_on()

    def _send_again(self, fetched: Fetched) -> list[Action]:
        actions: list[Action] = []
        for row in fetched.rows:
            actions += [
                *self._describe(fetched.streams[row.stream_no]),
                self._say(self._wire_row(row, fetched)),
            ]
        if fetched.broken is not None and not self._busy:
            actions.append(self._mend(fetched.broken))
        return actions

    def _mend(self, position: int) -> Mend:
        self._busy, again, self._mending = True, position == self._mending, position
        return Mend(position, again)

    def _describe(self, described: Described) -> list[Action]:
        """The description of a stream, where this connection has not had it."""
        facts = described[0].facts
        if facts.stream_no in self._aliases:
            return []
        alias = self._aliases[facts.stream_no] = len(self._aliases)
        return [self._say(messages.stream(alias, described))]

    def _wire_row(self, row: BatchRow | GapRow, fetched: Fetched) -> pb.Up:
        alias = self._aliases[row.stream_no]
        if isinstance(row, BatchRow):
            return messages.batch(alias, row, late=self._late(row))
        return messages.gap(alias, row, fetched.streams[row.stream_no][0].facts.origin_tick)

    def _late(self, row: BatchRow | GapRow) -> bool:
        """Older than LATE_S on the vehicle's own clock, or of an earlier run."""
        end_tick = row.first_tick + row.record_count if isinstance(row, BatchRow) else row.end_tick
        return row.stream_no < self._stream_no or self._newest_tick - end_tick > self._late_ticks

    # Time, and the end

    @property
    def behind(self) -> bool:
        """Whether there is more to send than was sent."""
        return self._cursor < self._end and not self._stays

    @property
    def _stays(self) -> bool:
        """Nothing of the outbox is sent before goodbye."""
        return self._holding or (self._ending is not None and self.allowance.used_up)

    @property
    def patience_s(self) -> float:
        """For the collector to say something; 0: it promised nothing."""
        return self._patience_ns / NS

    @property
    def speaks_within_s(self) -> int:
        """What heartbeats promise."""
        return -(-self._speaks_within_ns * self.allowance.stretch // NS)

    def _ticked(self, event: Ticked) -> list[Action]:
        now_ns = self._now_ns = event.now_ns
        self.allowance.ticked(now_ns, event.wall_ns)
        if self._said or self._said_at_ns is None:
            self._said, self._said_at_ns = False, now_ns
        if self._unanswered and self._unanswered_at_ns is None:
            self._unanswered_at_ns = now_ns
        since_ns = self._unanswered_at_ns
        if self._patience_ns and since_ns is not None and now_ns - since_ns > self._patience_ns:
            return self._close(f"the collector has said nothing for {self._patience_ns // NS} s")
        if self.phase is not Phase.STREAMING:
            return []
        actions: list[Action] = []
        spent = SetSpent(self.allowance.spent, self.allowance.stretch)
        if spent != self._told_spent:
            self._told_spent = spent
            actions.append(spent)
        if self._beat_is_due(now_ns):
            self._beat_at_ns = self._said_at_ns = now_ns
            actions += self._beat()
        return actions + self._go_on()

    def _beat(self) -> list[Action]:
        described = self._stream_no in self._aliases
        return [Beat()] if described else [FindStream(self._stream_no), Beat()]

    def _beat_is_due(self, now_ns: int) -> bool:
        if self._beat_at_ns is None or self._said_at_ns is None or self._promised_s != self.speaks_within_s:
            self._promised_s = self.speaks_within_s
            return True
        interval_ns = self._backlog_heartbeat_ns if self.draining else self._heartbeat_ns
        stretch = self.allowance.stretch
        silent = now_ns - self._said_at_ns >= self._speaks_within_ns * stretch
        return silent or now_ns - self._beat_at_ns >= interval_ns * stretch

    def _fork(self, why: str) -> list[Action]:
        self.phase = Phase.CLOSED
        return [Complain(f"{why}: drawing a new outbox id"), BecomeFork(), Close()]

    def _close(self, reason: str) -> list[Action]:
        self.phase = Phase.CLOSED
        return [Close(reason)]


def _position(wire: pb.Position | pb.Ack | pb.Rewind) -> int:
    return position_of(wire.stream_no, min(wire.seq, SEQ_MAX))
