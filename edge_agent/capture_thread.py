"""The capture thread: takes frames from the inbox, drives `capture`, and carries out commands. A thin shell.

It alone writes the outbox. What happens is told to the event loop by `tell`, which must be safe to call from here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import structlog

from codec.errors import DamagedBlock, SchemaError
from codec.schema import NS
from edge_agent import clock, commands, events
from edge_agent.capture import Capture, FileReplaced, News, Trouble, Written, open_outbox
from edge_agent.errors import AgentError, OutboxBusy, OutboxDamaged
from edge_agent.merge import Merge
from edge_agent.outbox_file import set_aside
from edge_agent.outbox_reader import OutboxReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from codec.schema import Schema
    from codec.stream import Clock
    from decoder.sampler import Sampler
    from edge_agent.allowance import Spent
    from edge_agent.capture import Settings
    from edge_agent.inbox import Inbox

IDLE_S = 0.05  # silence is noticed that exactly
PARKED_IDLE_S = 1.0
HOLD_NS = 60_000_000  # a frame may take so long from its stamp to here: GATHER_NS and some
RETRY_NS = NS // 2  # between tries to write what could not be written
CLOCK_NS = NS  # how old the wall clock's offset may be

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Begun:
    """News: the outbox is open, or has become another one."""

    outbox_id: bytes
    replaces: bytes
    forked_from: bytes
    guards_hash: bytes
    prior_hash: bytes
    wanted: int
    spent: Spent
    written: Written


@dataclass(frozen=True, slots=True)
class Ended:
    """News: no more records will come, and all there were are stored."""


@dataclass(frozen=True, slots=True)
class ParkedChanged:
    """News: the buses fell silent, or are no longer."""

    parked: bool


Told = News | Begun | Ended | ParkedChanged | events.Mended | commands.Snapped | AgentError


class CaptureThread:
    """Starts with the outbox not even open, so that frames are waiting when it is."""

    def __init__(
        self,
        schema: Schema,
        sampler: Sampler,
        settings: Settings,
        inbox: Inbox,
        bus_count: int,
        *,
        own_clock: bool,
        new_id: Callable[[int], bytes],
        tell: Callable[[Told], None],
    ) -> None:
        self.capture: Capture | None = None
        self._schema = schema
        self._sampler = sampler
        self._settings = settings
        self._inbox = inbox
        self._merge = Merge(bus_count, own_clock=own_clock)
        self._running = bus_count
        self._own_clock = own_clock
        self._new_id = new_id
        self._tell = tell
        self._commands: deque[commands.Command] = deque()
        self._stop_taking = threading.Event()
        self._stop = threading.Event()
        self._parked = False
        self._clock = clock.FRAMES_CLOCK
        self._clock_at_ns = 0
        self._retry_at_ns = 0
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    # From other threads

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def post(self, command: commands.Command) -> None:
        self._commands.append(command)
        self._inbox.wake()

    def stop_taking(self) -> None:
        """Store the block being filled; `Ended` says when it is."""
        self._stop_taking.set()
        self._inbox.wake()

    def stop(self, timeout_s: float) -> None:
        """Close the outbox and end."""
        self._stop.set()
        self._stop_taking.set()
        self._inbox.close()
        self._thread.join(timeout_s)

    # The thread

    def _run(self) -> None:
        try:
            capture = self._open()
            if capture is None:
                return
            self.capture = capture
            try:
                self._tell(_begun(capture))
                if not capture.outbox.checked:
                    threading.Thread(
                        target=self._check, args=[capture.outbox_id], name="outbox-check", daemon=True
                    ).start()
                self._work(capture)
            finally:
                capture.close()
        except AgentError as error:
            self._tell(error)
        except Exception as error:
            log.exception("capture failed")
            self._tell(AgentError(f"capture failed: {type(error).__name__}: {error}"))

    def _check(self, outbox_id: bytes) -> None:
        """In a thread of its own: what was too long for the start."""
        try:
            with OutboxReader(self._settings.path) as reader:
                reader.check()
        except OutboxDamaged as error:
            self.post(commands.ToOutbox(outbox_id, commands.ReplaceFile(str(error))))
        except OutboxBusy as error:
            log.warning("outbox could not be checked; the next start tries again", trouble=str(error))
        else:
            log.info("outbox is checked")

    def _told(self, news: News) -> None:
        self._tell(news)
        if isinstance(news, FileReplaced) and self.capture is not None:
            self._tell(_begun(self.capture))

    def _open(self) -> Capture | None:
        """The outbox, as soon as it can be had. Frames wait in the inbox meanwhile."""
        said = ""
        while not self._stop.is_set():
            try:
                return self._opened()
            except OutboxDamaged:
                pass  # it was set aside, or what took its place is damaged, too
            except OutboxBusy as error:
                if str(error) != said:
                    said = str(error)
                    self._tell(Trouble(said))
            self._stop.wait(RETRY_NS / NS)
        return None

    def _opened(self) -> Capture:
        """Raises OutboxBusy, and OutboxDamaged where the file was set aside."""
        outbox, aside = open_outbox(self._settings, self._new_id)
        if aside:
            self._tell(FileReplaced(aside))
        try:
            return Capture(
                self._schema, self._sampler, outbox, self._settings, new_id=self._new_id, tell=self._told
            )
        except OutboxBusy:
            outbox.close()
            raise
        except OutboxDamaged:
            outbox.close()
            self._tell(FileReplaced(set_aside(self._settings.path)))
            raise

    def _work(self, capture: Capture) -> None:
        while not self._stop_taking.is_set():
            if capture.full:  # what comes waits in the inbox, or is dropped there and counted
                self._stop_taking.wait(IDLE_S)
                self._serve(capture)
                continue
            items = self._inbox.take(PARKED_IDLE_S if self._parked else IDLE_S)
            # Read before anything is stored: that may take a while, and what comes meanwhile is not taken yet.
            until_ns = clock.now().boot_ns - HOLD_NS
            for bus, frames in items:
                if frames is None:
                    self._merge.end(bus)
                    self._running -= 1
                else:
                    self._merge.add(bus, frames)
            self._take(capture, until_ns)
            self._serve(capture)
            if self._running == 0:
                break
        clock_now = self._wall()
        if self._own_clock and self._running == 0:
            capture.finish_log(clock_now)
        capture.flush(clock_now)
        self._tell(Ended())
        while not self._stop.is_set():  # acknowledgements go on coming
            self._inbox.take(IDLE_S)
            self._serve(capture)
        if capture.waiting:
            log.error("the outbox could not be written to the end; the newest records are lost")

    def _take(self, capture: Capture, until_ns: int) -> None:
        clock_now = self._wall()
        capture.take(self._merge.take(), clock_now)
        if self._own_clock:
            return
        capture.advance(until_ns, clock_now)
        parked = capture.parked(until_ns)
        if parked != self._parked:
            self._parked = parked
            if parked:
                capture.flush(clock_now)
            self._tell(ParkedChanged(parked=parked))

    def _wall(self) -> Clock:
        if not self._own_clock and time.monotonic_ns() - self._clock_at_ns > CLOCK_NS:
            self._clock, self._clock_at_ns = clock.wall_clock(), time.monotonic_ns()
        return self._clock

    # Commands

    def _serve(self, capture: Capture) -> None:
        """What was asked, in order; what the disk does not take now is asked again later."""
        now_ns = time.monotonic_ns()
        if now_ns < self._retry_at_ns:
            return
        try:
            capture.retry()
            while self._commands:
                self._perform(capture, self._commands[0])
                self._commands.popleft()
            self._retry_at_ns = now_ns + RETRY_NS if capture.waiting else 0
        except OutboxBusy as error:
            log.warning("outbox is busy", trouble=str(error))
            self._retry_at_ns = now_ns + RETRY_NS
        except OutboxDamaged as error:
            capture.replace_file(str(error))  # what was asked of the former file is not asked of this one

    def _perform(self, capture: Capture, command: commands.Command) -> None:
        match command:
            case commands.ToOutbox():
                of_file = isinstance(command.command, commands.ReplaceFile) and capture.was(command.outbox_id)
                if of_file or command.outbox_id == capture.outbox_id:
                    self._perform_on(capture, command.command)
            case events.SetGuards():
                try:
                    capture.set_guards(command.hash, command.content)
                except SchemaError as error:
                    log.warning("guards that make no sense", trouble=str(error))
            case events.SetPrior():
                try:
                    capture.set_prior(command.content, self._wall())
                except DamagedBlock as error:
                    capture.refuse_prior(str(error))
            case events.SetSpent():
                capture.set_spent(command.spent, command.stretch)
            case events.AskKeyframe():
                capture.pipeline.ask_keyframe()
            case commands.SetMode():
                capture.set_mode(command.mode)
            case commands.AskSnapshot():
                self._tell(commands.Snapped(capture.pipeline.snapshot()))
            case _:
                assert_never(command)

    def _perform_on(
        self,
        capture: Capture,
        command: events.SetWanted | events.Mend | events.BecomeFork | commands.ReplaceFile,
    ) -> None:
        match command:
            case events.SetWanted():
                capture.set_wanted(command.wanted)
            case events.Mend():
                log.error("a row of the outbox is damaged; it becomes a gap", position=command.position)
                capture.mend(command.position, again=command.again)
                self._tell(events.Mended(command.position))
            case events.BecomeFork():
                capture.fork(self._wall())
                self._tell(_begun(capture))
            case commands.ReplaceFile():
                capture.replace_file(command.text)
            case _:
                assert_never(command)


def _begun(capture: Capture) -> Begun:
    outbox = capture.outbox
    return Begun(
        outbox.outbox_id,
        outbox.replaces,
        outbox.forked_from,
        outbox.guards_hash,
        capture.prior_hash,
        outbox.wanted,
        outbox.spent,
        capture.written(),
    )
