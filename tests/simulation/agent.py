"""One life of an agent: what edge_agent.capture_thread and edge_agent.app do around capture, without threads and clocks."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, assert_never

from codec.schema import NS
from decoder.sampler import Sampler
from edge_agent import commands, events
from edge_agent.capture import Capture, FileReplaced, News, Trouble, Written, open_outbox
from edge_agent.errors import OutboxBusy, OutboxDamaged
from tests.simulation import car
from tests.simulation.truth import Recorder, Run, StreamTruth, columns_of
from tests.simulation.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.vehicle import Vehicle

HOLD_NS = 60_000_000
RETRY_NS = NS // 2


class Killed(Exception):
    """The process is no more; whatever it was about to do is not done."""


class Agent:
    """Begins like the process: finishes what a crash cut short, or raises OutboxBusy."""

    def __init__(self, vehicle: Vehicle) -> None:
        self.vehicle, self.world = vehicle, vehicle.world
        self.rate_hz = vehicle.rate_hz
        self.alive = True
        plan = car.plan(vehicle.rate_hz, vehicle.variant)
        self.run = Run(f"{vehicle.name} life {vehicle.lives}", plan.schema)
        settings = vehicle.settings()
        try:
            outbox, _ = open_outbox(settings, self._new_id)
        finally:
            vehicle.count_lost_files()
        self.recorder = Recorder(
            Sampler(plan, park_after_s=car.PARK_AFTER_S),
            self.run,
            vehicle.driven,
            columns_of(vehicle.variant),
            self._wrong,
        )
        try:
            self.capture = Capture(
                plan.schema, self.recorder, outbox, settings, new_id=self._new_id, tell=self._told
            )
        except BaseException:
            outbox.close()
            raise
        vehicle.truth.runs.append(self.run)
        self.commands: deque[commands.Command] = deque()
        self._serving = False
        self._retry_at_ns = 0
        self._parked = False
        self._ended = False
        self._taken_ns = self.world.now_ns
        self.uplink = Uplink(self)
        self._begin()
        self.later(0, self._step)

    def _new_id(self, size: int) -> bytes:
        drawn = self.vehicle.rng.randbytes(size)
        self.vehicle.truth.run_of[drawn] = self.run
        return drawn

    def _wrong(self, text: str) -> None:
        self.world.violation(f"{self.run.name}: {text}")

    def note(self, text: str) -> None:
        self.world.note(self.vehicle.name, text)

    # Life and death

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """If it lives so long."""
        self.world.at(delay_ns, lambda: self.do(action))

    def do(self, action: Callable[[], None]) -> None:
        if not self.alive:
            return
        if (asleep_ns := self.vehicle.asleep_until_ns - self.world.now_ns) > 0:
            self.later(asleep_ns, action)
            return
        try:
            action()
            self.point()
            self._count_committed()
        except Killed:
            self.vehicle.died(self)

    def point(self) -> None:
        """Between two steps. A process that was to die here does."""
        self.vehicle.disk.count()
        if self.vehicle.disk.frozen:
            raise Killed

    def discard(self, *, vanish: bool) -> None:
        """As SIGKILL would: nothing is flushed, nothing is said. The disk is frozen."""
        self.alive = False
        self.uplink.close(vanish=vanish)
        if self.capture.outbox_id:  # else it is closed already
            self.capture.outbox._db.close()
            os.close(self.capture.outbox._lock)

    # Capture

    def _step(self) -> None:
        vehicle, capture = self.vehicle, self.capture
        until_ns = self.world.now_ns - HOLD_NS
        if not self._ended and not capture.full:
            clock = vehicle.clock()
            frames, ticks = vehicle.frames(self._taken_ns, until_ns)
            self.recorder.framed.update(ticks)
            self._taken_ns = max(self._taken_ns, until_ns)
            capture.take(frames, clock)
            self._count_committed()
            self.point()
            capture.advance(vehicle.boot_ns(until_ns), clock)
            self._count_committed()
            self.point()
            self._park(vehicle.boot_ns(until_ns))
        self._serve()
        self.uplink.tick()
        self.uplink.check()
        self.later(vehicle.step_ns, self._step)

    def _park(self, boot_ns: int) -> None:
        parked = self.capture.parked(boot_ns)
        if parked != self._parked:
            self._parked = parked
            self.note("parks" if parked else "drives")
            if parked:
                self.capture.flush(self.vehicle.clock())
            self.uplink.leave(events.Ending(parked=True) if parked else None)

    def finish(self) -> None:
        """No more frames: store what there is, send it, say goodbye."""
        self._ended = True
        self.capture.flush(self.vehicle.clock())
        self._count_committed()
        self.uplink.leave(events.Ending())

    @property
    def drained(self) -> bool:
        return self._ended and self.uplink.left and not self.commands and not self.capture.waiting

    def _count_committed(self) -> None:
        """Ask what has been committed, as far as this process was told."""
        pipeline = self.capture.pipeline
        if self.vehicle.disk.frozen or self.capture.waiting or not pipeline.begun:
            return
        start = self.run.count - pipeline.record_count
        stream_id = pipeline.name.stream_id
        self.vehicle.truth.streams.setdefault(stream_id, StreamTruth(self.run, start))
        committed = self.vehicle.committed.get(stream_id, 0)
        self.vehicle.committed[stream_id] = max(committed, pipeline.record_count - pipeline.uncommitted)

    def _told(self, news: News) -> None:
        match news:
            case Written():
                self.uplink.written(news)
            case FileReplaced():
                self.vehicle.count_lost_files()
                self._begin()
            case Trouble():
                if not news.text:
                    self._check_journal()
                self.note(f"trouble: {news.text.rpartition('/')[2] or 'over'}")
            case _:
                assert_never(news)

    def _check_journal(self) -> None:
        """What a disk that could not be written for a while got at once: of the block being filled, and of no other."""
        outbox, pipeline = self.capture.outbox, self.capture.pipeline
        rows = outbox._db.execute("SELECT first_tick FROM journal WHERE slot < ?", (outbox._journal_slot,))
        stored = outbox._db.execute(
            "SELECT end_tick FROM streams WHERE stream_no = ?", (pipeline.name.stream_no,)
        ).fetchone()
        if stored and any(first_tick < stored[0] for (first_tick,) in rows):
            self._wrong(f"the journal goes on with what a block before tick {stored[0]} holds already")

    def _begin(self) -> None:
        outbox = self.capture.outbox
        identity = events.Identity(
            outbox.outbox_id, outbox.replaces, outbox.guards_hash, self.vehicle.identity, "model", "1", "0",
            forked_from=outbox.forked_from,
        )  # fmt: skip
        self.uplink.begin(identity, outbox.wanted, self.capture.written())

    # Commands

    def post(self, command: commands.Command) -> None:
        self.commands.append(command)
        self.later(0, self._serve)

    def _serve(self) -> None:
        capture = self.capture
        if self.world.now_ns < self._retry_at_ns:
            return
        try:
            capture.retry()
            while self.commands:
                self.point()
                self._perform(self.commands[0])
                self.commands.popleft()
            self._retry_at_ns = self.world.now_ns + RETRY_NS if capture.waiting else 0
        except OutboxBusy:
            self._retry_at_ns = self.world.now_ns + RETRY_NS
        except OutboxDamaged as error:
            capture.replace_file(str(error))

    def _perform(self, command: commands.Command) -> None:
        capture = self.capture
        match command:
            case commands.ToOutbox():
                if command.outbox_id == capture.outbox_id:
                    self._perform_on(command.command)
            case events.SetGuards():
                capture.set_guards(command.hash, command.content)
            case events.SetPrior():
                capture.set_prior(command.content, self.vehicle.clock())
            case events.SetSpent():
                capture.set_spent(command.spent, command.stretch)
            case events.AskKeyframe():
                capture.pipeline.ask_keyframe()
            case commands.SetMode():
                capture.set_mode(command.mode)
            case commands.AskSnapshot():
                self.uplink.put(commands.Snapped(capture.pipeline.snapshot()))
            case _:
                assert_never(command)

    def _perform_on(
        self, command: events.SetWanted | events.Mend | events.BecomeFork | commands.ReplaceFile
    ) -> None:
        capture = self.capture
        match command:
            case events.SetWanted():
                capture.set_wanted(command.wanted)
            case events.Mend():
                self.note(f"mends position {command.position >> 32}/{command.position & 0xFFFFFFFF}")
                capture.mend(command.position, again=command.again)
                self.uplink.put(events.Mended(command.position))
            case events.BecomeFork():
                left = capture.outbox.outbox_id
                capture.fork(self.vehicle.clock())
                self.vehicle.truth.forks[capture.outbox.outbox_id] = left
                self.note(f"is outbox {capture.outbox.outbox_id.hex()[:6]} now")
                self._begin()
            case commands.ReplaceFile():
                capture.replace_file(command.text)
            case _:
                assert_never(command)
