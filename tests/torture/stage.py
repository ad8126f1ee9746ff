"""The torture itself: vehicles, a collector and a road to it, and drivers that do to each what the plan says.

Whoever finds a process that refused to start plays the operator, and does what its last line says: sets a file aside,
restores the backup. The store's backup is a copy of its files, taken while the collector was dead.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import random
import shutil
import signal
import socket
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import replay_logs
from demo.proxy import Proxy, Road
from demo.settings import toml
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config
from tests.torture import damage, faults
from tests.torture.disk import Disk
from tests.torture.faults import Fault, Kind
from tests.torture.history import History, Undone, held, shown, undone_from
from tests.torture.judge import Endured, Found, judge_vehicle, positions, read_damaged
from tests.torture.processes import Starter, Tortured
from tests.torture.tap import Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LOG = Path(replay_logs.__file__).parent / "drives" / "overheating.log.gz"
DBC = Path(replay_logs.__file__).parent / "car.dbc"
FRAMES = 8_000  # 20 s of driving, over and over
SPEED = 5.0  # times real time
LAST_S = 86_400.0  # how far ahead the log lies with which everybody ends
DRAIN_S = 3600.0  # an agent ends once everything is acknowledged, however long that takes on a machine that is busy,
STALL_S = 120.0  # unless nothing is acknowledged any more
SAMPLED_SHARE = 0.3  # of what there was to sample: the rest goes while agents start
BACKUP_SHARE = 0.1  # of the collector's deaths
SETTLED_SHARE = 0.8  # of damaged files: before, their write-ahead log is brought in
DAMAGED_S = 1.5  # how long the collector runs on a damaged store
FILES = ("", "-wal", "-shm")
VEHICLES = ("asset:big", "asset:second", "asset:small")
QUOTA_BYTES = {"asset:small": 256 << 10}  # so small that acknowledged groups go
_ROADS = {Kind.CUT: Road.REFUSED, Kind.STALL: Road.STALLED, Kind.HALF_OPEN: Road.SILENT}


@dataclass(slots=True)
class Vehicle:
    name: str
    outbox: Path
    agent: Tortured
    disk: Disk | None
    told: Told
    undone: list[Undone] = field(default_factory=list)
    waiting: np.ndarray = field(
        default_factory=lambda: np.empty(0, np.int64)
    )  # in its outbox, where it stalled


@dataclass(slots=True)
class Result:
    done: Counter[Kind]
    complaints: list[str]
    history: History
    found: dict[str, Found]
    failed_calls: int
    restored: int
    cuts: int
    wall_s: float


class Stage:
    def __init__(
        self, folder: Path, *, library: Path | None, planted: Sequence[str] = (), stall_s: float = STALL_S
    ) -> None:
        self.folder = folder
        self._stall_s = stall_s
        self._planted = list(planted)
        self._library = library
        self.done: Counter[Kind] = Counter()
        self.complaints: list[str] = []
        self.cuts = 0
        self.restored = 0
        self._restored_at: float | None = None
        self.history = History()
        self._stale = True  # the backup is older than damage to an outbox
        self._store = folder / "store" / "collector.db"
        self._backup = folder / "backup" / "collector.db"
        for path in (self._store, self._backup):
            path.parent.mkdir(parents=True)
        self._rules = folder / "collector.toml"
        self._port = 0
        self._filling = False  # the store is damaged, or restored and has not again what it had acknowledged
        self.vehicles: dict[str, Vehicle] = {}

    # Before and after

    async def open(self) -> None:
        begun = time.time_ns() / 1e9
        with socket.socket() as probe:  # the collector's port has to stay the same over its starts
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._rules.write_text(
            f'listen = "127.0.0.1:{self._port}"\nstore = "{self._store}"\nack_within_s = 0.3\n'
        )
        drive, last = self.folder / "drive.log", self.folder / "last.log"
        with gzip.open(LOG, "rt") as lines:
            text = list(itertools.islice(lines, FRAMES))
        drive.write_text("".join(text))
        last.write_text("".join(_later(line, LAST_S) for line in text[: FRAMES // 20]))
        self._store_disk = self._disk("collector", self._store.parent)
        self._starter = Starter()
        self._collector = self._program(
            "collector", self._rules, self.folder / "collector.log", self._store_disk
        )
        self._proxy = Proxy("127.0.0.1", self._port)
        for name in VEHICLES:
            await self._add(name, drive, last, begun)
        config = load_config(str(self.vehicles[VEHICLES[0]].outbox.parent.parent / "agent.toml"), {})
        self._schema = make_plan(config)[0].schema  # that of all of them: they have one DBC
        await self._starter.open(self.folder / "starter.log", self._library)
        await asyncio.gather(
            *(
                one.start()
                for one in (self._collector, *(vehicle.agent for vehicle in self.vehicles.values()))
            )
        )

    def _program(
        self, name: str, config: Path, log: Path, disk: Disk | None, taps: Path | None = None
    ) -> Tortured:
        order = {
            "what": "agent" if taps else "collector",
            "config": str(config),
            "taps": str(taps),
            "disk": str(disk.control) if disk else "",
            "planted": self._planted,
        }
        return self._starter.program(name, order, log)

    async def _add(self, name: str, drive: Path, last: Path, epoch: float) -> None:
        folder = self.folder / name.removeprefix("asset:")
        taps = folder / "taps"
        taps.mkdir(parents=True)
        outbox = folder / "outbox" / "outbox.db"
        outbox.parent.mkdir()
        port = await self._proxy.lay(name)
        document = {
            "vehicle": {"id": name},
            "collector": {"address": f"127.0.0.1:{port}"},
            "outbox": {"path": str(outbox), "loss_max_s": 0.2},
            "blocks": {"online_s": 1.0, "offline_s": 2.0, "keyframe_s": 4.0},
            "uplink": {"retry_min_s": 0.02, "retry_max_s": 0.3, "drain_s": DRAIN_S},
        }
        if quota := QUOTA_BYTES.get(name):
            document["outbox"] |= {"quota_bytes": quota}
        bus = {"interface": "replay", "dbc": [str(DBC)]}
        looped = {"channel": str(drive), "options": {"speed": SPEED, "loop": True, "epoch": epoch}}
        (folder / "agent.toml").write_text(toml({**document, "bus": [bus | looped]}))
        (folder / "last.toml").write_text(
            toml({**document, "bus": [bus | {"channel": str(last), "options": {"speed": SPEED}}]})
        )
        disk = self._disk(name, outbox.parent)
        agent = self._program(name, folder / "agent.toml", folder / "agent.log", disk, taps)
        self.vehicles[name] = Vehicle(name, outbox, agent, disk, Told(taps))

    def _disk(self, name: str, folder: Path) -> Disk | None:
        if self._library is None:
            return None
        return Disk(self.folder / f"{name.removeprefix('asset:')}.disk", folder)

    async def run(self, plan: list[Fault]) -> Result:
        """All of the plan, then peace, then the judgement."""
        self._begun = self.history.begun = time.monotonic()
        drivers = [
            self._drive(faults.of(plan, target, kinds), act)
            for target in (faults.COLLECTOR, *VEHICLES)
            for kinds, act in (
                (faults.PROCESS, self._to_process),
                (faults.ROAD, self._to_road),
                (faults.DISK, self._to_disk),
            )
        ]
        await asyncio.gather(*drivers)
        self._played_s = time.monotonic() - self._begun
        found = await self._end()
        calls = sum(disk.failures for disk in self._disks())
        wall_s = time.monotonic() - self._begun
        return Result(
            self.done, self.complaints, self.history, found, calls, self.restored, self.cuts, wall_s
        )

    async def _end(self) -> dict[str, Found]:
        await asyncio.gather(*(self._drain(vehicle) for vehicle in self.vehicles.values()))
        self._check_acked()
        await self._collector.end(signal.SIGTERM)
        if self._collector.status:
            self.complaints.append(
                f"the collector ended with status {self._collector.status}; see {self._collector.log}"
            )
        found = {}
        for name, vehicle in self.vehicles.items():
            judged = await asyncio.to_thread(
                judge_vehicle, self._store, name, vehicle.told, self._schema,
                Endured(vehicle.undone, vehicle.waiting, self._restored_at, self.history.begun),
            )  # fmt: skip
            found[name] = judged
            if len(judged.account.sampled) < SAMPLED_SHARE * SPEED * self._schema.rate_hz * self._played_s:
                judged.complaints.append(
                    f"{name}: {len(judged.account.sampled):,} records are too few to show anything"
                )
            self.complaints += judged.complaints
        return found

    async def _drain(self, vehicle: Vehicle) -> None:
        """Once more with a short log that ends, so that the agent ends by itself when everything is acknowledged."""
        await vehicle.agent.end(signal.SIGTERM)
        last = vehicle.agent
        last.order["config"] = str(vehicle.outbox.parent.parent / "last.toml")
        await last.start()
        self.history.note(vehicle.name, "left in peace")
        if not await drained(vehicle.agent, vehicle.told, self._stall_s):
            await last.kill()
            if (left := held(vehicle.outbox, FILES)) is not None:
                vehicle.waiting = left.ticks
            self.complaints.append(
                f"{vehicle.name}: in peace, nothing was acknowledged for {self._stall_s:g} s; see {last.log}"
            )
        elif last.status:
            self.complaints.append(
                f"{vehicle.name}: its agent ended with status {last.status}; see {last.log}"
            )
        self.history.note(vehicle.name, "its agent ended")
        vehicle.told.read()
        behind = {
            outbox.hex(): (wanted, there)
            for outbox, wanted in _newest(vehicle.outbox).items()
            if (there := positions(self._store, vehicle.name).get(outbox, 0)) < wanted
        }
        if behind:
            self.complaints.append(f"{vehicle.name}: not everything was taken in peace: {behind}")

    async def close(self) -> None:
        await self._starter.close()
        await self._proxy.close()
        for disk in self._disks():
            disk.close()

    def _disks(self) -> list[Disk]:
        every = [self._store_disk, *(vehicle.disk for vehicle in self.vehicles.values())]
        return [disk for disk in every if disk is not None]

    # Drivers

    async def _drive(self, plan: list[Fault], act: Callable[[Fault, random.Random], Awaitable[bool]]) -> None:
        for fault in plan:
            await asyncio.sleep(max(0.0, self._begun + fault.at_s - time.monotonic()))
            if await act(fault, random.Random(fault.seed)):
                self.done[fault.kind] += 1

    async def _to_road(self, fault: Fault, rng: random.Random) -> bool:
        times = rng.randint(*faults.FLAPS) if fault.kind is Kind.FLAP else 1
        for _ in range(times):
            await self._proxy.set_road(fault.target, _ROADS.get(fault.kind, Road.REFUSED))
            await asyncio.sleep(fault.for_s / times)
            await self._proxy.set_road(fault.target, Road.OPEN)
            self.cuts += 1
            if times > 1:
                await asyncio.sleep(rng.uniform(0.0, 0.1))
        return True

    async def _to_disk(self, fault: Fault, _: random.Random) -> bool:
        disk = self._store_disk if fault.target == faults.COLLECTOR else self.vehicles[fault.target].disk
        if disk is None:
            return False
        disk.fail(faults.ERRNO[fault.kind])
        await asyncio.sleep(fault.for_s)
        disk.fail(0)
        return True

    async def _to_process(self, fault: Fault, rng: random.Random) -> bool:
        if fault.target != faults.COLLECTOR:
            return await self._to_agent(self.vehicles[fault.target], fault, rng)
        killed = await self._collector.kill()
        self.history.note(fault.target, fault.kind.value)
        self._check_acked()
        if fault.kind is not Kind.KILL_COLLECTOR:
            if self._stale:
                self._back_up()
            await self._damage_store(fault, rng)
        elif rng.random() < BACKUP_SHARE:
            self._back_up()
        await self._collector.start()
        return killed

    async def _to_agent(self, vehicle: Vehicle, fault: Fault, rng: random.Random) -> bool:
        killed = await vehicle.agent.kill()
        self.history.note(vehicle.name, fault.kind.value)
        if fault.kind is not Kind.KILL_AGENT:
            killed = await self._damage_outbox(vehicle, fault, rng)
        await vehicle.agent.start()
        return killed

    # Damage, and what an operator does about it

    async def _damage_outbox(self, vehicle: Vehicle, fault: Fault, rng: random.Random) -> bool:
        """Not while the store has to be filled again from it: what is lost on both sides, nobody can give back."""
        if self._filling:
            self.history.note(vehicle.name, "its outbox was spared: the store has to be filled again from it")
            return False
        self._stale = True
        log = vehicle.outbox.with_name(vehicle.outbox.name + "-wal")
        if fault.kind is Kind.OUTBOX_LOG:
            if not log.exists() or not log.stat().st_size:
                return False
            vehicle.told.read()
            before = held(vehicle.outbox, FILES)
            rng.choice([damage.truncate, damage.flip])(log, rng)
            if (first := undone_from(before, held(vehicle.outbox, FILES))) is None:
                self.history.note(vehicle.name, "with its write-ahead log, its outbox is damaged")
                return True
            end = max(vehicle.told.ends.values(), default=0)
            vehicle.undone.append(Undone(time.monotonic(), first, end))
            self.history.note(
                vehicle.name, f"its write-ahead log took back ticks {first} to {end}, as far as there are"
            )
            return True
        if not vehicle.outbox.exists():
            return False
        if rng.random() < SETTLED_SHARE:
            damage.settle(vehicle.outbox)
        (damage.truncate if fault.kind is Kind.OUTBOX_CUT else damage.flip)(vehicle.outbox, rng)
        return True

    async def _damage_store(self, fault: Fault, rng: random.Random) -> None:
        """The collector goes on with a damaged file as long as it likes; then its operator restores the backup."""
        self._filling = True
        if rng.random() < SETTLED_SHARE:
            damage.settle(self._store)
        (damage.truncate if fault.kind is Kind.STORE_CUT else damage.flip)(self._store, rng)
        await self._collector.start()
        await asyncio.sleep(DAMAGED_S)
        await self._collector.kill()
        for name, vehicle in self.vehicles.items():
            wrong = await asyncio.to_thread(read_damaged, self._store, name, vehicle.told, self._schema, rng)
            self.complaints += [f"{name}: of a damaged store, {one}" for one in wrong]
        for suffix in FILES:
            self._store.with_name(self._store.name + suffix).unlink(missing_ok=True)
        self._copy(self._backup, self._store)
        self.restored += 1
        self._restored_at = time.monotonic() + faults.NETWORK_S[1]  # so long a stalled road keeps an ack
        self.history.note(faults.COLLECTOR, "its store was restored from the backup")

    def _back_up(self) -> None:
        """Only while the collector is dead."""
        self._copy(self._store, self._backup)
        self._stale = False
        self.history.note(faults.COLLECTOR, "its store was backed up")

    def _copy(self, source: Path, target: Path) -> None:
        for suffix in FILES:
            file = source.with_name(source.name + suffix)
            beside = target.with_name(target.name + suffix)
            if file.exists():
                shutil.copy(file, beside)
            else:
                beside.unlink(missing_ok=True)

    def _check_acked(self) -> None:
        """While the collector is dead: whatever it acknowledged is durable."""
        if not self._store.exists():
            return
        behind = []
        for name, vehicle in self.vehicles.items():
            there = positions(self._store, name)
            vehicle.told.read()
            wanted = vehicle.told.acked_max if self._filling else vehicle.told.acked
            behind += [
                f"{name}: acknowledged up to {shown(position)}, durable up to {shown(there.get(outbox, 0))}"
                for outbox, position in wanted.items()
                if there.get(outbox, 0) < position
            ]
        if not self._filling:
            self.complaints += behind
        elif not behind:
            self._filling = False
            self.history.note(faults.COLLECTOR, "its store has again what it had acknowledged")


async def drained(agent: Tortured, told: Told, stall_s: float) -> bool:
    """Until the agent ends by itself. False: for so long nothing was acknowledged any more."""
    before: dict[bytes, int] = {}
    while not await agent.wait(stall_s):
        told.read()
        if told.acked == before:
            return False
        before = dict(told.acked)
    return True


def _newest(outbox: Path) -> dict[bytes, int]:
    """outbox_id -> the end of what it holds."""
    with sqlite3.connect(f"file:{outbox}?mode=ro", uri=True) as db:
        (outbox_id,) = db.execute("SELECT value FROM facts WHERE key = 'outbox_id'").fetchone()
        rows = db.execute("SELECT stream_no, next_seq FROM streams WHERE next_seq > 0").fetchall()
    db.close()
    return {outbox_id: max((stream_no << 32 | seq for stream_no, seq in rows), default=0)}


def _later(line: str, by_s: float) -> str:
    """A line of a candump log, stamped later."""
    stamp, _, rest = line[1:].partition(")")
    return f"({float(stamp) + by_s:.6f}){rest}"
