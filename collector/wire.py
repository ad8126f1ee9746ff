"""Messages of the wire, checked and turned into items. Whatever a peer sends is an item or `Malformed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from codec.errors import CodecError
from codec.guards import GuardSet
from codec.identity import check_vehicle
from codec.priors import PRIOR_BYTES_MAX, prior_hash
from codec.schema import HASH_BYTES, SCHEMA_BYTES_MAX, Schema
from codec.stream import Clock, StreamFacts
from collector.ingest.active import TICK_MAX
from collector.items import BatchItem, Beat, BlobItem, Description, GapItem, Greeting, OutboxKey
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOCOL = 1
PROTOCOLS_BACK = (
    2  # agents this many versions old are taken, since vehicles are updated when they are in reach
)
ID_BYTES = 16
REPLACED_MAX = 16  # outboxes that one may take the place of
BLOCK_BYTES_MAX = 4 << 20  # a block of 4096 lossless records of a few hundred signals
RECORD_BYTES_MAX = 1 << 16
BLOB_BYTES_MAX = 4 << 20
TEXT_MAX = 200  # characters of a model or version
BUSES_MAX = 64
HEALTH_CHARACTERS_MAX = 500  # of what a vehicle says of a bus
NUMBER_MAX = 1 << 62  # sequence numbers and counts; beyond lies damage
OFFSET_NS_MAX = 1 << 62


class Malformed(ValueError):
    """A message that no agent sends; the text says what is wrong with it, `code` what it is refused with."""

    def __init__(self, text: str, code: pb.Refuse.Code.ValueType = pb.Refuse.CODE_MALFORMED) -> None:
        super().__init__(text)
        self.code = code


def greeting(hello: pb.Hello, identity: str | None) -> Greeting:
    """`identity` is the vehicle that the client's certificate names; None: there is none, and the message decides."""
    oldest = max(1, PROTOCOL - PROTOCOLS_BACK)
    if not oldest <= hello.protocol <= PROTOCOL:
        raise Malformed(
            f"protocol {hello.protocol}; this collector speaks {oldest} to {PROTOCOL}",
            pb.Refuse.CODE_PROTOCOL,
        )
    try:
        vehicle = check_vehicle(hello.vehicle or identity or "")
    except ValueError as error:
        raise Malformed(str(error), pb.Refuse.CODE_IDENTITY) from None
    if identity is not None and vehicle != identity:
        raise Malformed(f"the certificate names {identity}, the message {vehicle}", pb.Refuse.CODE_IDENTITY)
    _check_bytes("outbox_id", hello.outbox_id, (ID_BYTES,))
    if len(hello.replaces) % ID_BYTES or len(hello.replaces) > REPLACED_MAX * ID_BYTES:
        raise Malformed(f"replaces has {len(hello.replaces)} bytes; at most {REPLACED_MAX} ids of {ID_BYTES}")
    replaces = [hello.replaces[at : at + ID_BYTES] for at in range(0, len(hello.replaces), ID_BYTES)]
    _check_bytes("schema_hash", hello.schema_hash, (0, HASH_BYTES))
    _check_bytes("forked_from", hello.forked_from, (0, ID_BYTES))
    return Greeting(
        OutboxKey(vehicle, hello.outbox_id),
        tuple(replaces),
        hello.model[:TEXT_MAX],
        hello.firmware_version[:TEXT_MAX],
        hello.agent_version[:TEXT_MAX],
        schema_hash=hello.schema_hash,
        forked_from=hello.forked_from,
    )


def description(key: OutboxKey, info: pb.StreamInfo) -> Description:
    _check_bytes("stream_id", info.stream_id, (ID_BYTES,))
    _check_bytes("prev_stream_id", info.prev_stream_id, (0, ID_BYTES))
    _check_bytes("boot_id", info.boot_id, (0, ID_BYTES))
    _check_bytes("schema_hash", info.schema_hash, (HASH_BYTES,))
    _check_bytes("guards_hash", info.guards_hash, (0, HASH_BYTES))
    _check_bytes("prior_hash", info.prior_hash, (0, HASH_BYTES))
    _check_number("stream_no", info.stream_no)
    _check_number("prev_last_seq", info.prev_last_seq)
    if abs(info.origin_tick) > TICK_MAX or abs(info.clock_offset_ns) > OFFSET_NS_MAX:
        raise Malformed(f"a stream that begins at tick {info.origin_tick}, {info.clock_offset_ns} ns off")
    facts = StreamFacts(
        stream_id=info.stream_id,
        stream_no=info.stream_no,
        origin_tick=info.origin_tick,
        clock=Clock(info.clock_offset_ns, info.clock_synchronised),
        guards_hash=info.guards_hash,
        prior_hash=info.prior_hash,
    )
    prev_last_seq = info.prev_last_seq if info.HasField("prev_last_seq") else None
    return Description(
        key, facts, info.schema_hash, info.boot_id, prev_last_seq, info.prev_digest, info.prev_stream_id
    )


def batch(key: OutboxKey, message: pb.Batch, facts: StreamFacts) -> BatchItem:
    _check_number("seq", message.seq)
    if not 0 < len(message.block) <= BLOCK_BYTES_MAX:
        raise Malformed(f"a block of {len(message.block)} bytes; at most {BLOCK_BYTES_MAX}")
    return BatchItem(key, facts.stream_no, message.seq, message.late, message.block)


def gap(key: OutboxKey, message: pb.Gap, facts: StreamFacts) -> GapItem:
    for name in ("first_seq", "last_seq", "end_record"):
        _check_number(name, getattr(message, name))
    if message.last_seq < message.first_seq:
        raise Malformed(f"a gap from {message.first_seq} to {message.last_seq}")
    if abs(message.end_tick) > TICK_MAX:
        raise Malformed(f"a gap that ends at tick {message.end_tick}")
    end_tick = facts.origin_tick + message.end_tick
    return GapItem(
        key,
        facts.stream_no,
        message.first_seq,
        message.last_seq,
        message.end_record,
        end_tick,
        message.reason,
    )


def beat(key: OutboxKey, message: pb.Heartbeat) -> Beat:
    _check_number("stream_no", message.stream_no)
    _check_bytes("guards_hash", message.guards_hash, (0, HASH_BYTES))
    if abs(message.tick) > TICK_MAX:
        raise Malformed(f"a heartbeat of tick {message.tick}")
    if max(map(len, (message.record, message.guard_states, message.guard_lasted))) > RECORD_BYTES_MAX:
        raise Malformed(
            f"a heartbeat with a record of {len(message.record)} bytes; at most {RECORD_BYTES_MAX}"
        )
    return Beat(
        key,
        message.stream_no,
        message.tick,
        message.record,
        message.guard_states,
        _health(message.health),
        message.speaks_within_s,
        message.guards_hash,
        message.guard_lasted,
    )


def blob(key: OutboxKey, message: pb.Blob) -> BlobItem:
    """A blob whose content is what its hash says, unpacked; empty where the agent has lost it."""
    size_max = PRIOR_BYTES_MAX if message.kind == pb.BLOB_KIND_PRIOR else BLOB_BYTES_MAX
    if len(message.content) > size_max:
        raise Malformed(f"a blob of {len(message.content)} bytes; at most {size_max}")
    if not message.content and message.kind in pb.BlobKind.values():
        return BlobItem(key, message.kind, message.hash, b"")
    try:
        match message.kind:
            case pb.BLOB_KIND_SCHEMA:
                schema = Schema.from_bytes(unpack_schema(message.content))
                found, content = schema.hash, schema.to_bytes()
            case pb.BLOB_KIND_GUARDS:
                guards = GuardSet.from_bytes(message.content)
                found, content = guards.hash, guards.to_bytes()
            case pb.BLOB_KIND_PRIOR:
                found, content = prior_hash(message.content), message.content
            case _:
                raise Malformed(f"a blob of the unknown kind {message.kind}")
    except CodecError as error:
        raise Malformed(f"a blob that is not what it says: {error}") from None
    if found != message.hash:
        raise Malformed(f"a blob named {message.hash.hex()} whose content is {found.hex()}")
    return BlobItem(key, message.kind, found, content)


def unpack_schema(content: bytes) -> bytes:
    """Raises Malformed for what is no zstd frame of at most SCHEMA_BYTES_MAX."""
    try:
        if not 0 <= zstandard.frame_content_size(content) <= SCHEMA_BYTES_MAX:
            raise Malformed("a schema of an impossible size")
        return zstandard.ZstdDecompressor().decompress(content)
    except zstandard.ZstdError as error:
        raise Malformed(f"a schema that does not unpack: {error}") from None


def _health(health: pb.Health) -> dict[str, object]:
    """As JSON can have it."""
    buses = [
        {field.name: _cut(value) for field, value in bus.ListFields()} for bus in health.buses[:BUSES_MAX]
    ]
    figures = {field.name: value for field, value in health.ListFields() if field.name != "buses"}
    finite = {name: value for name, value in figures.items() if value == value and abs(value) != float("inf")}  # noqa: PLR0124
    return {**finite, **({"buses": buses} if buses else {})}


def _cut(value: object) -> object:
    return value[:HEALTH_CHARACTERS_MAX] if isinstance(value, str) else value


def _check_bytes(name: str, value: bytes, sizes: tuple[int, ...]) -> None:
    if len(value) not in sizes:
        raise Malformed(f"{name} has {len(value)} bytes, not {' or '.join(map(str, sizes))}")


def _check_number(name: str, value: int) -> None:
    if value > NUMBER_MAX:
        raise Malformed(f"{name} is {value}; at most {NUMBER_MAX}")


def position(stream_no: int, seq: int) -> pb.Position:
    return pb.Position(stream_no=stream_no, seq=seq)


def refusal(code: pb.Refuse.Code.ValueType, text: str) -> pb.Down:
    return pb.Down(refuse=pb.Refuse(code=code, text=text))


REASONS: Mapping[int, str] = {
    pb.Goodbye.REASON_PARKED: "parked"
}  # what a vehicle is shown as; otherwise: offline
