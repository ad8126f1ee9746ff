"""A collector of a few lines on a real gRPC server: acknowledges what it is told to, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from protos import telemetry_pb2 as pb
from protos import telemetry_pb2_grpc


class Peer(telemetry_pb2_grpc.TelemetryServicer):
    """One at a time. `places` are the (stream_no, seq) of batches in the order they came, over all conversations."""

    def __init__(self) -> None:
        self.welcome = pb.Welcome(window_bytes=1 << 20, max_block_version=1)
        self.greeting: list[pb.Down] = []  # after Welcome
        self.refuse: pb.Refuse | None = None
        self.acks = True
        self.conversations = 0
        self.received: list[pb.Up] = []
        self.places: list[tuple[int, int]] = []
        self.records = 0
        self.changed = asyncio.Condition()
        self._call = None
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        self._server = grpc.aio.server()
        telemetry_pb2_grpc.add_TelemetryServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()
        return port

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def Connect(self, request_iterator, context):  # noqa: ARG002, N802
        self.conversations += 1
        if self.refuse is not None:
            yield pb.Down(refuse=self.refuse)
            return
        streams = {}
        async for up in request_iterator:
            async with self.changed:
                self.received.append(up)
                self.changed.notify_all()
            match up.WhichOneof("message"):
                case "hello":
                    yield pb.Down(welcome=self.welcome)
                    for down in self.greeting:
                        yield down
                case "stream":
                    streams[up.stream.alias] = up.stream.stream_no
                case "batch":
                    place = (streams[up.batch.alias], up.batch.seq)
                    self.places.append(place)
                    if self.acks:
                        yield pb.Down(ack=pb.Ack(stream_no=place[0], seq=place[1]))

    def kinds(self) -> list[str]:
        return [up.WhichOneof("message") for up in self.received]

    async def until(self, condition, timeout_s: float = 15.0) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(condition), timeout_s)


@contextlib.asynccontextmanager
async def peer():
    made = Peer()
    port = await made.start()
    try:
        yield made, port
    finally:
        await made.stop()
