"""An agent over real gRPC, as small as can be: it says what a test tells it to, and hears what comes."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import zstandard

from collector.items import BatchItem, Description
from protos import telemetry_pb2 as pb
from protos import telemetry_pb2_grpc
from tests.collector.vehicle import SCHEMA, Vehicle

LONG_S = 60  # kernels may be compiling


def hello(vehicle: Vehicle) -> pb.Up:
    return pb.Up(
        hello=pb.Hello(
            protocol=1, outbox_id=vehicle.key.outbox_id, vehicle=vehicle.key.vehicle, model="Model T"
        )
    )


def described(item: Description, alias: int = 0) -> pb.Up:
    facts = item.facts
    info = pb.StreamInfo(
        alias=alias,
        stream_id=facts.stream_id,
        stream_no=facts.stream_no,
        boot_id=item.boot_id,
        schema_hash=item.schema_hash,
        prev_last_seq=item.prev_last_seq,
        prev_digest=item.prev_digest,
        origin_tick=facts.origin_tick,
        clock_offset_ns=facts.clock.offset_ns,
        clock_synchronised=facts.clock.synchronised,
        guards_hash=facts.guards_hash,
    )
    return pb.Up(stream=info)


def sent(item: BatchItem, alias: int = 0) -> pb.Up:
    return pb.Up(batch=pb.Batch(alias=alias, seq=item.seq, late=item.late, block=item.content))


SCHEMA_BLOB = pb.Up(
    blob=pb.Blob(
        kind=pb.BLOB_KIND_SCHEMA,
        hash=SCHEMA.hash,
        content=zstandard.ZstdCompressor().compress(SCHEMA.to_bytes()),
    )
)
GOODBYE = pb.Up(goodbye=pb.Goodbye(reason=pb.Goodbye.REASON_SHUTDOWN))


class Link:
    """One call."""

    def __init__(self, call) -> None:
        self._call = call

    async def say(self, *messages: pb.Up) -> None:
        for message in messages:
            await self._call.write(message)

    async def hear(self, kind: str | None = None):
        """The next message, or the next one of this kind."""
        while True:
            message = await asyncio.wait_for(self._call.read(), LONG_S)
            assert message is not grpc.aio.EOF, "the call has ended"
            if kind in (None, message.WhichOneof("message")):
                return message

    async def ended(self) -> None:
        while await asyncio.wait_for(self._call.read(), LONG_S) is not grpc.aio.EOF:
            pass


@contextlib.asynccontextmanager
async def connect(port: int):
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        call = telemetry_pb2_grpc.TelemetryStub(channel).Connect()
        yield Link(call)
        call.cancel()
