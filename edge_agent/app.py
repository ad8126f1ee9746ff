"""The daemon: wires buses, capture and uplink together, and ends them in order. A thin shell."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import secrets
import signal
import time
from typing import TYPE_CHECKING

import structlog

import codec
import decoder
from codec.kernel import origin
from codec.schema import NS
from decoder.sampler import Sampler
from edge_agent import clock, commands, events
from edge_agent.allowance import Limits
from edge_agent.bus import BusReader
from edge_agent.capture import FileReplaced, PriorRefused, Settings, Trouble, Written
from edge_agent.capture_thread import Begun, CaptureThread, Ended, ParkedChanged, Told
from edge_agent.errors import AgentError
from edge_agent.inbox import INBOX_FRAMES_MAX, REPLAY_FRAMES_MAX, Inbox
from edge_agent.network import NetworkNews
from edge_agent.notify import Notifier
from edge_agent.pipeline import BlockTicks
from edge_agent.reports import Reports
from edge_agent.uplink import Leaving, Uplink, Waits

if TYPE_CHECKING:
    from decoder.plan import Plan
    from edge_agent.config import Config

STATUS_S = 2.0
GOODBYE_S = 2.5  # of the 5 s that ending may take: sending what there is and being acknowledged
THREADS_S = 1.0

log = structlog.get_logger()


def run_agent(config: Config, plan: Plan) -> int:
    """Run until a signal, or until every replayed log has ended and its blocks are acknowledged. The exit status.

    Raises NoKernels before anything is opened.
    """
    log.info("kernels", codec=origin(codec), decoder=origin(decoder))
    return asyncio.run(Agent(config, plan).run())


class Agent:
    """One run."""

    def __init__(self, config: Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan
        self._loop: asyncio.AbstractEventLoop | None = None
        own_clock = config.replayed
        self._inbox = Inbox(REPLAY_FRAMES_MAX if own_clock else INBOX_FRAMES_MAX, waits=own_clock)
        self._readers = [
            BusReader(index, bus, plan.wanted_ids(index), self._inbox, own_clock=own_clock)
            for index, bus in enumerate(config.buses)
        ]
        self._sampler = Sampler(plan, park_after_s=config.sampling.park_after_s)
        self._settings = settings_of(config)
        self._capture = CaptureThread(
            plan.schema,
            self._sampler,
            self._settings,
            self._inbox,
            len(config.buses),
            own_clock=own_clock,
            new_id=secrets.token_bytes,
            tell=self._tell,
        )
        self._reports = Reports(
            config, plan, self._readers, self._inbox, self._sampler, self._capture, self._settings.boot_id
        )
        self._trouble = ""
        self._parked = False
        self._failure: AgentError | None = None

    async def run(self) -> int:
        config = self._config
        loop = self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()  # capture has stored everything
        self._asked = asyncio.Event()  # a signal came, or capture failed
        self._notifier = Notifier(os.environ)
        uplink = config.uplink
        self._uplink = Uplink(
            config.collector.address,
            config.outbox.path,
            waits_of(config),
            rate_hz=config.sampling.rate_hz,
            limits=Limits(uplink.pace_bytes_per_s, uplink.month_bytes),
            post=self._capture.post,
            compose_heartbeat=lambda snapped: self._reports.heartbeat(snapped, self._uplink.current_wanted),
        )
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._asked.set)
        self._capture.start()
        for reader in self._readers:
            reader.start()
        linking = asyncio.create_task(self._keep_linked())
        news = NetworkNews(loop, self._network_changed)
        reporting = asyncio.create_task(self._report())
        try:
            await self._until_over(linking)
        finally:
            news.close()
            reporting.cancel()
            linking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await linking
            # Before the outbox is closed, so that SQLite tidies up after its last reader.
            self._reports.write_status(self._uplink, self._trouble)
            await asyncio.to_thread(self._capture.stop, THREADS_S)
            self._notifier.close()
        if self._failure is not None:
            raise self._failure
        for reader in self._readers:
            if reader.state.state == "ended" and reader.state.trouble:
                raise AgentError(reader.state.trouble)
        return 0

    def _network_changed(self) -> None:
        self._uplink.network_changed()
        for reader in self._readers:
            reader.open_again()

    async def _keep_linked(self) -> None:
        """The uplink, until it has left. A bug of ours that ends it costs a conversation, not the link."""
        while True:
            try:
                await self._uplink.run()
            except Exception:
                log.exception("the uplink failed; starting it again")
                await asyncio.sleep(self._config.uplink.retry_max_s)
            else:
                return

    async def _until_over(self, linking: asyncio.Task[None]) -> None:
        """Until everything is stored, and sent as far as there is time for it."""
        asked, ended = asyncio.create_task(self._asked.wait()), asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                log.info("the log has ended; waiting for the last acknowledgement")
                self._uplink.leave(Leaving.DRAIN)
                await asyncio.wait(
                    {asked, linking}, timeout=self._config.uplink.drain_s, return_when=asyncio.FIRST_COMPLETED
                )
            if linking.done():
                log.info("everything is acknowledged")
            elif not asked.done():
                log.warning("not everything was acknowledged in time; the outbox keeps it")
            if not asked.done():
                return
            if self._failure is not None:
                return
            log.info("ending")
            self._notifier.send(STOPPING=1)
            deadline = time.monotonic() + GOODBYE_S
            for reader in self._readers:
                reader.stop()
            self._capture.stop_taking()
            await asyncio.wait({ended}, timeout=GOODBYE_S / 2)
            self._uplink.leave(Leaving.STOP)
            await asyncio.wait({linking}, timeout=max(0.0, deadline - time.monotonic()))
        finally:
            asked.cancel()
            ended.cancel()

    # News of capture

    def _tell(self, told: Told) -> None:
        """From capture's thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(self._hear, told)

    def _hear(self, told: Told) -> None:
        match told:
            case Written():
                self._uplink.written(told)
            case Begun():
                self._begin(told)
            case Ended():
                self._ended.set()
            case ParkedChanged():
                log.info("the buses are silent" if told.parked else "driving")
                self._parked = told.parked
                self._park_or_stay()
            case Trouble():
                self._trouble = told.text
                if told.text:
                    log.error("outbox cannot be written; capture goes on in memory", trouble=told.text)
                else:
                    log.info("outbox is written again")
            case FileReplaced():
                log.error("outbox was damaged and is set aside; a fresh one is in use", aside=told.aside)
            case PriorRefused():
                log.warning("a prior cannot be used; the built-in one is", trouble=told.text)
            case AgentError():
                self._failure = told
                self._asked.set()
            case events.Mended() | commands.Snapped():
                self._uplink.put(told)

    def _begin(self, begun: Begun) -> None:
        vehicle = self._config.vehicle
        identity = events.Identity(
            begun.outbox_id,
            begun.replaces,
            begun.guards_hash,
            vehicle.id,
            vehicle.model,
            vehicle.firmware_version,
            agent_version(),
            self._plan.schema.hash,
            begun.prior_hash,
            begun.forked_from,
        )
        self._uplink.begin(identity, begun.wanted, begun.written, begun.spent)
        self._notifier.send(READY=1)

    def _park_or_stay(self) -> None:
        """Silent buses are a parked vehicle. One that is down or off is a fault, and somebody has to see it."""
        if self._asked.is_set() or self._ended.is_set():
            return  # it leaves for good
        sound = all(reader.state.state not in ("down", "bus_off") for reader in self._readers)
        self._uplink.leave(Leaving.PARK if self._parked and sound else None)

    # Reports

    async def _report(self) -> None:
        """Status file and watchdog. A bug of ours in what is shown must not cost what is captured."""
        interval_s = min(STATUS_S, self._notifier.watchdog_s or STATUS_S)
        while True:
            self._park_or_stay()
            if self._capture.alive:
                self._notifier.send(WATCHDOG=1, STATUS=self._uplink.link.state)
            try:
                self._reports.write_status(self._uplink, self._trouble)
                self._reports.tell_losses()
            except Exception:
                log.exception("the status could not be written")
            await asyncio.sleep(interval_s)


def waits_of(config: Config) -> Waits:
    """What the uplink needs of the configuration."""
    uplink = config.uplink
    return Waits(
        uplink.heartbeat_s,
        uplink.backlog_heartbeat_s,
        uplink.retry_min_s,
        uplink.retry_max_s,
        # Blocks come that often anyway, so that a promise of two costs nothing.
        speaks_within_s=min(uplink.heartbeat_s, 2 * config.blocks.online_s),
    )


def settings_of(config: Config) -> Settings:
    """What capture needs of the configuration."""
    blocks, outbox = config.blocks, config.outbox
    ticks = BlockTicks.of_seconds(
        config.sampling.rate_hz,
        offline_s=blocks.offline_s,
        online_s=blocks.online_s,
        watched_s=blocks.watched_s,
        keyframe_s=blocks.keyframe_s,
        loss_max_s=outbox.loss_max_s,
    )
    return Settings(
        path=outbox.path,
        synchronous=outbox.synchronous,
        quota_bytes=outbox.quota_bytes,
        ticks=ticks,
        park_after_ns=int(config.sampling.park_after_s * NS),
        boot_id=clock.FRAMES_BOOT_ID if config.replayed else clock.boot_id(),
        side_log=config.demo.side_log,
    )


def agent_version() -> str:
    try:
        return importlib.metadata.version("deadreckon")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
