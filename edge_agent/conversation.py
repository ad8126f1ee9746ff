"""One conversation with the collector: carries out what its session decides. A thin shell, in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import grpc
import structlog

from codec.schema import NS
from edge_agent import clock, commands, events
from edge_agent.pipeline import Mode
from edge_agent.session import RESEND_BATCHES_MAX
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.capture import Written
    from edge_agent.outbox_reader import OutboxReader
    from edge_agent.session import Session

WELCOME_S = 20.0  # a collector that says nothing for so long is none
TICK_S = 1.0  # how exact heartbeats and the watch lease have to be
PARTING_S = 1.0  # for the collector to end its side after Goodbye
RESEND_BYTES_MAX = 4 << 20  # of one request; a group is some kilobytes

log = structlog.get_logger()


class LinkDownError(Exception):
    """The conversation did not come about, or ended otherwise than by Goodbye."""


@dataclass(slots=True)
class LinkState:
    """How the uplink is, for status."""

    state: str = "offline"  # offline, online, parked
    since_ns: int = 0  # wall clock
    trouble: str = ""
    acked_at_ns: int = 0  # wall clock; 0: never in this run
    draining: bool = False


Item = events.Event | commands.Snapped | LinkDownError


class Conversation:
    """`post` hands a command to capture. `wanted` is kept up to date for the next conversation."""

    def __init__(
        self,
        call: grpc.aio.StreamStreamCall[pb.Up, pb.Down],
        reader: OutboxReader,
        deciding: Session,
        link: LinkState,
        *,
        wanted: int,
        post: Callable[[commands.Command], None],
        compose_heartbeat: Callable[[commands.Snapped], pb.Heartbeat],
        wall_ns: Callable[[], int | None] = clock.synchronised_ns,
    ) -> None:
        self.wanted = wanted
        self.guards_hash: bytes | None = None  # set in this conversation
        self.prior_hash: bytes | None = None  # offered in this conversation
        self.welcomed = False
        self.forked = False  # the outbox becomes another one; nothing may be said for it until then
        self._call = call
        self._reader = reader
        self._session = deciding
        self._link = link
        self._post = post
        self._compose_heartbeat = compose_heartbeat
        self._wall_ns = wall_ns
        self._items: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._written: Written | None = None
        self._heard_at = time.monotonic()
        self._watched_until_ns = 0
        self._over: events.Close | None = None
        self._outbox_id = b""

    def put(self, item: Item) -> None:
        """An event from outside, in the event loop."""
        self._items.append(item)
        self._wake.set()

    def written(self, news: Written) -> None:
        """The newest news counts, but for what crossed."""
        crossed = news.crossed or (self._written is not None and self._written.crossed)
        self._written = dataclasses.replace(news, crossed=crossed)
        self._wake.set()

    async def run(self, identity: events.Identity) -> None:
        """Until it is over. Raises LinkDownError."""
        self._outbox_id = identity.outbox_id
        reading = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(WELCOME_S) as self._patience:
                extent = self._reader.extent(self.wanted)
                await self._happened(events.Opened(identity, extent, self.wanted))
                while self._over is None:
                    await self._wait()
                    await self._step(time.monotonic_ns())
            if self._over.reason:
                raise LinkDownError(self._over.reason)
            await self._part(reading)
        except TimeoutError:
            raise LinkDownError(f"no Welcome within {WELCOME_S:g} s: is this a collector?") from None
        finally:
            reading.cancel()
            self._call.cancel()

    async def _step(self, now_ns: int) -> None:
        while (self._items or self._written is not None) and self._over is None:
            # News first: it may have come, and Ending after it, while the item before was dealt with.
            if self._written is not None:
                news, self._written = self._written, None
                await self._happened(
                    events.Stored(news.end, news.stream_no, news.newest_tick, crossed=news.crossed)
                )
                continue
            item = self._items.popleft()
            if isinstance(item, LinkDownError):
                raise item
            if isinstance(item, commands.Snapped):
                message = pb.Up(heartbeat=self._compose_heartbeat(item))
                message.heartbeat.speaks_within_s = self._session.speaks_within_s
                self._session.said(message)
                await self._send(message)
            else:
                await self._happened(item)
        await self._happened(events.Ticked(now_ns, self._wall_ns()))
        if self._watched_until_ns and now_ns > self._watched_until_ns:
            self._watched_until_ns = 0
            self._post(commands.SetMode(Mode.ONLINE))

    async def _wait(self) -> None:
        if not self._items and self._written is None:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):  # not wait_for, which may swallow a cancellation
                    await self._wake.wait()

    async def _read(self) -> None:
        """Everything the collector says, and how it ends."""
        try:
            async for message in self._call:
                self._heard_at = time.monotonic()
                self.put(events.Received(message, time.monotonic_ns()))
            self.put(LinkDownError("the collector ended the conversation"))
        except grpc.aio.AioRpcError as error:
            self.put(LinkDownError(f"{error.code().name}: {error.details()}"))
        except Exception as error:  # noqa: BLE001  # whatever it was, whoever waits for the end has to hear of it
            self.put(LinkDownError(f"{type(error).__name__}: {error}"))

    @property
    def behind(self) -> bool:
        """Whether more was written than was sent."""
        return self._session.behind or self._written is not None

    async def _send(self, message: pb.Up) -> None:
        """Raises LinkDownError where the link takes nothing, and nothing comes, for as long as the collector may be silent."""
        writing = asyncio.ensure_future(self._call.write(message))
        began = time.monotonic()
        patience_s = self._session.patience_s or WELCOME_S
        try:
            while not (await asyncio.wait({writing}, timeout=TICK_S))[0]:
                if time.monotonic() - max(began, self._heard_at) > patience_s:
                    raise LinkDownError(f"the link has taken nothing for {patience_s:g} s")
            # Why a call ended is what reading says, after all that the collector said before; writing only notices.
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                writing.result()
        finally:
            writing.cancel()

    async def _part(self, reading: asyncio.Task[None]) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            async with asyncio.timeout(PARTING_S):
                await self._call.done_writing()
                await asyncio.shield(reading)

    async def _happened(self, event: events.Event) -> None:
        """Let the session decide, and do as it says, until nothing is left to do."""
        actions = deque(self._session.handle(event))
        while actions:
            answer = await self._perform(actions.popleft())
            if answer is not None:
                actions.extend(self._session.handle(answer))
        self._link.draining = self._session.draining

    async def _perform(self, action: events.Action) -> events.Event | None:
        match action:
            case events.Send():
                await self._send(action.message)
            case events.Fetch():
                return events.FetchDone(
                    action.start, self._reader.fetch(action.start, bytes_max=action.bytes_max)
                )
            case events.FetchAgain():
                fetched = self._reader.fetch(
                    action.start, bytes_max=RESEND_BYTES_MAX, end=action.end, rows_max=RESEND_BATCHES_MAX
                )
                return events.FetchDone(action.start, fetched, again=True)
            case events.FindBlob():
                content = self._reader.blob(action.kind, action.hash)
                return events.BlobFound(action.kind, action.hash, content)
            case events.FindStored():
                return events.StoredFound(*self._reader.stored(action.position))
            case events.FindStream():
                return events.StreamFound(self._reader.described(action.stream_no))
            case events.SetWanted():
                self.wanted = action.wanted
                self._link.acked_at_ns = time.time_ns()
                self._post(commands.ToOutbox(self._outbox_id, action))
            case events.SetSpent():
                self._post(action)
            case events.SetGuards():
                self.guards_hash = action.hash
                log.info("guards in force", hash=action.hash.hex())
                self._post(action)
            case events.Mend():
                self._post(commands.ToOutbox(self._outbox_id, action))
            case events.SetPrior():
                self.prior_hash = action.hash
                log.info("a prior came", hash=action.hash.hex())
                self._post(action)
            case events.AskKeyframe():
                self._post(action)
            case events.BecomeFork():
                self.forked = True
                self._post(commands.ToOutbox(self._outbox_id, action))
            case events.SetWatch():
                self._watched_until_ns = time.monotonic_ns() + action.lease_s * NS
                self._post(commands.SetMode(Mode.WATCHED))
            case events.Beat():
                self._post(commands.AskSnapshot())
            case events.Welcomed():
                self._now_online()
            case events.Complain():
                log.warning("the collector and this agent disagree", what=action.text)
            case events.Close():
                self._over = action
            case _:
                assert_never(action)
        return None

    def _now_online(self) -> None:
        self.welcomed = True
        self._patience.reschedule(None)
        self._link.state, self._link.since_ns, self._link.trouble = "online", time.time_ns(), ""
        log.info("uplink online")
        self._post(commands.SetMode(Mode.ONLINE))
