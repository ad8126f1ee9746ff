"""What a session says, made of what the outbox holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.rows import split_position
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from edge_agent.events import Identity
    from edge_agent.outbox_reader import Described, Extent
    from edge_agent.rows import BatchRow, GapRow

PROTOCOL = 1


def hello(identity: Identity, extent: Extent) -> pb.Up:
    message = pb.Hello(
        protocol=PROTOCOL,
        outbox_id=identity.outbox_id,
        replaces=identity.replaces,
        first_kept=_position(extent.first_kept),
        acked=_position(extent.acked),
        last=_position(extent.last),
        guards_hash=identity.guards_hash,
        vehicle=identity.vehicle,
        model=identity.model,
        firmware_version=identity.firmware_version,
        agent_version=identity.agent_version,
        schema_hash=identity.schema_hash,
        prior_hash=identity.prior_hash,
        forked_from=identity.forked_from,
    )
    return pb.Up(hello=message)


def stream(alias: int, described: Described) -> pb.Up:
    row, before, end_before = described
    facts = row.facts
    message = pb.StreamInfo(
        alias=alias,
        stream_id=facts.stream_id,
        stream_no=facts.stream_no,
        boot_id=row.boot_id,
        schema_hash=row.schema_hash,
        prev_stream_id=before.facts.stream_id if before else b"",
        prev_last_seq=end_before.next_seq - 1 if end_before and end_before.next_seq else None,
        prev_digest=end_before.digest if end_before and end_before.next_seq else 0,
        origin_tick=facts.origin_tick,
        clock_offset_ns=facts.clock.offset_ns,
        clock_synchronised=facts.clock.synchronised,
        guards_hash=facts.guards_hash,
        prior_hash=facts.prior_hash,
    )
    return pb.Up(stream=message)


def batch(alias: int, row: BatchRow, *, late: bool) -> pb.Up:
    return pb.Up(batch=pb.Batch(alias=alias, seq=row.seq, late=late, block=row.content))


def gap(alias: int, row: GapRow, origin_tick: int) -> pb.Up:
    message = pb.Gap(
        alias=alias,
        first_seq=row.first_seq,
        last_seq=row.last_seq,
        end_record=row.end_record,
        end_tick=row.end_tick - origin_tick,
        reason=row.reason,  # type: ignore[arg-type]
    )
    return pb.Up(gap=message)


def _position(position: int | None) -> pb.Position | None:
    if position is None:
        return None
    stream_no, seq = split_position(position)
    return pb.Position(stream_no=stream_no, seq=seq)
