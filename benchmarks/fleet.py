"""Many vehicles over real gRPC, in a process of their own: each sends its next block when one on its way is acknowledged, and, in
real time, not before it is due.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
import zstandard

from protos import telemetry_pb2 as pb
from protos import telemetry_pb2_grpc

CHANNEL_CALLS = 100  # an HTTP/2 connection carries so many; a vehicle has one of its own in life


@dataclass(frozen=True, slots=True)
class Workload:
    """What every vehicle sends: one stream, block by block."""

    schema: bytes
    schema_hash: bytes
    stream_id: bytes
    origin_tick: int
    guards_hash: bytes
    blocks: tuple[bytes, ...]
    records: int  # in a block

    def window_bytes(self, in_flight: int) -> int:
        """That has so many blocks acknowledged by halves, one by one where they are two."""
        half = max(1, in_flight // 2)
        return 2 * min(
            sum(map(len, self.blocks[at : at + half])) for at in range(len(self.blocks) - half + 1)
        )


def drive(port: int, work: Workload, vehicles: int, in_flight: int, period_s: float) -> None:
    """Until it is killed, or everything was sent. `in_flight`: blocks of a vehicle that are not acknowledged. `period_s`: so long
    after the one before it a block is due.
    """
    asyncio.run(_all(port, work, vehicles, in_flight, period_s))


async def _all(port: int, work: Workload, vehicles: int, in_flight: int, period_s: float) -> None:
    schema = zstandard.ZstdCompressor().compress(work.schema)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        for _ in range(-(-vehicles // CHANNEL_CALLS))
    ]
    begun_s = asyncio.get_running_loop().time()
    await asyncio.gather(
        *(
            _vehicle(
                channels[number // CHANNEL_CALLS],
                number,
                work,
                schema,
                in_flight,
                period_s,
                begun_s + period_s * number / vehicles,
            )
            for number in range(vehicles)
        )
    )
    for channel in channels:
        await channel.close()


async def _vehicle(
    channel: grpc.aio.Channel,
    number: int,
    work: Workload,
    schema: bytes,
    in_flight: int,
    period_s: float,
    due_s: float,
) -> None:
    now = asyncio.get_running_loop().time
    name = f"asset:car{number}"
    call = telemetry_pb2_grpc.TelemetryStub(channel).Connect()
    await call.write(
        pb.Up(hello=pb.Hello(protocol=1, outbox_id=number.to_bytes(16, "big"), vehicle=name, model="Model B"))
    )
    stream = pb.StreamInfo(
        alias=0,
        stream_id=work.stream_id,
        stream_no=0,
        boot_id=bytes(16),
        schema_hash=work.schema_hash,
        origin_tick=work.origin_tick,
        clock_synchronised=True,
        guards_hash=work.guards_hash,
    )
    blob = pb.Blob(kind=pb.BLOB_KIND_SCHEMA, hash=work.schema_hash, content=schema)
    await call.write(pb.Up(stream=stream))
    acked, sent = -1, 0
    while acked + 1 < len(work.blocks):
        while sent < len(work.blocks) and sent - acked <= in_flight:
            if due_s > now():
                await asyncio.sleep(due_s - now())
            due_s = max(due_s + period_s, now())
            await call.write(pb.Up(batch=pb.Batch(alias=0, seq=sent, block=work.blocks[sent])))
            sent += 1
        message = await call.read()
        if message is grpc.aio.EOF:
            raise RuntimeError(f"{name}: the collector ended the call")
        if message.HasField("refuse"):
            raise RuntimeError(f"{name}: {message.refuse.text}")
        if message.HasField("want"):
            await call.write(pb.Up(blob=blob))
        if message.HasField("ack"):
            acked = max(acked, message.ack.seq)
    call.cancel()
