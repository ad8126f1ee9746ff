"""The uplink: keeps a conversation going as long as there is one to be had. A thin shell, in the event loop.

Capture runs in a thread of its own: what it has to do goes to `post`; what it has to say comes by the methods of
`Uplink`, in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import grpc
import structlog

from codec.schema import NS
from edge_agent import commands, events
from edge_agent.allowance import NO_LIMITS, Allowance, Limits, Spent
from edge_agent.conversation import Conversation, Item, LinkDownError, LinkState
from edge_agent.errors import OutboxBusy, OutboxDamaged
from edge_agent.outbox_reader import OutboxReader
from edge_agent.pipeline import Mode
from edge_agent.retry import Retry, full_jitter
from edge_agent.session import Session
from protos import telemetry_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.capture import Written
    from protos import telemetry_pb2 as pb

CHANNEL_OPTIONS = (
    ("grpc.http2.bdp_probe", 0),  # its pings are half of what a small message costs
    ("grpc.keepalive_time_ms", 300_000),
    (
        "grpc.keepalive_timeout_ms",
        20_000,
    ),  # TCP_USER_TIMEOUT too: a dead link shows that long after a first byte
    ("grpc.use_local_subchannel_pool", 1),  # a new channel tries at once; when to try is decided here
    ("grpc.enable_retries", 0),
)

log = structlog.get_logger()


class Leaving(Enum):
    """Why the uplink says goodbye."""

    PARK = "parked"  # and connects again when frames come
    STOP = "stopped"  # with what the link takes at once
    DRAIN = "drained"  # after everything is acknowledged


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds, from the configuration."""

    heartbeat_s: float
    backlog_heartbeat_s: float
    retry_min_s: float
    retry_max_s: float
    speaks_within_s: float = 60.0


class Uplink:
    """Connects, converses, and connects again."""

    def __init__(
        self,
        address: str,
        outbox_path: str,
        waits: Waits,
        *,
        rate_hz: int,
        limits: Limits = NO_LIMITS,
        post: Callable[[commands.Command], None],
        compose_heartbeat: Callable[[commands.Snapped], pb.Heartbeat],
    ) -> None:
        self.link = LinkState(since_ns=time.time_ns())
        self.wanted = 0
        self.allowance = Allowance(limits)
        self._address = address
        self._outbox_path = outbox_path
        self._waits = waits
        self._rate_hz = rate_hz
        self._post = post
        self._compose_heartbeat = compose_heartbeat
        self._identity: events.Identity | None = None
        self._written: Written | None = None
        self._conversation: Conversation | None = None
        self._leaving: Leaving | None = None
        self._changed = asyncio.Event()  # something that a wait between conversations has to see
        self._retry = Retry(waits.retry_min_s, full_jitter(waits.retry_min_s, waits.retry_max_s))

    @property
    def current_wanted(self) -> int:
        """The first position that is not acknowledged."""
        return self._conversation.wanted if self._conversation else self.wanted

    # What the rest of the agent says

    def begin(
        self, identity: events.Identity, wanted: int, written: Written, spent: Spent | None = None
    ) -> None:
        """The outbox is this one, from now on. `spent`: what the link has cost, as the outbox remembers it."""
        self._identity, self.wanted, self._written = identity, wanted, written
        if spent is not None and self.allowance.spent == Spent():
            self.allowance.spent = spent
        if self._conversation is not None:
            self._conversation.wanted = wanted
            self._conversation.put(LinkDownError("the outbox was exchanged"))
        self._try_at_once()

    def written(self, news: Written) -> None:
        self._written = news
        self._changed.set()
        if self._conversation is not None:
            self._conversation.written(news)

    def put(self, item: Item) -> None:
        """For the conversation, if there is one."""
        if self._conversation is not None:
            self._conversation.put(item)

    def leave(self, leaving: Leaving | None) -> None:
        """Say goodbye. None: stay after all, there are frames again."""
        if leaving is self._leaving:
            return
        self._leaving = leaving
        self._try_at_once()
        if leaving is not None:
            self.put(events.Ending(parked=leaving is Leaving.PARK))

    def network_changed(self) -> None:
        """There may be a way now where there was none, and none any more where there was one."""
        self._retry.network_changed(time.monotonic())
        self._changed.set()
        self.put(events.NetworkChanged())

    def _try_at_once(self) -> None:
        self._retry.at_once()
        self._changed.set()

    # Connecting

    async def run(self) -> None:
        """Until `leave` has been carried out."""
        while self._leaving is not Leaving.STOP:
            if self._identity is None:
                await self._pause(NS)
                continue
            left = await self._connect()
            sent = self._written, self._identity
            if left and self._leaving in (Leaving.STOP, Leaving.DRAIN):
                return
            while left and self._leaving is Leaving.PARK and sent == (self._written, self._identity):
                self.link.state = "parked"
                await self._pause(NS)
            while (wait_s := self._retry.due_s - time.monotonic()) > 0:
                await self._pause(wait_s)

    async def _connect(self) -> bool:
        """One conversation, or a try at one. Whether it ended with Goodbye."""
        try:
            await self._converse()
        except LinkDownError as error:
            self._retry.failed(time.monotonic())
            if str(error) != self.link.trouble:  # once, not at every try
                log.warning("uplink offline", address=self._address, trouble=str(error))
            self.link.trouble = str(error)
            return False
        return True

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until something changes."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _converse(self) -> None:
        """One conversation, to its Goodbye. Raises LinkDownError."""
        assert self._identity is not None
        identity, waits = self._identity, self._waits
        deciding = Session(
            rate_hz=self._rate_hz,
            heartbeat_ns=int(waits.heartbeat_s * NS),
            backlog_heartbeat_ns=int(waits.backlog_heartbeat_s * NS),
            speaks_within_ns=int(waits.speaks_within_s * NS),
            allowance=self.allowance,
        )
        try:
            with OutboxReader(self._outbox_path) as reader:
                async with grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
                    call = telemetry_pb2_grpc.TelemetryStub(channel).Connect()
                    conversation = self._conversation = Conversation(
                        call, reader, deciding, self.link, wanted=self.wanted,
                        post=self._post, compose_heartbeat=self._compose_heartbeat,
                    )  # fmt: skip
                    if self._written is not None:
                        conversation.written(self._written)
                    if self._leaving is not None:
                        conversation.put(events.Ending(parked=self._leaving is Leaving.PARK))
                    await conversation.run(identity)
            if conversation.forked or self._identity is not identity:
                raise LinkDownError("the outbox had a twin; it goes on under a name of its own")
            if conversation.behind:
                raise LinkDownError("more was written since goodbye")
        except OutboxBusy as error:
            raise LinkDownError(str(error)) from error
        except OutboxDamaged as error:
            if self._identity is identity:  # else another file has taken its place meanwhile
                self._identity = None
            self._post(commands.ToOutbox(identity.outbox_id, commands.ReplaceFile(str(error))))
            raise LinkDownError(str(error)) from error
        finally:
            self._part(identity)

    def _part(self, identity: events.Identity) -> None:
        """A conversation under that identity is over; another outbox may have taken its place meanwhile."""
        over, self._conversation = self._conversation, None
        if over is not None and over.welcomed:
            self._retry.succeeded()
        if over is not None and self._identity is identity:
            self.wanted = over.wanted
            guards_hash = identity.guards_hash if over.guards_hash is None else over.guards_hash
            prior_hash = identity.prior_hash if over.prior_hash is None else over.prior_hash
            renewed = dataclasses.replace(identity, guards_hash=guards_hash, prior_hash=prior_hash)
            self._identity = None if over.forked else renewed
        self._post(commands.SetMode(Mode.OFFLINE))
        if self.link.state != "offline":
            self.link.state, self.link.since_ns = "offline", time.time_ns()
