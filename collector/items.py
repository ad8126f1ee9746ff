"""What passes between conversations and ingest: items in, one outcome for each, in the same order.

Both sides are pure and know nothing of threads, so that a simulator can carry items by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from codec.stream import StreamFacts

GAP_BYTES = 32  # what a gap counts in the window
ITEM_BYTES = 256  # what any item costs while it waits for ingest


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """One batch's place in an outbox. Everything is ordered by it; clocks order nothing."""

    stream_no: int
    seq: int


@dataclass(frozen=True, slots=True, order=True)
class OutboxKey:
    """Which outbox of which vehicle. Positions and rule state are kept for each."""

    vehicle: str
    outbox_id: bytes


# Items


@dataclass(frozen=True, slots=True)
class Greeting:
    """A conversation begins; its outcome is where the outbox stands."""

    key: OutboxKey
    replaces: tuple[bytes, ...] = ()  # outboxes whose place it took, oldest first
    model: str = ""
    firmware_version: str = ""
    agent_version: str = ""
    state: str = "online"  # what the vehicle is shown as; empty: as before
    schema_hash: bytes = b""  # of what it writes now; empty: nothing
    forked_from: bytes = b""  # what it was called before; empty: nothing else


@dataclass(frozen=True, slots=True)
class Description:
    """A stream, before its first batch on a connection."""

    key: OutboxKey
    facts: StreamFacts
    schema_hash: bytes
    boot_id: bytes
    prev_last_seq: int | None
    prev_digest: int  # 0: not known
    prev_stream_id: bytes = b""  # empty: of an outbox's first stream


@dataclass(frozen=True, slots=True)
class BatchItem:
    key: OutboxKey
    stream_no: int
    seq: int
    late: bool
    content: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    @property
    def last(self) -> Position:
        return Position(self.stream_no, self.seq)

    def covers(self, position: Position) -> bool:
        return position == self.last


@dataclass(frozen=True, slots=True)
class GapItem:
    """A hole that the vehicle accounts for. `end_tick` is absolute."""

    key: OutboxKey
    stream_no: int
    first_seq: int
    last_seq: int
    end_record: int
    end_tick: int
    reason: int

    @property
    def last(self) -> Position:
        return Position(self.stream_no, self.last_seq)

    def covers(self, position: Position) -> bool:
        return Position(self.stream_no, self.first_seq) <= position <= self.last


@dataclass(frozen=True, slots=True)
class BlobItem:
    """A schema, guard set or prior, `content` as it stands in the store (a schema unpacked), already checked.

    Empty: the agent has lost it.
    """

    key: OutboxKey
    kind: int
    hash: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    """The latest record while a backlog drains or nothing changes. Never stored as records."""

    key: OutboxKey
    stream_no: int
    tick: int  # relative to the stream's origin, as on the wire
    record: bytes
    guard_states: bytes
    health: dict[str, object]
    speaks_within_s: int = 0  # what the agent promises; 0: nothing
    guards_hash: bytes = b""  # of the set that the states are of; empty: of none
    guard_lasted: bytes = b""


@dataclass(frozen=True, slots=True)
class Farewell:
    """A conversation ended. `state` is what the vehicle is shown as: offline or parked. `last` of what it sent; None: nothing."""

    key: OutboxKey
    state: str
    last: Position | None = None


Item = Greeting | Description | BatchItem | GapItem | BlobItem | Beat | Farewell


def window_bytes(item: Item) -> int:
    """What it counts in a conversation's window."""
    match item:
        case BatchItem():
            return item.size_bytes
        case GapItem():
            return GAP_BYTES
        case Greeting() | Description() | BlobItem() | Beat() | Farewell():
            return 0
        case _:
            assert_never(item)


def held_bytes(item: Item) -> int:
    """What it occupies while it waits for ingest."""
    match item:
        case BlobItem():
            return ITEM_BYTES + len(item.content)
        case Beat():
            states = len(item.guard_states) + len(item.guard_lasted)
            return ITEM_BYTES + len(item.record) + states + len(repr(item.health))
        case _:
            return ITEM_BYTES + window_bytes(item)


# Outcomes. All of them are durable by the time a conversation hears of them.


@dataclass(frozen=True, slots=True)
class Welcomed:
    stored: Position | None  # the last batch that is durable; None: none
    wanted: Position
    guards: bytes  # the guard set that rules want; empty: none
    guards_hash: bytes
    stored_stream_id: bytes = b""  # of the stream that `stored` is in
    stored_crc: int = 0  # CRC-32 of the block there; 0: it is none
    prior_hash: bytes = b""  # the prior trained for its schema; empty: none
    prior: bytes = b""


@dataclass(frozen=True, slots=True)
class Resend:
    """Send these batches once more; no position changes."""

    stream_no: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Described:
    """The stream is known, and so is its schema. `resend`: the stream before it came out wrong."""

    resend: Resend | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch or gap was applied; everything up to `stored` is durable."""

    stored: Position
    late: bool = False
    guards_wanted: bytes = b""  # hash of a guard set that the block named and nobody here knows
    resend: Resend | None = None  # the group before it came out wrong
    quarantined: str = ""  # why, where the block could not be decoded twice


@dataclass(frozen=True, slots=True)
class Repeated:
    """A batch or gap that was there already."""

    stored: Position


@dataclass(frozen=True, slots=True)
class Hole:
    """Something before it is missing: `wanted` comes next."""

    wanted: Position


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to say: what was asked for before is still on its way."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """It cannot be read before a schema or prior of this hash is here; it was not applied."""

    kind: int
    hash: bytes
    wanted: Position


@dataclass(frozen=True, slots=True)
class Damaged:
    """A block could not be decoded; it was not applied."""

    resend: Resend
    why: str


@dataclass(frozen=True, slots=True)
class Forked:
    """The stream number is known under another stream_id: this outbox has a twin."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A blob is in the store."""

    kind: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """A heartbeat or farewell was taken."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot be applied, ever, and is not acked: it contradicts what came before, or met a bug of ours."""

    text: str


Outcome = (
    Welcomed
    | Described
    | Stored
    | Repeated
    | Hole
    | Ignored
    | Lacking
    | Damaged
    | Forked
    | Kept
    | Noted
    | Failed
)
