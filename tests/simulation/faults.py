"""What goes wrong, drawn from the seed: which kinds at all (so that some seeds have few, and often), when, and to whom."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from codec.schema import NS
from edge_agent.outbox import Outbox
from protos import telemetry_pb2 as pb
from tests.simulation import car
from tests.simulation.disk import FULL, IOERR_FSYNC, IOERR_WRITE
from tests.simulation.forger import Forger, flipped
from tests.simulation.network import Connection

if TYPE_CHECKING:
    from tests.simulation.station import Station
    from tests.simulation.vehicle import Vehicle
    from tests.simulation.world import World

VEHICLES_MAX = 4
FORGE_ODDS = 0.5  # of a block, while there is one to be forged: the last of its group is found by the group's digest alone
PAGE_BYTES = 4096
BIT_SHARE = (
    0.5  # of damaged outboxes: one bit flips, which leaves most of them usable; else a page is garbled
)
DAMAGING = {"damage a block on its way", "forge a block", "damage the outbox"}


class Faults:
    """Plans, injects and counts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self.counts: Counter[str] = Counter()
        self.spoils = False  # blocks of this seed may be damaged
        self._spoil_odds = 0.0
        self._forge_left = 0
        self._forger: Forger | None = None  # in seeds that forge
        self._images: dict[str, tuple[Path, dict[bytes, int]]] = {}
        self._calm = False
        self._kinds = {
            "cut a link": self._cut,
            "half-open link": self._half_open,
            "a link that is down": self._down,
            "a link that was down and is slow": self._slow,
            "lose an ack": self._lose_ack,
            "kill an agent": self._kill_agent,
            "power cut of a vehicle": self._power_agent,
            "disk full on a vehicle": self._full,
            "I/O errors on a vehicle": self._io_errors,
            "others fill a vehicle's disk": self._crowd,
            "step a clock": self._step_clock,
            "boot in 1970": self._boot_in_1970,
            "smear a leap second": self._smear,
            "suspend a vehicle": self._suspend,
            "park": self._park,
            "change the schema": self._change_schema,
            "damage a row": self._damage_row,
            "damage the journal": self._damage_journal,
            "damage the outbox": self._damage_outbox,
            "damage a block on its way": self._damage_blocks,
            "forge a block": self._forge_blocks,
            "restore an outbox from an image": self._restore_image,
            "clone a vehicle": self._clone,
            "watch a vehicle": self._watch,
            "kill the collector": self._kill_station,
            "power cut of the collector": self._power_station,
            "disk full at the collector": self._station_full,
            "rules changed": self._change_rules,
            "rules changed while it runs": self._reload_rules,
            "restore the store from a backup": self._restore_backup,
            "replay a connection": self._replay,
            "a hostile peer": self._hostile,
        }

    def prepare(self, vehicle: Vehicle) -> None:
        """How a vehicle is before it is first started: some have small outboxes, most know the guards already."""
        rng = vehicle.rng
        if rng.random() < 0.3:
            vehicle.quota_bytes = rng.randint(18, 60) * 512
            self.counts["small quota"] += 1
        if rng.random() < 0.2:
            self._crowd(vehicle)
            self.counts["others fill a vehicle's disk"] += 1
        if rng.random() < 0.7:
            with contextlib.closing(Outbox(vehicle.outbox_path, rng.randbytes)) as outbox:
                guards = car.RULES[0].guards()
                outbox.keep_guards(guards.hash, guards.to_bytes())

    def plan(self, until_ns: int) -> None:
        rng = self._rng
        chosen = [kind for kind in self._kinds if rng.random() < 0.25]
        if "forge a block" in chosen:
            self._forger = Forger(rng)
        for kind in chosen or ["cut a link"]:
            self.spoils |= kind in DAMAGING
            for _ in range(rng.choice((1, 2, 4))):
                self._world.at(rng.randint(0, until_ns), lambda kind=kind: self._inject(kind))

    def _inject(self, kind: str) -> None:
        if not self._calm:
            self.counts[kind] += 1
            vehicle = self._rng.choice(self._world.vehicles)
            self._world.note("fault", f"{kind}, {vehicle.name}")
            self._kinds[kind](vehicle)

    def stop(self) -> None:
        """Calm: everything works again."""
        self._calm = True
        self._spoil_odds, self._forge_left = 0.0, 0
        for vehicle in self._world.vehicles:
            vehicle.link.up, vehicle.link.cut_at_ack, vehicle.link.bytes_per_s = True, False, 0
            vehicle.disk.refusal, vehicle.disk.dies_in, vehicle.disk.crowded = 0, None, False
            vehicle.asleep_until_ns = 0
            vehicle.silent = [(start, min(stop, self._world.now_ns)) for start, stop in vehicle.silent]
        self._world.station.disk.refusal, self._world.station.disk.dies_in = 0, None

    def _later(self, seconds_max: float, action) -> None:
        """Within so long, unless it is calm by then; then the calm has done it."""
        self._world.at(self._rng.randint(NS, int(seconds_max * NS)), lambda: None if self._calm else action())

    # Links

    def _cut(self, vehicle: Vehicle) -> None:
        vehicle.link.cut(noticed=True)

    def _half_open(self, vehicle: Vehicle) -> None:
        vehicle.link.cut(noticed=False)

    def _down(self, vehicle: Vehicle) -> None:
        vehicle.link.up = False
        vehicle.link.cut(noticed=self._rng.random() < 0.5)

        def back() -> None:
            vehicle.link.up = True

        self._later(200, back)

    def _slow(self, vehicle: Vehicle) -> None:
        """A backlog drains slowly: heartbeats have time to tell of now."""
        self._down(vehicle)
        vehicle.link.bytes_per_s = self._rng.choice((80, 150))

        def fast() -> None:
            vehicle.link.bytes_per_s = 0

        self._later(400, fast)

    def _lose_ack(self, vehicle: Vehicle) -> None:
        vehicle.link.cut_at_ack = True

    # Vehicles

    def _kill_agent(self, vehicle: Vehicle) -> None:
        vehicle.disk.dies_in = self._rng.randint(0, 60)

    def _power_agent(self, vehicle: Vehicle) -> None:
        vehicle.after_death.append("power")
        vehicle.disk.dies_in = self._rng.randint(0, 60)

    def _full(self, vehicle: Vehicle) -> None:
        self._refuse(vehicle, FULL, 60)

    def _io_errors(self, vehicle: Vehicle) -> None:
        self._refuse(vehicle, self._rng.choice((IOERR_WRITE, IOERR_FSYNC)), 5)

    def _crowd(self, vehicle: Vehicle) -> None:
        """The outbox may not grow: from now on it drops as much as it stores."""
        vehicle.disk.crowded = True

        def roomy() -> None:
            vehicle.disk.crowded = False

        self._later(400, roomy)

    def _refuse(self, vehicle: Vehicle | Station, code: int, seconds: float) -> None:
        vehicle.disk.refusal = code

        def well() -> None:
            vehicle.disk.refusal = 0

        self._later(seconds, well)

    def _step_clock(self, vehicle: Vehicle) -> None:
        """At any time; by seconds to years, forth or back."""
        error_ns = self._rng.choice((-1, 1)) * self._rng.choice((2, 60, 86_400, 400 * 86_400)) * NS
        vehicle.set_clock(error_ns, synchronised=False)
        self._later(120, lambda: vehicle.set_clock(0, synchronised=True))

    def _smear(self, vehicle: Vehicle) -> None:
        """The clock runs slow, by so little at a time that nothing looks like a step, until it is a second back."""

        def slower(error_ns: int, end_ns: int) -> None:
            if not self._calm and vehicle.clock_error_ns == error_ns > end_ns:  # nobody else sets it
                vehicle.set_clock(error_ns - NS // 200, synchronised=True)
                self._world.at(NS // 2, lambda: slower(error_ns - NS // 200, end_ns))

        slower(vehicle.clock_error_ns, vehicle.clock_error_ns - NS)

    def _suspend(self, vehicle: Vehicle) -> None:
        """The machine sleeps: nothing runs, no frame is heard, and boot time goes on."""
        now = self._world.now_ns
        vehicle.asleep_until_ns = now + self._rng.choice((1, 20, 100)) * NS
        vehicle.silent.append((now, vehicle.asleep_until_ns))

    def _boot_in_1970(self, vehicle: Vehicle) -> None:
        vehicle.after_death.append("power 1970")
        vehicle.disk.dies_in = 0
        self._later(120, lambda: vehicle.set_clock(0, synchronised=True))

    def _park(self, vehicle: Vehicle) -> None:
        now = self._world.now_ns
        vehicle.silent.append((now, now + self._rng.randint(5, 150) * NS))

    def _change_schema(self, vehicle: Vehicle) -> None:
        vehicle.after_death.append("schema")
        vehicle.disk.dies_in = 0

    def _watch(self, vehicle: Vehicle) -> None:
        for connection in vehicle.link.connections:
            connection.send_down(pb.Down(watch=pb.Watch(lease_s=60)))
            connection.send_down(pb.Down(keyframe_now=pb.KeyframeNow()))

    # What is stored on a vehicle

    def _damage_row(self, vehicle: Vehicle) -> None:
        vehicle.after_death.append("row")
        vehicle.disk.dies_in = self._rng.randint(0, 20)

    def _damage_journal(self, vehicle: Vehicle) -> None:
        vehicle.after_death.append("journal")
        vehicle.disk.dies_in = self._rng.randint(0, 20)

    def _damage_outbox(self, vehicle: Vehicle) -> None:
        vehicle.after_death.append("page")
        vehicle.disk.dies_in = self._rng.randint(0, 20)

    def _restore_image(self, vehicle: Vehicle) -> None:
        """Take an image now, and restore it later."""
        self._take_image(vehicle)
        self._later(200, lambda: vehicle.kill(power=True, then="image"))

    def _take_image(self, vehicle: Vehicle) -> Path:
        folder = self._world.folder / f"image-{vehicle.name}-{self._world.now_ns}"
        vehicle.image(folder)
        self._images[vehicle.name] = (folder, dict(vehicle.committed))
        return folder

    def _clone(self, vehicle: Vehicle) -> None:
        """A second machine with the same identity, and the same outbox."""
        if len(self._world.vehicles) >= VEHICLES_MAX:
            return
        twin = self._world.add_vehicle(vehicle.identity, twin=True)
        twin.restore(self._take_image(vehicle))
        twin.rate_hz, twin.variant = vehicle.rate_hz, vehicle.variant
        twin.synchronous, twin.quota_bytes = vehicle.synchronous, vehicle.quota_bytes
        twin.committed, twin.lenient = dict(vehicle.committed), vehicle.lenient
        twin.start()

    def after_death(self, vehicle: Vehicle, fate: str) -> None:
        """What happens to a machine whose agent is dead."""
        if fate == "image":
            folder, committed = self._images[vehicle.name]
            vehicle.restore(folder)
            vehicle.committed = dict(committed)
            self._world.note(vehicle.name, "was restored from an image")
        elif fate == "page":
            self._garble(Path(vehicle.outbox_path))
        elif Path(vehicle.outbox_path).exists():
            self._garble_row(vehicle.outbox_path, "batches" if fate == "row" else "journal")

    def _garble_row(self, path: str, table: str) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            key = "position" if table == "batches" else "slot"
            with contextlib.suppress(sqlite3.DatabaseError):  # it died before there was a table
                rows = db.execute(
                    f"SELECT {key}, content FROM {table} ORDER BY {key} DESC LIMIT 8"
                ).fetchall()
                for row, content in rows[: self._rng.randint(1, 2)]:
                    db.execute(
                        f"UPDATE {table} SET content = ? WHERE {key} = ?", (flipped(self._rng, content), row)
                    )

    def _garble(self, path: Path) -> None:
        """A page of the file, or a bit."""
        if not path.exists():
            return
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = path.read_bytes()
        if len(content) < PAGE_BYTES:
            return
        if self._rng.random() < BIT_SHARE:
            path.write_bytes(flipped(self._rng, content))
            return
        with path.open("r+b") as file:
            file.seek(self._rng.randrange(len(content) // PAGE_BYTES) * PAGE_BYTES)
            file.write(self._rng.randbytes(PAGE_BYTES))

    # Blocks on their way

    def _damage_blocks(self, _vehicle: Vehicle) -> None:
        self._spoil_odds = self._rng.choice((0.1, 0.5, 1.0))
        self._later(20, self._unspoil)

    def _forge_blocks(self, _vehicle: Vehicle) -> None:
        """Some of the next blocks, whenever they come."""
        self._forge_left = self._rng.choice((2, 4, 8))

    def _unspoil(self) -> None:
        self._spoil_odds = 0.0

    def on_the_way(self, identity: str, info: pb.StreamInfo, message: pb.Up) -> pb.Up:
        """A batch as it arrives: changed by somebody's bad memory, since TLS covers the wire."""
        seq, block = message.batch.seq, message.batch.block
        kind, changed = "spoiled", None
        if self._spoil_odds and self._rng.random() < self._spoil_odds:
            changed = flipped(self._rng, block)
        elif self._forger is not None:
            wanted = self._forge_left > 0 and self._rng.random() < FORGE_ODDS
            kind, changed = "forged", self._forger.forged(info, seq, block, wanted=wanted)
            self._forge_left -= changed is not None
        if changed is None:
            return message
        self._world.truths[identity].spoiled.add(info.stream_id)
        self._world.note("fault", f"{kind} {info.stream_no}/{seq} of {identity}")
        arrives = pb.Up()
        arrives.CopyFrom(message)
        arrives.batch.block = changed
        return arrives

    # The collector

    def _kill_station(self, _vehicle: Vehicle) -> None:
        self._world.station.disk.dies_in = self._rng.randint(0, 80)

    def _power_station(self, _vehicle: Vehicle) -> None:
        self._world.station.after_death.append("power")
        self._world.station.disk.dies_in = self._rng.randint(0, 80)

    def _station_full(self, _vehicle: Vehicle) -> None:
        self._refuse(self._world.station, self._rng.choice((FULL, IOERR_WRITE, IOERR_FSYNC)), 30)

    def _change_rules(self, _vehicle: Vehicle) -> None:
        self._world.station.after_death.append("rules")
        self._world.station.disk.dies_in = 0

    def _reload_rules(self, _vehicle: Vehicle) -> None:
        self._world.station.change_rules(car.RULES[self._rng.randrange(len(car.RULES))])

    def _restore_backup(self, _vehicle: Vehicle) -> None:
        """Take a backup now, and restore it later."""
        station = self._world.station
        folder = self._world.folder / f"backup-{self._world.now_ns}"
        folder.mkdir()
        for file in station.disk.folder.glob("store.db*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder / file.name)
        self._later(200, lambda: station.kill(f"backup {folder}"))

    def station_after_death(self, station: Station, fate: str) -> None:
        if fate == "power":
            lost = station.disk.lose_power(self._rng)
            self._world.note("collector", f"lost power, and {lost} writes")
        elif fate == "rules":
            station.rules = car.RULES[self._rng.randrange(len(car.RULES))]
        else:
            self._world.checker.backup_comes()
            station.disk.close()
            for file in station.disk.folder.glob("store.db*"):
                file.unlink()
            for file in Path(fate.removeprefix("backup ")).iterdir():
                shutil.copy(file, station.disk.folder / file.name)
            self._world.note("collector", "its store was restored from a backup")

    # Peers

    def _replay(self, vehicle: Vehicle) -> None:
        """What a vehicle said on its connection is said once more, on another one."""
        for said in [list(connection.sent_up) for connection in vehicle.link.connections]:
            self._say(said)

    def _hostile(self, vehicle: Vehicle) -> None:
        """Under a name of its own, with the other's streams: garbage, and things out of order."""
        said = [message for connection in vehicle.link.connections for message in connection.sent_up]
        messages = [pb.Up.FromString(message) for message in said]
        for message in messages:
            if message.HasField("hello"):
                message.hello.vehicle = "asset:hostile"
            if message.HasField("batch") and self._rng.random() < 0.5:
                message.batch.block = self._rng.randbytes(self._rng.randint(0, 60))
        hello = pb.Up(hello=pb.Hello(protocol=1, vehicle="asset:hostile", outbox_id=bytes(16)))
        rest = [message for message in messages if not message.HasField("hello")]
        self._rng.shuffle(rest)
        self._say([message.SerializeToString() for message in [hello, *rest]])

    def _say(self, said: list[bytes]) -> None:
        world = self._world
        if world.station.process is None:
            return
        connection = Connection(world, world.vehicles[0].link, lambda _: None, lambda _: None)
        world.station.accept(connection, world.vehicles[0].link)
        for message in said:
            connection.send_up(pb.Up.FromString(message))
        world.at(30 * NS, lambda: connection.leave(cleanly=True))
