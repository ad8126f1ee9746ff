"""The stage: a collector, a proxy in front of it, and an agent per vehicle, all in one folder."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.processes import Program, until
from demo.proxy import Proxy, Road
from demo.script import Act, Deed
from demo.settings import Drive, agent_toml, collector_toml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START_S = 60.0  # a slow machine compiles and starts within this
_LISTENING = re.compile(r"listening.*?127\.0\.0\.1:(\d+)")


class StageError(RuntimeError):
    """The demo cannot go on; the message says what to look at."""


@dataclass(slots=True)
class Actor:
    """One vehicle on the stage."""

    drive: Drive
    folder: Path
    agent: Program
    kills: int = 0
    status: int | None = None  # that its agent ended with by itself

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox.db"


class Stage:
    """`await open()` and `start(drives, epoch)`, then `perform(act)` as the script says, `close()` at the end."""

    def __init__(self, folder: Path, rules: Path | None) -> None:
        self.folder = folder
        self.store = folder / "collector.db"
        self.actors: list[Actor] = []
        self._rules = rules
        self._port = 0
        self.collector = Program([], folder, folder / "collector.log")
        self._proxy: Proxy | None = None

    @property
    def proxy(self) -> Proxy:
        assert self._proxy is not None
        return self._proxy

    async def open(self) -> None:
        """The collector, and a road to it. Raises StageError."""
        await self._start_collector()
        self._proxy = Proxy("127.0.0.1", self._port)

    async def start(self, drives: Sequence[Drive], epoch: float) -> None:
        """An agent for each drive; the drives begin at `epoch`."""
        for drive in drives:
            port = await self.proxy.lay(drive.vin)
            folder = self.folder / drive.name
            folder.mkdir(parents=True)
            settings = folder / "agent.toml"
            outbox = folder / "outbox.db"
            settings.write_text(agent_toml(drive, address=f"127.0.0.1:{port}", outbox=outbox, epoch=epoch))
            command = [sys.executable, "-m", "edge_agent", "run", "--config", str(settings)]
            agent = Program(command, folder, folder / "agent.log")
            agent.start()
            self.actors.append(Actor(drive, folder, agent))

    async def perform(self, act: Act) -> None:
        """One deed of the script. Raises StageError."""
        victim = self.actors[0]
        match act.deed:
            case Deed.REFUSE:
                await self._set_roads(Road.REFUSED)
            case Deed.SILENCE:
                await self._set_roads(Road.SILENT)
            case Deed.RESTORE:
                await self._set_roads(Road.OPEN)
            case Deed.KILL_AGENT:
                if victim.agent.running:
                    victim.agent.kill()
                    victim.kills += 1
            case Deed.START_AGENT:
                if victim.agent.killed:
                    victim.agent.start()
            case Deed.KILL_COLLECTOR:
                self.collector.kill()
            case Deed.START_COLLECTOR:
                await self._start_collector()

    async def close(self) -> None:
        """Ends everything that was started here, agents first."""
        for actor in self.actors:
            actor.status = actor.agent.status
            await actor.agent.stop()
        if self._proxy is not None:
            await self._proxy.close()
        await self.collector.stop()

    async def _set_roads(self, road: Road) -> None:
        for actor in self.actors:
            await self.proxy.set_road(actor.drive.vin, road)

    async def _start_collector(self) -> None:
        """Start it, on the port it had before if it ran before, and wait until it listens."""
        collector = self.collector
        begin = collector.output.stat().st_size if collector.output.exists() else 0
        collector.start(self._collector_command())
        await until(lambda: self._port_since(begin) is not None or not collector.running, START_S)
        port = self._port_since(begin)
        if port is None:
            raise StageError(
                f"the collector did not start; the end of {collector.output}:\n{collector.tail()}"
            )
        self._port = port

    def _port_since(self, begin: int) -> int | None:
        """Where the collector says it listens, in what it wrote after the first `begin` bytes."""
        with self.collector.output.open("rb") as output:
            output.seek(begin)
            found = _LISTENING.search(output.read().decode(errors="replace"))
        return int(found[1]) if found else None

    def _collector_command(self) -> list[str]:
        """Port 0 the first time: any that is free."""
        settings = self.folder / "collector.toml"
        settings.write_text(collector_toml(self._port, self.store, self._rules))
        return [sys.executable, "-m", "collector", "serve", "--config", str(settings)]
