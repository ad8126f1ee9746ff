"""A real collector and a real agent in processes of their own, with a road between them, and what both take up.

Whether what they take up grows is a pure judgement of the samples: see `Growth`.
"""

from __future__ import annotations

import re
import sqlite3
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from codec.schema import NS
from demo.processes import Program, until
from demo.proxy import Proxy, Road
from demo.settings import toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

VEHICLE = "asset:benchmark"
START_S = 120.0  # a busy machine compiles and starts within this
WARM_SHARE = 0.3  # of the samples: caches fill, code is compiled
RSS_GROWTH_MAX = 8 << 20  # between two thirds of what is left: allocators breathe
FDS_GROWTH_MAX = 2
SAMPLES_MIN = 12
_LISTENING = re.compile(r"listening.*?127\.0\.0\.1:(\d+)")


class PairError(RuntimeError):
    """One of the two did not start or ended early; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    rss_bytes: int
    fds: int
    cpu_s: float


def warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Those after the warm-up."""
    return samples[round(len(samples) * WARM_SHARE) :]


@dataclass(frozen=True, slots=True)
class Growth:
    """From the first to the last third of the samples, those of the warm-up left out. Medians: one peak is no growth."""

    rss_bytes: int
    fds: int
    rss_bytes_max: int
    fds_max: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Growth:
        """Raises ValueError where there are too few to judge."""
        if len(samples) < SAMPLES_MIN:
            raise ValueError(f"{len(samples)} samples tell nothing; measure for longer")
        settled = warm(samples)
        third = len(settled) // 3
        first, last = settled[:third], settled[-third:]
        return cls(
            round(
                statistics.median(s.rss_bytes for s in last) - statistics.median(s.rss_bytes for s in first)
            ),
            round(statistics.median(s.fds for s in last) - statistics.median(s.fds for s in first)),
            max(s.rss_bytes for s in samples),
            max(s.fds for s in samples),
        )

    @property
    def flat(self) -> bool:
        return self.rss_bytes <= RSS_GROWTH_MAX and self.fds <= FDS_GROWTH_MAX


class Pair:
    """`await open()`, `start_agent(...)`, `sample()` now and then, `await close()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "collector.db"
        self.outbox = folder / "outbox.db"
        self.agent_samples: list[Sample] = []
        self.collector_samples: list[Sample] = []
        self._collector = Program([], folder, folder / "collector.log")
        self._agent = Program([], folder, folder / "agent.log")
        self._proxy: Proxy | None = None
        self._port = 0

    async def open(self) -> None:
        """The collector, and a road to it. Raises PairError."""
        settings = self.folder / "collector.toml"
        settings.write_text(f'listen = "127.0.0.1:0"\nstore = "{self.store}"\nack_within_s = 5.0\n')
        self._collector.start([sys.executable, "-m", "collector", "serve", "--config", str(settings)])
        await until(lambda: self._listening() > 0 or not self._collector.running, START_S)
        if not self._listening():
            raise PairError(f"the collector did not start:\n{self._collector.tail()}")
        self._proxy = Proxy("127.0.0.1", self._listening())
        self._port = await self._proxy.lay(VEHICLE)

    def settings(self, document: Mapping[str, Any]) -> Path:
        """The agent's configuration, written: `document` and where to send."""
        path = self.folder / "agent.toml"
        whole = {
            "vehicle": {"id": VEHICLE},
            "collector": {"address": f"127.0.0.1:{self._port}"},
            "outbox": {"path": str(self.outbox)},
        }
        path.write_text(toml(whole | dict(document)))
        return path

    def start_agent(self, settings: Path, python: Sequence[str] = (sys.executable,)) -> None:
        self._agent.start([*python, "-m", "edge_agent", "run", "--config", str(settings)])

    async def stop_agent(self) -> None:
        await self._agent.stop()

    async def cut(self, *, refused: bool) -> None:
        """Cut the road, or open it again."""
        assert self._proxy is not None
        await self._proxy.set_road(VEHICLE, Road.REFUSED if refused else Road.OPEN)

    def sample(self) -> None:
        """One more sample of each. Raises PairError where one has ended."""
        self.collector_samples.append(_sample(self._collector))
        self.agent_samples.append(_sample(self._agent))

    def stored(self) -> tuple[int, int] | None:
        """(stream_no, seq) of the last batch that the store has."""
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as db:
            row = db.execute("SELECT stored_stream_no, stored_seq FROM outboxes").fetchone()
        db.close()
        return None if row is None or row[0] is None else (row[0], row[1])

    def records(self, stream_no: int) -> tuple[int, int]:
        """Records and gaps that the store has of a stream."""
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as db:
            (records,) = db.execute(
                "SELECT coalesce(sum(record_count), 0) FROM batches WHERE stream_no = ?", (stream_no,)
            ).fetchone()
            (gaps,) = db.execute("SELECT count(*) FROM gaps").fetchone()
        db.close()
        return records, gaps

    async def close(self) -> None:
        await self._agent.stop()
        if self._proxy is not None:
            await self._proxy.close()
        await self._collector.stop()

    def _listening(self) -> int:
        """The port, or 0 while there is none."""
        output = self._collector.output
        found = _LISTENING.search(output.read_text(errors="replace")) if output.exists() else None
        return int(found[1]) if found else 0


def _sample(program: Program) -> Sample:
    if not program.running:
        raise PairError(f"{program.output.stem} has ended:\n{program.tail()}")
    process = psutil.Process(program.pid)
    with process.oneshot():
        times = process.cpu_times()
        return Sample(
            time.monotonic_ns() / NS, process.memory_info().rss, process.num_fds(), times.user + times.system
        )
