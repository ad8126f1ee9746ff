"""One simulation: a seed, and everything that follows from it.

Vehicles, links and the collector run in one process on one list of events, ordered by simulated time. Nothing else moves: no
thread, no clock, no randomness but the seed's. Ten minutes of trouble, then calm, in which everything has to come right.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from codec.schema import NS
from collector.store.ledger import StoreLedger
from tests.simulation.disk import Disk, simulated_disks
from tests.simulation.faults import Faults
from tests.simulation.invariants import Checker
from tests.simulation.station import Station
from tests.simulation.truth import Truth
from tests.simulation.vehicle import WALL_EPOCH_NS, Vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import telemetry_pb2 as pb

TROUBLE_NS = 600 * NS
DRIVE_ON_NS = 20 * NS  # in the calm, before the vehicles have to come to an end
DRAINED_NS = 300 * NS  # in which they have to
EVENTS_MAX = 100_000  # of one seed; most have a few thousand


class Violation(Exception):
    """Something that must be true is not."""


class World:
    """Everything that there is."""

    def __init__(self, seed: int, folder: Path, template: Path, disks: dict[str, Disk]) -> None:
        self.seed, self.folder = seed, folder
        self.rng = random.Random(seed)
        self.now_ns = 0
        self.history: list[str] = []
        self.truths: dict[str, Truth] = {}
        self.vehicles: list[Vehicle] = []
        self._disks = disks
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.checker = Checker(self)
        self.faults = Faults(self)
        self.station = Station(self, folder / "collector", template)
        for number in range(self.rng.randint(1, 2)):
            self.add_vehicle(f"asset:car{number}")

    def add_disk(self, folder: Path) -> Disk:
        made = self._disks[str(folder)] = Disk(folder)
        return made

    def add_vehicle(self, identity: str, *, twin: bool = False) -> Vehicle:
        truth = self.truths.setdefault(identity, Truth())
        number = len(self.vehicles)
        name = f"{identity.removeprefix('asset:')}{f'-twin{number}' if twin else ''}"
        vehicle = Vehicle(self, name, identity, truth, self.folder / f"vehicle{number}")
        self.vehicles.append(vehicle)
        return vehicle

    @property
    def wall_ns(self) -> int:
        return WALL_EPOCH_NS + self.now_ns

    def at(self, delay_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ns + delay_ns, next(self._numbers), action))

    def note(self, who: str, text: str) -> None:
        self.history.append(f"{self.now_ns / NS:9.3f} {who:10} {text}")

    def violation(self, text: str) -> None:
        self.note("VIOLATION", text)
        raise Violation(text)

    def on_the_way(self, vehicle: str, streams: dict[int, pb.StreamInfo], message: pb.Up) -> pb.Up:
        stream = streams.get(message.batch.alias) if message.HasField("batch") else None
        return (
            message
            if stream is None or vehicle not in self.truths
            else self.faults.on_the_way(vehicle, stream, message)
        )

    # From beginning to end

    def run(self) -> None:
        """Raises Violation, or what a bug raises."""
        self.station.start()
        for vehicle in self.vehicles:
            self.faults.prepare(vehicle)
            vehicle.start()
        self.faults.plan(TROUBLE_NS)
        self._run_until(TROUBLE_NS)
        self.note("world", "calm")
        self.faults.stop()
        self._run_until(TROUBLE_NS + DRIVE_ON_NS)
        for vehicle in self.vehicles:
            self._finish(vehicle)
        self._run_until(TROUBLE_NS + DRIVE_ON_NS + DRAINED_NS, self._drained)
        self.checker.final()

    def _finish(self, vehicle: Vehicle) -> None:
        """Its driver gets out, once it runs."""
        if vehicle.gone:
            return
        if vehicle.agent is None:
            self.at(NS, lambda: self._finish(vehicle))
            return
        vehicle.agent.do(vehicle.agent.finish)

    def _drained(self) -> bool:
        return all(vehicle.gone or (vehicle.agent and vehicle.agent.drained) for vehicle in self.vehicles)

    def _run_until(self, end_ns: int, done: Callable[[], bool] = lambda: False) -> None:
        while self._events and self._events[0][0] <= end_ns and not done():
            self.now_ns, number, action = heapq.heappop(self._events)
            if number > EVENTS_MAX:
                self.violation(f"more than {EVENTS_MAX} events: somebody goes round in circles")
            action()
        if not done():
            self.now_ns = end_ns

    def close(self) -> None:
        """Let go of every file."""
        self.checker.close()
        for vehicle in self.vehicles:
            if vehicle.agent is not None:
                vehicle.disk.frozen = True
                vehicle.agent.discard(vanish=True)
        if self.station.process is not None:
            self.station.disk.frozen = True
            self.station.process.discard()


def new_store(path: Path) -> None:
    """A store with nothing in it, made as the collector makes it."""
    StoreLedger(path)._engine.dispose()


class Outcome:
    """How a seed came out."""

    def __init__(self, seed: int, world: World, violation: str) -> None:
        self.seed, self.history, self.violation = seed, world.history, violation
        self.counts = world.faults.counts


def simulate(seed: int, folder: Path, template: Path) -> Outcome:
    """Run one seed in `folder`, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    gc.disable()  # what is collected when must not differ between replays
    try:
        with simulated_disks(random.Random(seed)) as disks:
            world = World(seed, folder, template, disks)
            violation = ""
            try:
                world.run()
            except Violation as error:
                violation = str(error)
            except Exception as error:  # noqa: BLE001  # nobody may crash, whatever it is
                violation = f"crashed: {type(error).__name__}: {error}"
                world.note("VIOLATION", violation)
                world.history += _trace(error)
            finally:
                world.close()
            return Outcome(seed, world, violation)
    finally:
        gc.enable()
        shutil.rmtree(folder, ignore_errors=True)


def _trace(error: BaseException) -> list[str]:
    import traceback

    return [line.rstrip() for line in traceback.format_exception(error)[-14:]]
