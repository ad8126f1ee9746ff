"""How many bytes a vehicle-hour takes under each scheme: `python -m benchmarks.codec`.

Rules
- Every size is of bytes that were produced, every error of values that were decoded from these bytes.
- All schemes of a row get the same records in the same run. kB are 1,000 bytes; an hour is an hour of records.
- Drives with more than VALUES_MAX values are bounded: first to RECORDS_MIN records from their middle, then to every
  k-th signal. The rows say how many of each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmarks.recordings import Car, missing_note, our_car, read_thresholds, recorded_cars
from benchmarks.sampled import SampledDrive, choose, load_bus, load_frames, sample
from benchmarks.schemes.ours import deadreckon
from benchmarks.schemes.shelf import OTHERS
from benchmarks.screen import LOG_WIDTH_MAX, console, short, write_json
from benchmarks.values import judge, values_of
from codec.schema import NS, SIGNALS_MAX
from codec.stream import is_keyframe
from codec.training import train
from decoder.dbc import DbcError
from replay_logs.read import LogError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.schemes.scheme import Scheme
    from benchmarks.values import Values
    from codec.priors import Prior
    from codec.records import Records
    from decoder.frames import Frames
    from decoder.signals import Bus

THRESHOLDS = {"given": 1.0, "tenth": 0.1, "lossless": 0.0}  # share of the drive's thresholds
BLOCKS_S = (0.1, 1.0, 10.0, 30.0)
TRAINED_AT_S = (1.0, 10.0)  # block lengths that a prior is trained with
RATE_HZ = 50
RECORDS_MIN, RECORDS_MAX = 6000, 60_000  # 2 and 20 minutes
OURS = ("deadreckon", "deadreckon-trained")
RESYNCS = "resyncs"  # beside the names of schemes: which of our blocks are keyframes
VALUES_MAX = 2_500_000  # a minute or two per drive


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme on one drive. The names are the keys of the JSON."""

    log: str
    thresholds: str
    block_s: float
    scheme: str
    kb_per_vehicle_hour: float
    bytes_per_record: float
    max_error_over_threshold: float  # counts by which the worst error exceeds its bound; 0: none does
    out_of_bound: int  # records
    records: int
    signals: int


@dataclass(frozen=True, slots=True)
class ZstdChoice:
    """What our blocks would gain if each could be one of zstd-19 instead (DPCM or swinging door, whichever is smaller).

    Keyframes after the first stay ours: these schemes go on from block to block and have none.
    """

    log: str
    thresholds: str
    block_s: float
    blocks: int
    smaller: int  # blocks that zstd makes smaller than ours is
    saved_share: float  # of the bytes of all our blocks


@dataclass(frozen=True, slots=True)
class Measured:
    """All rows of one log, and how much of it they stand for."""

    log: str
    rows: tuple[Row, ...]
    zstd: tuple[ZstdChoice, ...]
    records: int
    records_all: int
    signals: int
    signals_all: int
    trained_on: str | None

    @property
    def bound(self) -> str | None:
        """What was left out; None if nothing was."""
        parts = []
        if self.signals < self.signals_all:
            parts.append(f"{self.signals:,} of its {self.signals_all:,} signals, evenly spread")
        if self.records < self.records_all:
            parts.append(f"{self.records:,} of its {self.records_all:,} records, from the middle")
        return f"{self.log}: {', '.join(parts)}" if parts else None


@dataclass(frozen=True, slots=True)
class Task:
    """One log of a car, as a worker gets it."""

    car: Car
    log: Path
    values_max: int = VALUES_MAX
    blocks_s: tuple[float, ...] = BLOCKS_S

    @property
    def name(self) -> str:
        return name_of(self.log)


def name_of(log: Path) -> str:
    return f"{log.absolute().parent.name}/{log.name.partition('.')[0]}"


def measure(task: Task) -> Measured:
    """Raises LogError, DbcError or ValueError, each with one line."""
    car, bus, frames = task.car, load_bus(task.car.dbcs), load_frames(task.log)
    choices = choose(bus, frames, car.thresholds)
    records_max, every = bounds_of(_records_at_most(frames), len(choices), task.values_max)
    drive = _sampled(task.name, bus, frames, choices[::every], task.log)
    other_log = car.logs[car.logs.index(task.log) - 1]
    other = None
    if other_log != task.log:
        other = _sampled(name_of(other_log), bus, load_frames(other_log), choices[::every], other_log)
        other = other.middle(records_max)
    bounded = drive.middle(records_max)
    rows: list[Row] = []
    zstd: list[ZstdChoice] = []
    for thresholds in THRESHOLDS:
        sizes: dict[tuple[str, float], list[int]] = {}
        rows += _rows(bounded, other, thresholds, task.blocks_s, sizes, rows)
        zstd += (_zstd_choice(task.name, thresholds, block_s, sizes) for block_s in task.blocks_s)
    return Measured(
        task.name,
        tuple(rows),
        tuple(zstd),
        bounded.record_count,
        drive.record_count,
        len(drive.schema.signals),
        len(choices),
        other.name if other else None,
    )


def _sampled(name: str, bus: Bus, frames: Frames, choices: Sequence[Any], log: Path) -> SampledDrive:
    if not choices:
        raise ValueError(f"{log}: none of its frames is in the DBCs; give the DBCs of this vehicle")
    drive = sample(name, bus, frames, choices, RATE_HZ)
    if not drive.record_count:
        raise ValueError(f"{log}: is over before the first record; give a longer log")
    return drive


def _records_at_most(frames: Frames) -> int:
    """By the time that the log spans."""
    stamps = frames.timestamps_ns
    return (int(stamps.max()) - int(stamps.min())) * RATE_HZ // NS + 1 if len(stamps) else 0


def bounds_of(records: int, signals: int, values_max: int) -> tuple[int, int]:
    """How many records are measured at most, and every how many signals one is."""
    wanted = min(max(values_max // max(signals, 1), RECORDS_MIN), RECORDS_MAX, max(records, 1))
    return wanted, max(1, -(-signals * wanted // values_max), -(-signals // SIGNALS_MAX))


def _rows(
    drive: SampledDrive,
    other: SampledDrive | None,
    thresholds: str,
    blocks_s: Sequence[float],
    sizes: dict[tuple[str, float], list[int]],
    before: Sequence[Row],
) -> Iterator[Row]:
    """Rows under one set of thresholds; `before`: those under others. `sizes` gets the bytes of each block by scheme."""
    expected = values_of(drive.schema, drive.runs)  # the same under any thresholds
    mine, share = drive.with_thresholds(THRESHOLDS[thresholds]), THRESHOLDS[thresholds]
    same = {(row.scheme, row.block_s): row for row in before}
    for scheme in _schemes(mine, other and other.with_thresholds(share)):
        measured: Row | None = None
        for block_s in blocks_s:
            found = None if scheme.uses_thresholds else same.get((scheme.name, block_s))
            if found is None and not scheme.uses_blocks:
                found = measured
            if found is None:
                found, contents = _row(mine, expected, scheme, block_s)
                sizes[scheme.name, block_s] = [len(content) for content in contents]
                if scheme.name == "deadreckon":
                    sizes[RESYNCS, block_s] = [
                        k for k, content in enumerate(contents) if k and is_keyframe(content)
                    ]
            measured = replace(found, thresholds=thresholds, block_s=block_s)
            yield measured


def _zstd_choice(
    log: str, thresholds: str, block_s: float, sizes: Mapping[tuple[str, float], Sequence[int]]
) -> ZstdChoice:
    ours, *zstd = (sizes[name, block_s] for name in ("deadreckon", "dpcm-zstd", "swinging-door"))
    if len(ours) == len(zstd[0]):
        resyncs = set(sizes[RESYNCS, block_s])
        others = map(min, *zstd)
        pairs = [
            (mine, mine if k in resyncs else other)
            for k, (mine, other) in enumerate(zip(ours, others, strict=True))
        ]
    else:  # ours were too long for one block each: the whole drive is one choice
        pairs = [(sum(ours), min(map(sum, zstd)))]
    saved = sum(max(0, mine - other) for mine, other in pairs)
    smaller = sum(other < mine for mine, other in pairs)
    return ZstdChoice(log, thresholds, block_s, len(pairs), smaller, saved / sum(ours))


def _schemes(drive: SampledDrive, other: SampledDrive | None) -> list[Scheme]:
    origin_tick = drive.runs[0].first_tick
    trained = [deadreckon(origin_tick, _prior(other))] if other else []
    return [deadreckon(origin_tick), *trained, *OTHERS]


def _prior(drive: SampledDrive) -> Prior:
    blocks = [round(seconds * RATE_HZ) for seconds in TRAINED_AT_S]
    return train([(drive.schema, run) for run in drive.runs], blocks=blocks)


def _row(drive: SampledDrive, expected: Values, scheme: Scheme, block_s: float) -> tuple[Row, list[bytes]]:
    """And the blocks."""
    blocks = cut(drive.runs, round(block_s * RATE_HZ))
    if scheme.blocks_max is not None and len(blocks) > scheme.blocks_max:
        blocks = [blocks[len(blocks) * k // scheme.blocks_max] for k in range(scheme.blocks_max)]
        expected = values_of(drive.schema, blocks)
    contents = scheme.encode(drive.schema, blocks)
    error = judge(
        drive.schema, expected, scheme.decode(drive.schema, contents), availability=scheme.tells_availability
    )
    records = len(expected)
    per_record = sum(map(len, contents)) / records
    row = Row(
        log=drive.name,
        thresholds="",
        block_s=block_s,
        scheme=scheme.name,
        kb_per_vehicle_hour=per_record * RATE_HZ * 3.6,
        bytes_per_record=per_record,
        max_error_over_threshold=error.beyond_counts,
        out_of_bound=error.records_out,
        records=records,
        signals=len(drive.schema.signals),
    )
    return row, contents


def cut(runs: Sequence[Records], block_records: int) -> list[Records]:
    """Blocks of so many records; a run that ends ends its block."""
    return [
        run.slice(start, min(start + block_records, len(run)))
        for run in runs
        for start in range(0, len(run), block_records)
    ]


def measure_all(tasks: Sequence[Task], said: Callable[[str], None]) -> list[Measured]:
    """All logs, as many at a time as there are cores: sizes do not depend on how long it takes."""
    if len(tasks) == 1:
        return [measure(tasks[0])]
    workers = min(len(tasks), os.cpu_count() or 1)
    found = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for measured in pool.map(measure, tasks):
            said(f"{measured.log}: {measured.records:,} records of {measured.signals:,} signals")
            found.append(measured)
    return found


def report(found: Sequence[Measured], note: str | None) -> dict[str, Any]:
    """The JSON document. `logs` says how much of each log its rows stand for."""
    logs = [
        {key: value for key, value in asdict(one).items() if key not in {"rows", "zstd"}} for one in found
    ]
    zstd = [asdict(choice) for one in found for choice in one.zstd]
    return {
        "rows": [asdict(row) for one in found for row in one.rows],
        "logs": logs,
        "zstd": zstd,
        "note": note,
    }


def cars_of(groups: Sequence[tuple[str, Path]], thresholds: Path | None) -> list[Car]:
    """Cars of `--log` and `--dbc` in their order: logs, then the DBCs that they are decoded with.

    Logs with the same DBCs are drives of one car. Raises ValueError where one lacks the other.
    """
    wanted = read_thresholds(thresholds) if thresholds else None
    cars: dict[tuple[Path, ...], list[Path]] = {}
    logs: list[Path] = []
    dbcs: list[Path] = []
    for kind, path in [*groups, ("log", Path())]:
        if kind == "log" and logs and dbcs:
            cars.setdefault(tuple(dbcs), []).extend(logs)
            logs, dbcs = [], []
        (logs if kind == "log" else dbcs).append(path)
    if dbcs or len(logs) > 1:
        raise ValueError("every --log needs a --dbc after it, and every --dbc a --log before it")
    return [Car(paths[0].stem, tuple(dict.fromkeys(found)), paths, wanted) for paths, found in cars.items()]


class InOrder(argparse.Action):
    """Keeps `--log` and `--dbc` in the order in which they were given."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        namespace.files = [*namespace.files, ((option or "").lstrip("-"), values)]


def show(found: Sequence[Measured], note: str | None) -> None:
    """Sizes by block length; what is smaller than ours with the built-in prior is red."""
    lengths = sorted({row.block_s for one in found for row in one.rows})
    table = Table(box=SIMPLE_HEAD, title="kB per vehicle-hour by block length")
    for heading in ("log", "thresholds", "scheme"):
        table.add_column(heading, no_wrap=True, max_width=LOG_WIDTH_MAX)
    headings = [f"{block_s:g} s" for block_s in lengths]
    for heading in (*headings, "x ours", "bytes a\nrecord", "beyond\nbound", "records\nout"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        for thresholds in dict.fromkeys(row.thresholds for row in one.rows):
            _section(table, one, thresholds, lengths)
    screen = console()
    screen.print(table)
    screen.print(
        "x ours and bytes a record: at 10 s. Beyond bound: worst error over its threshold, in counts.",
        style="dim",
    )
    most = max((choice for one in found for choice in one.zstd), key=lambda choice: choice.saved_share)
    screen.print(
        f"A choice of zstd by block would save at most {most.saved_share:.1%}: {most.log}, {most.thresholds}, {most.block_s:g} s.",
        style="dim",
        highlight=False,
    )
    for line in (*(one.bound for one in found), note):
        if line:
            screen.print(line, style="dim", highlight=False)


def _section(table: Table, one: Measured, thresholds: str, lengths: Sequence[float]) -> None:
    by_scheme: dict[str, dict[float, Row]] = {}
    for row in one.rows:
        if row.thresholds == thresholds:
            by_scheme.setdefault(row.scheme, {})[row.block_s] = row
    ours = by_scheme["deadreckon"]
    usual = 10.0 if 10.0 in lengths else lengths[-1]
    for scheme, rows in by_scheme.items():
        cells = [
            Text(
                short(rows[at].kb_per_vehicle_hour),
                "red"
                if scheme not in OURS and rows[at].kb_per_vehicle_hour < ours[at].kb_per_vehicle_hour
                else "",
            )
            for at in lengths
        ]
        worst = max(row.max_error_over_threshold for row in rows.values())
        out = max(row.out_of_bound for row in rows.values())
        table.add_row(
            one.log if scheme == "deadreckon" else "",
            thresholds if scheme == "deadreckon" else "",
            scheme,
            *cells,
            short(rows[usual].kb_per_vehicle_hour / ours[usual].kb_per_vehicle_hour),
            short(rows[usual].bytes_per_record),
            Text(f"{worst:,.0f}" if worst else "-", "red" if worst else ""),
            Text(f"{out:,}" if out else "-", "red" if out else ""),
            style="bold" if scheme in OURS else "",
        )
    table.add_section()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.codec", description=__doc__)
    parser.set_defaults(files=[])
    parser.add_argument("--log", type=Path, action=InOrder, help="a log; may be repeated")
    parser.add_argument(
        "--dbc", type=Path, action=InOrder, help="a DBC of the logs before it; may be repeated"
    )
    parser.add_argument(
        "--thresholds", type=Path, help="JSON object of thresholds; other signals are left out"
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    try:
        cars = cars_of(options.files, options.thresholds) or [our_car(), *recorded_cars()]
        note = None if options.files else missing_note()
        tasks = [Task(car, log) for car in cars for log in car.logs]
        found = measure_all(tasks, lambda line: print(line, file=sys.stderr))
    except (LogError, DbcError, ValueError, OSError) as error:
        print(f"benchmarks.codec: {error}", file=sys.stderr)
        return 2
    show(found, note)
    write_json(options.json, report(found, note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
