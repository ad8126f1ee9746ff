"""`make demo ARGS="--scenario dyno"`: a factory's test stand of 100 units, through the same agents, codec, store and rules as vehicles.

HOSTS processes run the agents, 25 in each. Exit status 0 only if everything that the stand sampled arrived whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from collector import times
from collector.rules import load_rules
from collector.store import StoreError, open_store
from demo import line, stand_units
from demo.judge import Case, judge
from demo.processes import Program, until
from demo.settings import Drive
from demo.stage import StageError
from demo.stand_units import Fate
from demo.warm import warm_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from collector.store import Store
    from demo.line import UnitResult
    from demo.stand_units import StandUnit
    from demo.verdict import Verdict

DATA = Path(os.environ.get("DEADRECKON_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CMAPSS = DATA / "cmapss" / "train_FD001.txt"
HOSTS = 4
DRIVE_S = 45.0  # wall time of the longest test
READY_S = 8.0  # what a host takes to start on a core of its own, with its agents
START_S = 60.0
ARRIVE_S = 60.0
LOOK_EVERY_S = 0.2
_LISTENING = re.compile(r"listening.*?127\.0\.0\.1:(\d+)")


@dataclass(slots=True)
class Watched:
    """What was seen of the store while the stand ran."""

    latency_s: list[float] = field(default_factory=list)  # from a cycle on the stand to its flag in the store
    flagged: set[str] = field(default_factory=set)


def units() -> tuple[list[StandUnit], str]:
    """The units, and where they are from."""
    try:
        return stand_units.from_cmapss(
            CMAPSS.read_text()
        ), f"100 engines of NASA's C-MAPSS FD001, from {CMAPSS}"
    except (OSError, ValueError):
        return (
            stand_units.made_up(),
            f"100 made-up units: C-MAPSS is not at {CMAPSS} (DEADRECKON_DATA names the folder)",
        )


async def run(folder: Path, console: Console, *, wall_s: float | None, report: Path | None) -> int:
    """The exit status. Raises StageError."""
    began = time.monotonic()
    tested, source = units()
    console.print(source, soft_wrap=True)
    console.print(
        f"{_count(tested, Fate.REFERENCE)} are references, from which an Isolation Forest learns what is usual; of the others "
        f"{_count(tested, Fate.FAILS)} run until they fail, and {_count(tested, Fate.LEAVES)} leave after {stand_units.SHORT} cycles",
        soft_wrap=True,
    )
    dbc = line.write_logs(tested, folder)
    model = line.learn(tested, times.to_text(time.time_ns()))
    model_path = folder / f"{model.id}.forest"
    model_path.write_bytes(model.to_bytes())
    warm_up(dbc)
    stand = Stand(folder, tested, wall_s or DRIVE_S)
    try:
        watched = await stand.run(model_path, console)
    finally:
        await stand.close()
    console.print("comparing what was sampled with what the collector gives back")
    store = open_store(stand.store)
    verdicts = stand.judged(store)
    results = stand.results(store)
    whole = all(verdict.ok for verdict in verdicts)
    seconds = time.monotonic() - began
    _report(console, results, verdicts, watched, whole=whole, wall_s=seconds)
    if report is not None:
        _write(report, _document(results, verdicts, watched, source, whole, seconds))
    return 0 if whole else 1


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _count(tested: Sequence[StandUnit], fate: Fate) -> int:
    return sum(unit.fate is fate for unit in tested)


class Stand:
    """A collector, and the agents of all units, in one folder."""

    def __init__(self, folder: Path, tested: Sequence[StandUnit], wall_s: float) -> None:
        self.folder = folder
        self.store = folder / "collector.db"
        self.tested = tested
        self.rules = folder / "rules.toml"
        self.speed = max(len(unit.values) for unit in tested) / wall_s
        self.collector = Program([], folder, folder / "collector.log")
        self.hosts: list[Program] = []
        self.ended: dict[str, int | None] = {}  # status of its host, by unit

    async def run(self, model: Path, console: Console) -> Watched:
        """Until every agent has ended, or long past its time. Raises StageError."""
        self.rules.write_text(line.RULES)
        settings = self.folder / "collector.toml"
        settings.write_text(line.collector_settings(self.store, self.rules, model))
        self.collector.start([sys.executable, "-m", "collector", "serve", "--config", str(settings)])
        output = self.collector.output
        await until(
            lambda: bool(_LISTENING.search(output.read_text())) or not self.collector.running, START_S
        )
        found = _LISTENING.search(output.read_text())
        if found is None:
            raise StageError(f"the collector did not start; the end of {output}:\n{self.collector.tail()}")
        ready_s = READY_S * max(1.0, HOSTS / (os.cpu_count() or 1))
        epoch = time.time_ns() / 1e9 + ready_s
        console.print(
            f"{HOSTS} processes with {len(self.tested) // HOSTS} agents each start; in {ready_s:.0f} s the stand runs, "
            f"{self.speed:.1f} cycles a second"
        )
        for number in range(HOSTS):
            mine = self.tested[number::HOSTS]
            paths = []
            for unit in mine:
                path = self.folder / f"{unit.name}.toml"
                path.write_text(
                    line.agent_settings(unit, self.folder, f"127.0.0.1:{found[1]}", epoch, self.speed)
                )
                paths.append(str(path))
            host = Program(
                [sys.executable, "-m", "demo.stand", *paths], self.folder, self.folder / f"host-{number}.log"
            )
            host.start()
            self.hosts.append(host)
        return await self._watch(epoch, console)

    async def _watch(self, epoch: float, console: Console) -> Watched:
        watched = Watched()
        deadline = epoch + max(len(unit.values) for unit in self.tested) / self.speed + ARRIVE_S
        store: Store | None = None
        while any(host.running for host in self.hosts) and time.time_ns() / 1e9 < deadline:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                store = store or open_store(self.store)
                self._look(store, epoch, watched, console)
            except StoreError:
                continue  # being made, or held for a moment
        return watched

    def _look(self, store: Store, epoch: float, watched: Watched, console: Console) -> None:
        """New flags, and how long they took from the cycle that shows them."""
        rows = [row for row in store.anomalies() if row["vin"] not in watched.flagged]
        now_s = time.time_ns() / 1e9
        for row in rows:
            if row["vin"] in watched.flagged:
                continue
            watched.flagged.add(row["vin"])
            cycle = row["first_tick"] - _start_tick()
            latency_s = now_s - (epoch + cycle / self.speed)
            watched.latency_s.append(latency_s)
            console.print(
                f"  {row['vin'].removeprefix('asset:')} flagged at cycle {cycle + 1}, confidence {row['confidence']:.4f}, "
                f"{row['signal']} leads; {latency_s:.1f} s after it was on the stand"
            )

    async def close(self) -> None:
        for number, host in enumerate(self.hosts):
            status = host.status
            await host.stop()
            for unit in self.tested[number::HOSTS]:
                self.ended[unit.name] = status
        await self.collector.stop()

    def judged(self, store: Store) -> list[Verdict]:
        """What each agent sampled against what is stored."""
        rules = load_rules(self.rules)
        return [
            judge(
                Case(self._drive(unit), self.folder / f"{unit.name}.db", 0, 0, self.ended[unit.name]),
                store,
                rules,
            )
            for unit in self.tested
        ]

    def _drive(self, unit: StandUnit) -> Drive:
        log, dbc = self.folder / f"{unit.name}.log", self.folder / "stand.dbc"
        return Drive(unit.vehicle, unit.name, "stand 1", log, (dbc,), self.speed, unit.fate.value)

    def results(self, store: Store) -> list[UnitResult]:
        anomalies, faults = store.anomalies(), store.faults()
        return [
            line.result(
                unit,
                ended=self.ended[unit.name] == 0,
                anomalies=[row for row in anomalies if row["vin"] == unit.vehicle],
                faults=[row for row in faults if row["vin"] == unit.vehicle],
                first_tick=_start_tick(),
            )
            for unit in self.tested
        ]


def _start_tick() -> int:
    """Of the first cycle: a record a second, in Unix time."""
    return times.from_text(line.START, 0) // times.NS


def _report(
    console: Console,
    results: Sequence[UnitResult],
    verdicts: Sequence[Verdict],
    watched: Watched,
    *,
    whole: bool,
    wall_s: float,
) -> None:
    table = Table(title="Units that do not pass, and the first ten that do")
    for heading in (
        "unit",
        "fate",
        "cycles",
        "verdict",
        "flagged at",
        "before it failed",
        "confidence",
        "by",
    ):
        table.add_column(heading, no_wrap=True)
    passed = [one for one in results if one.verdict == "pass"][:10]
    styles = {"pass": "green", "hold": "red", "testing": "yellow"}
    for one in [*(one for one in results if one.verdict != "pass"), *passed]:
        table.add_row(
            one.unit.name,
            one.unit.fate.value,
            str(len(one.unit.values)),
            Text(one.verdict, style=styles[one.verdict]),
            "-" if one.flagged_cycle is None else str(one.flagged_cycle),
            "-" if one.lead is None else f"{one.lead} cycles",
            "-" if one.confidence is None else f"{one.confidence:.4f}",
            one.why,
        )
    console.print(table)
    found = line.summary(results)
    rate = "-" if found["yield"] is None else f"{found['yield']:.0%}"
    console.print(
        f"yield {rate}: {found['passed']} pass, {found['held']} hold, {found['testing']} testing (the {len(results)} units less the references)"
    )
    lead = (
        ""
        if found["lead_cycles_median"] is None
        else f", {found['lead_cycles_median']:.0f} cycles before as a median, {found['lead_cycles_least']} at least"
    )
    console.print(
        f"of {found['failing']} units that failed, {found['failing_flagged_before']} were flagged in the {line.WEAR_SEEN} cycles before{lead}, "
        f"{found['failing_flagged_too_early']} before there was wear to be seen; "
        f"of {found['leaving_healthy']} that left healthy, {found['healthy_held']} were held"
    )
    if watched.latency_s:
        console.print(
            f"latency from the cycle on the stand to its flag in the store: median {np.median(watched.latency_s):.1f} s, "
            f"most {max(watched.latency_s):.1f} s (blocks of {line.BLOCK_S:g} cycles)"
        )
    for verdict in verdicts:
        for complaint in verdict.complaints():
            console.print(f"[red]{verdict.model}: {complaint}[/]", soft_wrap=True)
    records = sum(verdict.records_sampled for verdict in verdicts)
    end = "[bold green]everything arrived whole[/]" if whole else "[bold red]not everything arrived whole[/]"
    console.print(f"{records:,} records of {len(verdicts)} units: {end} after {wall_s:.0f} s")


def _document(
    results: Sequence[UnitResult],
    verdicts: Sequence[Verdict],
    watched: Watched,
    source: str,
    whole: bool,
    wall_s: float,
) -> dict[str, Any]:
    """For --json."""
    latencies = sorted(watched.latency_s)
    return {
        **line.summary(results),
        "source": source,
        "latency_s_median": float(np.median(latencies)) if latencies else None,
        "latency_s_max": latencies[-1] if latencies else None,
        "by_unit": [
            {
                "vehicle": one.unit.vehicle,
                "fate": one.unit.fate.value,
                "cycles": len(one.unit.values),
                "verdict": one.verdict,
                "flagged_cycle": one.flagged_cycle,
                "lead_cycles": one.lead,
                "confidence": one.confidence,
                "why": one.why,
                "records_sampled": verdict.records_sampled,
                "records_stored": verdict.comparison.stored,
                "whole": verdict.ok,
            }
            for one, verdict in zip(results, verdicts, strict=True)
        ],
        "ok": whole,
        "wall_s": round(wall_s, 1),
    }
