"""The gateway: gRPC calls around conversations. It carries messages, items and outcomes, and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import grpc
import structlog

from collector.conversation import (
    ACK_WITHIN_NS,
    WINDOW_BYTES,
    Action,
    Conversation,
    End,
    Report,
    Send,
    Submit,
)
from collector.wire import refusal
from protos import telemetry_pb2 as pb
from protos import telemetry_pb2_grpc

if TYPE_CHECKING:
    from codec.guards import GuardSet
    from collector.items import OutboxKey, Outcome
    from collector.writer import Delivery, Writer

CALLS_MAX = 20_000  # one per vehicle; 50 kB each
OUTGOING_MAX = 10_000  # messages for an agent that does not read
IN_INGEST_WINDOWS = 2  # windows of one conversation with ingest before its messages wait in gRPC
MESSAGE_BYTES_MAX = 8 << 20
NS = 1_000_000_000

SERVER_OPTIONS = (
    ("grpc.http2.bdp_probe", 0),  # its pings cost as much as a block
    ("grpc.so_reuseport", 0),  # two collectors on one port would share the vehicles between them
    ("grpc.keepalive_time_ms", 300_000),
    (
        "grpc.keepalive_timeout_ms",
        20_000,
    ),  # also TCP_USER_TIMEOUT: a dead link shows within that of the first byte
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 60_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
)

log = structlog.get_logger()


class Gateway(telemetry_pb2_grpc.TelemetryServicer):
    """All calls of one server. Lives in one event loop."""

    def __init__(self, *, window_bytes: int = WINDOW_BYTES, ack_within_ns: int = ACK_WITHIN_NS) -> None:
        self.writer: Writer | None = None
        self.window_bytes = window_bytes
        self.ack_within_ns = ack_within_ns
        self._calls: dict[_Call, None] = {}
        self._by_outbox: dict[OutboxKey, _Call] = {}
        self._closing = False

    def set_guards(self, guards: GuardSet) -> None:
        """The set that rules want now; every agent that is here is told."""
        for call in list(self._calls):
            call.perform(call.conversation.guards_changed(guards))

    async def Connect(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:  # type: ignore[override] # noqa: ARG002, N802
        if self._closing or len(self._calls) >= CALLS_MAX:
            await context.write(
                refusal(pb.Refuse.CODE_BUSY, "ending" if self._closing else "too many vehicles")
            )
            return
        call = _Call(self, context)
        self._calls[call] = None
        try:
            await call.run()
        finally:
            self._calls.pop(call, None)

    def greet(self, call: _Call, key: OutboxKey) -> None:
        """The newer conversation of an outbox ends the older one."""
        older = self._by_outbox.get(key)
        self._by_outbox[key] = call
        if older is not None and older is not call:
            older.perform(older.conversation.replaced())

    def forget(self, call: _Call, key: OutboxKey) -> None:
        if self._by_outbox.get(key) is call:
            del self._by_outbox[key]

    def deliver(self, delivery: Delivery) -> None:
        """In the event loop: outcomes of a group that was committed."""
        for recipient, outcome in delivery:
            recipient.ingested(outcome)

    def stop_reading(self) -> None:
        """Takes no more calls and no more messages; what was read goes on."""
        self._closing = True
        for call in self._calls:
            call.stop_reading()

    def close(self) -> None:
        """Last acks, and the end of every call."""
        for call in list(self._calls):
            call.perform(call.conversation.closing())


class _Call:
    """One agent's call."""

    def __init__(self, gateway: Gateway, context: grpc.aio.ServicerContext) -> None:
        # With client certificates, the identity is read from context.auth_context() here.
        self.conversation = Conversation(
            window_bytes=gateway.window_bytes, ack_within_ns=gateway.ack_within_ns
        )
        self._gateway = gateway
        self._context = context
        self._outgoing: asyncio.Queue[pb.Down | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0  # when it rings
        self._running: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._key: OutboxKey | None = None
        self._log = log.bind(peer=context.peer())

    async def run(self) -> None:
        self._running = asyncio.current_task()
        self.conversation.opened(time.monotonic_ns())
        self._set_timer()
        self._reading = asyncio.create_task(self._read())
        try:
            while (message := await self._outgoing.get()) is not None:
                await self._context.write(message)
        except grpc.RpcError:
            pass  # the link is gone; the agent comes again
        finally:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
            if self._timer is not None:
                self._timer.cancel()
            self.perform(self.conversation.lost())
            if self._key is not None:
                self._gateway.forget(self, self._key)
                self._log.info("agent gone")

    def stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while True:
                message = await self._context.read()
                if message is grpc.aio.EOF:
                    break
                self.perform(self.conversation.received(message, time.monotonic_ns()))
                self._greeted()
                while self.conversation.in_ingest_bytes > IN_INGEST_WINDOWS * self._gateway.window_bytes:
                    self._room.clear()
                    await self._room.wait()
        except grpc.RpcError:
            pass
        except Exception:  # noqa: BLE001
            self._log.exception("conversation failed")  # a bug of ours: this call ends, the others go on
        self._outgoing.put_nowait(None)

    def _greeted(self) -> None:
        key = self.conversation.key
        if self._key is None and key is not None:
            self._key = key
            self._log = self._log.bind(vehicle=key.vehicle, outbox=key.outbox_id.hex()[:8])
            self._log.info("agent connected")
            self._gateway.greet(self, key)

    def ingested(self, outcome: Outcome) -> None:
        try:
            self.perform(self.conversation.ingested(outcome, time.monotonic_ns()))
        except Exception:  # noqa: BLE001
            self._log.exception("conversation failed")
            self._outgoing.put_nowait(None)
        self._room.set()

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(message):
                    self._outgoing.put_nowait(message)
                case Submit(item):
                    assert self._gateway.writer is not None
                    self._gateway.writer.submit(self, item)
                case Report(event, fields):
                    self._log.warning(event, **fields)
                case End():
                    self._outgoing.put_nowait(None)
        if actions and self._outgoing.qsize() > OUTGOING_MAX:
            self._log.warning("agent does not read; ending its call")
            if self._running is not None:
                self._running.cancel()
        self._set_timer()

    def _set_timer(self) -> None:
        """One that rings too early does no harm; every message puts off what is due, and each new timer would cost as much as it."""
        due_ns = self.conversation.due_ns
        if due_ns is None or (self._timer is not None and self._timer_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, due_ns - time.monotonic_ns()) / NS
        self._timer, self._timer_ns = asyncio.get_running_loop().call_later(delay_s, self._wake), due_ns

    def _wake(self) -> None:
        self._timer = None
        self.perform(self.conversation.wake(time.monotonic_ns()))


async def start_server(gateway: Gateway, address: str) -> tuple[grpc.aio.Server, int]:
    """A server that listens, and its port. Raises OSError where the address cannot be had."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    telemetry_pb2_grpc.add_TelemetryServicer_to_server(gateway, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if port == 0:
        raise OSError(
            f"cannot listen on {address}: is another collector running, or is the address not this machine's?"
        )
    await server.start()
    return server, port
