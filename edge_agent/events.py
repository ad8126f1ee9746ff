"""What a session hears and says: events and actions, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.allowance import Spent
    from edge_agent.outbox_reader import Described, Extent, Fetched
    from edge_agent.rows import BlobKind
    from protos import telemetry_pb2 as pb


@dataclass(frozen=True, slots=True)
class Identity:
    """What Hello says besides positions."""

    outbox_id: bytes
    replaces: bytes
    guards_hash: bytes
    vehicle: str
    model: str
    firmware_version: str
    agent_version: str
    schema_hash: bytes = b""
    prior_hash: bytes = b""  # in force, or the last one offered; empty: the built-in one
    forked_from: bytes = b""


# Events


@dataclass(frozen=True, slots=True)
class Opened:
    """The link is up; the outbox holds `extent`, everything before `wanted` is acknowledged."""

    identity: Identity
    extent: Extent
    wanted: int


@dataclass(frozen=True, slots=True)
class Received:
    """`now_ns`: when, monotonic; 0: as last told."""

    message: pb.Down
    now_ns: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """The outbox holds everything before `end`. `newest_tick` of this run's stream is what the vehicle's clock shows.

    `crossed`: a guard did, in what is new.
    """

    end: int
    stream_no: int
    newest_tick: int
    crossed: bool = False


@dataclass(frozen=True, slots=True)
class FetchDone:
    """Answers Fetch, or FetchAgain."""

    start: int
    fetched: Fetched
    again: bool = False


@dataclass(frozen=True, slots=True)
class Mended:
    """Answers Mend: what was broken is a gap now."""

    position: int


@dataclass(frozen=True, slots=True)
class BlobFound:
    """Answers FindBlob; None: not here."""

    kind: BlobKind
    hash: bytes
    content: bytes | None


@dataclass(frozen=True, slots=True)
class StoredFound:
    """Answers FindStored. `stream_id` None: no stream of this outbox has that number."""

    stream_id: bytes | None
    next_seq: int
    crc: int  # CRC-32 of the block there; 0: it is here no more


@dataclass(frozen=True, slots=True)
class StreamFound:
    """Answers FindStream; None: the outbox has none of that number yet."""

    described: Described | None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passes. `now_ns`: monotonic; `wall_ns`: Unix time where the clock is synchronised."""

    now_ns: int
    wall_ns: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """A link, an address or a route came: perhaps instead of the one that this conversation goes over."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Send what there is, say goodbye, be acknowledged."""

    parked: bool = False


Event = (
    Opened | Received | Stored | FetchDone | Mended | BlobFound | StoredFound | StreamFound | Ticked | NetworkChanged
    | Ending
)  # fmt: skip


# Actions


@dataclass(frozen=True, slots=True)
class Send:
    message: pb.Up


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read the outbox from `start` on."""

    start: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class FetchAgain:
    """Read [start, end) of the outbox, to repeat it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mend:
    """`again`: it was mended on this connection, and is still found broken."""

    position: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class FindBlob:
    kind: BlobKind
    hash: bytes


@dataclass(frozen=True, slots=True)
class FindStored:
    """Look up in the outbox what the collector says is stored."""

    position: int


@dataclass(frozen=True, slots=True)
class FindStream:
    """Look up how a stream is described."""

    stream_no: int


@dataclass(frozen=True, slots=True)
class SetWanted:
    """Everything before `wanted` is durable at the collector, and nothing else is known to be."""

    wanted: int


@dataclass(frozen=True, slots=True)
class SetGuards:
    hash: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class SetPrior:
    """What the collector trained for this schema; its name is right, and nothing else was looked at."""

    hash: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class SetSpent:
    """What the link has cost, to be kept; blocks are to be `stretch` times as long."""

    spent: Spent
    stretch: int


@dataclass(frozen=True, slots=True)
class SetWatch:
    lease_s: int


@dataclass(frozen=True, slots=True)
class AskKeyframe:
    pass


@dataclass(frozen=True, slots=True)
class BecomeFork:
    """The outbox has a twin."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Send a heartbeat."""


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The collector takes what we send."""


@dataclass(frozen=True, slots=True)
class Complain:
    """For the log: the collector asked for something that cannot be."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """The conversation is over; `reason` is empty when it ended as it should."""

    reason: str = ""


Action = (
    Send | Fetch | FetchAgain | Mend | FindBlob | FindStored | FindStream | SetWanted | SetGuards | SetPrior | SetSpent
    | SetWatch | AskKeyframe
    | BecomeFork | Beat | Welcomed | Complain | Close
)  # fmt: skip
