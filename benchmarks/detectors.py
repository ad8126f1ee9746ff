"""Precision, recall and lead time of detectors on labelled records: `python -m benchmarks.detectors [--json F]`.

An alarm is a run of seconds (cycles) beyond the limit, with QUIET quiet ones at most between two of them. It is true if it begins where
the unit is faulty, else false. Where a fault is not over at once, several alarms may be true.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks import labelled
from benchmarks.scorers import Scorer, scorers
from benchmarks.screen import console, write_json
from codec.records import Records
from codec.schema import Schema, Signal
from collector.detectors import training
from collector.detectors.detection import Detection, Detectors
from collector.detectors.forest import Header
from collector.detectors.settings import DetectorSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.labelled import Labelled, Unit

QUIET = 10
CANDIDATES = 2000  # limits that are tried, from the highest score down
COST_BLOCKS = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """The names are the keys of the JSON."""

    data: str
    detector: str
    limit: float
    tuned: bool  # on units of its own; else the default limit
    precision: float | None
    precision_by_chance: float  # of one that fires at random
    recall: float
    lead_time: float | None  # median, from a unit's first true alarm to the end of its fault (failure)
    delay: float | None  # median, from the beginning of the fault
    false_alarms_per_100_healthy: float
    alarms: int
    units_faulty: int
    units: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one core, in process time."""

    detectors: str
    block_s: int
    microseconds_per_block: float
    window_bytes: int  # of a vehicle


def alarms(scores: NDArray[np.float64], limit: float) -> list[int]:
    """Where they begin."""
    beyond = np.flatnonzero(scores > limit)
    return [int(at) for at in beyond[np.diff(beyond, prepend=-QUIET - 2) > QUIET + 1]]


def tuned_limit(scored: Sequence[tuple[Unit, NDArray[np.float64]]], false_per_100: float) -> float:
    """The least limit from which on upwards none has more false alarms than that."""
    values = np.concatenate([_healthy(unit, scores) for unit, scores in scored])
    limits = np.quantile(values[~np.isnan(values)], np.linspace(1, 0, CANDIDATES))
    # Not the least of all: far below, everything is one long alarm.
    allowed = itertools.takewhile(lambda limit: _false_per_100(scored, limit) <= false_per_100, limits)
    return float(min(allowed, default=limits[0]))


def _healthy(unit: Unit, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """With NaN where the unit is faulty, or after it."""
    kept = scores.copy()
    if unit.faulty is not None:
        kept[unit.faulty[0] :] = np.nan
    return kept


def _false_per_100(scored: Sequence[tuple[Unit, NDArray[np.float64]]], limit: float) -> float:
    healthy = [_healthy(unit, scores) for unit, scores in scored]
    count = sum(len(alarms(scores, limit)) for scores in healthy)
    return 100 * count / max(1, sum(int((~np.isnan(scores)).sum()) for scores in healthy))


def measure(data: Labelled, scorer: Scorer) -> list[Row]:
    """At the default limit, and at the tuned one."""
    tune = [(unit, scorer.score(unit)) for unit in data.tune]
    scored = [(unit, scorer.score(unit)) for unit in data.measure]
    return [
        _row(data, scorer.name, scored, limit, tuned=tuned)
        for limit, tuned in ((scorer.limit, False), (tuned_limit(tune, data.false_per_100), True))
    ]


def _row(
    data: Labelled,
    name: str,
    scored: Sequence[tuple[Unit, NDArray[np.float64]]],
    limit: float,
    *,
    tuned: bool,
) -> Row:
    true = false = found = seconds = faulty_seconds = 0
    leads, delays = [], []
    for unit, scores in scored:
        first, end = unit.faulty or (unit.length, unit.length)
        began = [at for at in alarms(scores, limit) if at < end]  # what comes after a fault is neither
        hits = [at for at in began if at >= first]
        true, false = true + len(hits), false + len(began) - len(hits)
        if hits:
            found += 1
            leads.append(end - hits[0])
            delays.append(hits[0] - first)
        known = ~np.isnan(scores[:end])
        seconds += int(known.sum())
        faulty_seconds += int(known[first:].sum())
    faulty = sum(unit.faulty is not None for unit, _ in scored)
    return Row(
        data=data.name,
        detector=name,
        limit=limit,
        tuned=tuned,
        precision=true / (true + false) if true + false else None,
        precision_by_chance=faulty_seconds / max(seconds, 1),
        recall=found / faulty,
        lead_time=float(np.median(leads)) if leads else None,
        delay=float(np.median(delays)) if delays else None,
        false_alarms_per_100_healthy=_false_per_100(scored, limit),
        alarms=true + false,
        units_faulty=faulty,
        units=len(scored),
    )


def cost() -> list[Cost]:
    """A vehicle of 30 measurements at 50 Hz that stays within its limits; every block is scored whole."""
    schema = Schema(50, tuple(Signal(f"Signal{n}", unit="V", threshold=5.0) for n in range(30)))
    random = np.random.default_rng(1)
    header = Header(
        "cost", 1, "", "", (), 1, 1.0, 1, training.features([(f"Signal{n}", "V") for n in range(8)])
    )
    forest = training.fit(header, random.normal(0, 2.5, (2000, 8)), random.normal(0, 2.5, (1000, 8)))
    rows = []
    for name, settings, forests in (
        ("z-score", DetectorSettings(), ()),
        ("z-score, robust", DetectorSettings(robust=True), ()),
        ("z-score, forest of 100 trees over 8 signals", DetectorSettings(confidence=0.9999), (forest,)),
    ):
        for block_s in (1, 10):
            detection = Detection(Detectors(settings, forests), schema, 0)
            counts = random.integers(-4, 5, (50 * block_s, 30))
            states = np.zeros(counts.shape, np.uint8)
            for block in range(200):
                detection.take(Records(block * len(counts), counts, states))
            begun = time.process_time()
            for block in range(200, 200 + COST_BLOCKS):
                detection.take(Records(block * len(counts), counts, states))
            spent = (time.process_time() - begun) / COST_BLOCKS * 1e6
            held = detection.window.held
            used = held.window.nbytes + (held.ranked.nbytes if settings.robust else 0)
            rows.append(Cost(name, block_s, spent, used))
    return rows


def show(rows: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]], note: str | None) -> None:
    """Side by side, each at its default limit and at the tuned one."""
    table = Table(box=SIMPLE_HEAD, title="detectors on labelled records")
    for heading in ("data", "detector"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "limit", "precision", "(by chance)", "recall", "lead\ntime", "delay", "false alarms per\n100 healthy", "alarms",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["data"],
            row["detector"],
            f"{row['limit']:.3g}{' tuned' if row['tuned'] else ''}",
            _share(row["precision"]),
            _share(row["precision_by_chance"]),
            _share(row["recall"]),
            "-" if row["lead_time"] is None else f"{row['lead_time']:.0f}",
            "-" if row["delay"] is None else f"{row['delay']:.0f}",
            f"{row['false_alarms_per_100_healthy']:.2f}",
            str(row["alarms"]),
            end_section=row["tuned"],
        )
    screen = console()
    screen.print(table)
    screen.print(
        "Times in cycles (cmapss) or seconds (drives), medians over the units that were found.", style="dim"
    )
    if note:
        screen.print(note, style="dim", highlight=False)
    cost = Table(box=SIMPLE_HEAD, title="what a block of 30 measurements at 50 Hz costs")
    for heading in ("detectors", "block", "us a block", "kB a vehicle"):
        cost.add_column(heading, justify="left" if heading == "detectors" else "right")
    for one in costs:
        cost.add_row(
            one["detectors"],
            f"{one['block_s']} s",
            f"{one['microseconds_per_block']:.0f}",
            f"{one['window_bytes'] / 1e3:.0f}",
        )
    screen.print(cost)


def _share(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.detectors", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)

    def said(line: str) -> None:
        print(line, file=sys.stderr)

    note = None
    rows = []
    try:
        sets = [labelled.cmapss()]
    except OSError:
        note, sets = (
            f"skipped: C-MAPSS is not at {labelled.CMAPSS}; set DEADRECKON_DATA to the folder with it",
            [],
        )
        said(note)
    for data in (*sets, labelled.drives(said)):
        for scorer in scorers(data):
            said(f"{data.name}: {scorer.name}")
            rows += measure(data, scorer)
    costs = cost()
    show([asdict(row) for row in rows], [asdict(one) for one in costs], note)
    write_json(
        options.json,
        {"rows": [asdict(row) for row in rows], "cost": [asdict(one) for one in costs], "note": note},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
