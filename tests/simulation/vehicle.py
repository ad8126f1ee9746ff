"""A machine with a disk, a bus and two clocks, on which an agent lives, dies and is started again."""

from __future__ import annotations

import contextlib
import random
import shutil
from bisect import bisect_right
from typing import TYPE_CHECKING

from codec.schema import NS
from codec.stream import Clock
from decoder.frames import Frames
from edge_agent.capture import Settings
from edge_agent.clock import Door, Instant
from edge_agent.errors import OutboxBusy
from edge_agent.pipeline import BlockTicks
from tests.simulation import car
from tests.simulation.agent import Agent
from tests.simulation.network import Link

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulation.truth import Truth
    from tests.simulation.world import World

WALL_EPOCH_NS = 1_800_000_000 * NS  # the true time at which a simulation begins
SINCE_1970_NS = -1_799_999_000 * NS  # what a clock is wrong by that was never set
READ_NS = 3_000_000  # a frame is read so long after it was stamped
BOOT_TO_START_NS = 3 * NS


class Vehicle:
    """`identity`: the vehicle's name; twins share it, and what is true of it."""

    def __init__(self, world: World, name: str, identity: str, truth: Truth, folder: Path) -> None:
        self.world, self.name, self.identity, self.truth = world, name, identity, truth
        rng = self.rng = random.Random(world.rng.random())
        self.disk = world.add_disk(folder)
        self.link = Link(world)
        self.outbox_path = str(folder / "outbox.db")
        self.rate_hz = rng.choice((1, 1, 2))
        self.variant = 0
        self.step_ns = rng.choice((2, 5, 10)) * NS
        self.synchronous = "FULL" if rng.random() < 0.8 else "NORMAL"
        self.quota_bytes = 1 << 30
        self.loss_max_s = rng.choice((1, 5, 10))
        self.block_s = rng.choice((5, 10, 20))
        self.driven = car.drive(rng.getrandbits(32), 1200)
        self.asleep_until_ns = 0
        self.silent: list[tuple[int, int]] = []  # from and until, world time
        self.agent: Agent | None = None
        self.lives = 0
        self.committed: dict[bytes, int] = {}  # records by stream_id that its outbox has taken
        self.lenient = False  # it may have lost commits, and said so
        self.gone = False
        self.after_death: list[str] = []  # what happens to the machine before the agent is started again
        self._asides: set[str] = set()
        self._door = Door()
        self._booted_ns = 0
        self._boot_id = b""
        self._errors: list[tuple[int, int, bool]] = []  # (since, wall clock's error in ns, synchronised)
        self.boot()

    # Clocks

    def boot(self, *, in_1970: bool = False) -> None:
        self._booted_ns = self.world.now_ns - BOOT_TO_START_NS
        self._boot_id = self.rng.randbytes(16)
        self._errors = [(self.world.now_ns, SINCE_1970_NS if in_1970 else 0, not in_1970)]
        self._learn_offset()

    @property
    def clock_error_ns(self) -> int:
        return self._errors[-1][1]

    def set_clock(self, error_ns: int, *, synchronised: bool) -> None:
        self._errors.append((self.world.now_ns, error_ns, synchronised))
        self._learn_offset()

    def _learn_offset(self) -> None:
        if (clock := self.clock()).synchronised:
            self.truth.clock_offsets.add(clock.offset_ns)

    def boot_ns(self, at_ns: int) -> int:
        return at_ns - self._booted_ns

    def wall_ns(self, at_ns: int) -> int:
        since = bisect_right(self._errors, (at_ns, 1 << 63, True)) - 1
        return WALL_EPOCH_NS + at_ns + self._errors[max(since, 0)][1]

    def clock(self) -> Clock:
        """What a keyframe would say of the time now."""
        now = self.world.now_ns
        return Clock(self.wall_ns(now) - self.boot_ns(now), self._errors[-1][2])

    # The bus

    def frames(self, from_ns: int, until_ns: int) -> tuple[Frames, list[int]]:
        """What was read from `from_ns` on, one frame in the middle before each tick; and those ticks."""
        period = car.period_ns(self.rate_hz)
        rows, ticks = [], []
        tick = max(1, (self.boot_ns(from_ns) - READ_NS + period // 2) // period + 1)
        while True:
            stamped_ns = self._booted_ns + tick * period - period // 2
            read_ns = stamped_ns + READ_NS
            if read_ns > until_ns:
                break
            if not any(start <= stamped_ns < stop for start, stop in self.silent):
                at = self._door.to_boottime(
                    self.wall_ns(stamped_ns), Instant(self.boot_ns(read_ns), self.wall_ns(read_ns))
                )
                rows.append((at, 0, car.FRAME_ID, car.payload(self.driven[tick % len(self.driven)])))
                ticks.append(tick)
            tick += 1
        return Frames.from_rows(rows), ticks

    # The agent

    def settings(self) -> Settings:
        ticks = BlockTicks.of_seconds(
            self.rate_hz,
            offline_s=30,
            online_s=self.block_s,
            watched_s=2,
            keyframe_s=30,
            loss_max_s=self.loss_max_s,
        )
        return Settings(
            path=self.outbox_path,
            synchronous=self.synchronous,
            quota_bytes=self.quota_bytes,
            ticks=ticks,
            park_after_ns=int(car.PARK_AFTER_S * NS),
            boot_id=self._boot_id,
        )

    def start(self) -> None:
        """Once the disk lets it."""
        if self.agent is not None or self.gone:
            return
        self.lives += 1
        self._door = Door()
        with contextlib.suppress(OutboxBusy):
            self.agent = Agent(self)
        if self.disk.frozen:
            if self.agent is not None:
                self.died(self.agent)
            else:
                self.disk.frozen = False
                self._fate()
        if self.agent is None:
            self.world.at(2 * NS, self.start)
            return
        self.world.note(self.name, f"starts, outbox {self.agent.capture.outbox.outbox_id.hex()[:6]}")
        self.world.checker.agent_started(self)

    def kill(self, *, power: bool = False, then: str = "") -> None:
        """Now."""
        self.after_death += [*(["power"] if power else []), *([then] if then else [])]
        if self.agent is not None:
            self.disk.frozen = True
            self.died(self.agent)
        else:
            self._fate()

    def died(self, agent: Agent) -> None:
        self.disk.frozen, self.disk.dies_in = True, None
        self.world.note(self.name, "died")
        agent.discard(vanish="power" in self.after_death)
        self.agent = None
        self.disk.frozen = False
        self._fate()
        self.world.at(self.world.rng.randint(NS // 10, 20 * NS), self.start)

    def _fate(self) -> None:
        """What happens to the machine while the agent is dead."""
        fates, self.after_death = self.after_death, []
        for fate in fates:
            if fate.startswith("power"):
                lost = self.disk.lose_power(self.world.rng)
                self.world.note(self.name, f"lost power, and {lost} writes")
                self.boot(in_1970="1970" in fate)
                if self.synchronous != "FULL":
                    self.lenient = True
            elif fate == "schema":
                self.variant = 1 - self.variant
            else:
                self.world.faults.after_death(self, fate)

    def count_lost_files(self) -> None:
        """What was in an outbox that is damaged and set aside, and was not sent, is gone."""
        asides = {path.name for path in self.disk.folder.glob("*.damaged-*")}
        if asides - self._asides:
            self.world.note(self.name, "set a damaged outbox aside")
            self.committed.clear()
        self._asides = asides

    def state(self) -> str:
        """For whoever wonders why it does not come to an end."""
        if self.agent is None:
            return "no agent"
        return f"left {self.agent.uplink.left}, {len(self.agent.commands)} commands, wanted {self.agent.uplink.wanted:#x}"

    # Images

    def image(self, folder: Path) -> None:
        """Copy the disk as it is now."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in self.disk.folder.glob("outbox.db*"):
            if not file.name.endswith(("-shm", ".lock")) and "damaged" not in file.name:
                shutil.copy(file, folder / file.name)

    def restore(self, folder: Path) -> None:
        """Nobody is using the disk."""
        self.disk.close()
        for file in self.disk.folder.glob("outbox.db*"):
            file.unlink()
        self._asides = set()
        for file in folder.glob("outbox.db*"):
            shutil.copy(file, self.disk.folder / file.name)
