"""`make demo`: vehicles drive through dead zones and crashes, and nothing is lost. Exit status 0 only if that is so."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from collector.rules import DEFAULT_FILE, load_rules
from collector.store import open_store
from demo.judge import Case, judge
from demo.own_log import OwnLogError, prepare
from demo.run import Poster, play
from demo.script import script
from demo.stage import Stage, StageError
from demo.vehicles import CAR_DBC, fleet
from demo.verdict import Verdict, json_report
from demo.view import LiveView, PlainView, View, bytes_table, draw, verdict_table
from demo.warm import warm_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.settings import Drive

DRIVE_S = 50.0  # wall time of the drives: two minutes in all, kernels compiled and cores slow
HEAD_START_S = 1.5
PLAIN_WIDTH = 160
_MARK = "deadreckon-demo"  # a folder with this file in it is ours to clear

QUERIES = (
    "SELECT code, severity, description, detected_at FROM faults ORDER BY detected_at DESC;",
    "SELECT timestamp, data FROM telemetry_logs ORDER BY timestamp DESC LIMIT 10;",
    "SELECT vin, model, firmware_version FROM vehicles;",
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    try:
        return asyncio.run(_demo(options, console))
    except (StageError, OwnLogError) as error:
        console.print(f"[bold red]error[/]: {error}", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130
    except asyncio.CancelledError:
        return 143


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--scenario",
        choices=("fleet", "dyno"),
        default="fleet",
        help="dyno: a test stand of 100 units that are worn until some fail (default: %(default)s)",
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="your own recorded drive, in any format that python-can reads, or MF4",
    )
    parser.add_argument(
        "--dbc",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="its DBC; give it again for more than one",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture there")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("demo-run"),
        help="where everything is kept (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, help="wall time that the drives take")
    return parser


@dataclass(frozen=True, slots=True)
class Bill:
    """What is played: the drives, for how long, and what watches them (None: the rules that the collector ships with)."""

    drives: Sequence[Drive]
    wall_s: float
    rules: Path | None
    notes: Sequence[str] = ()


async def _demo(options: argparse.Namespace, console: Console) -> int:
    began = time.monotonic()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, task.cancel
    )  # nothing is left running behind
    _refuse(options)  # before the last demo's store is cleared away
    folder = _cleared(options.folder)
    if options.scenario == "dyno":
        from demo import dyno  # it learns, and what learns is heavy

        return await dyno.run(folder, console, wall_s=options.seconds, report=options.json)
    view: View = LiveView(console) if console.is_terminal else PlainView(console)
    try:
        view.event(
            None, "getting ready; kernels are compiled the first time, which takes a core for a minute or two"
        )
        bill = _bill(options, folder)
        for note in (*bill.notes, _speed(bill.drives)):
            view.event(None, note)
        warm_up(CAR_DBC)
        ready_s = time.monotonic() - began
        stage = Stage(folder, bill.rules)
        poster = await _run(stage, bill, view)
        view.event(None, "comparing what was sampled with what the collector gives back")
        verdicts = _judge(stage, bill.rules)
    finally:
        view.close()
    ok = all(verdict.ok for verdict in verdicts)
    wall_s = time.monotonic() - began
    _report(console, verdicts, folder, ok=ok, wall_s=wall_s, ready_s=ready_s)
    if options.json:
        options.json.write_text(json_report(verdicts, ok=ok, wall_s=wall_s))
    if options.svg:
        options.svg.write_text(draw(poster.at_s, poster.fleet, poster.events, verdicts))
    return 0 if ok else 1


def _refuse(options: argparse.Namespace) -> None:
    """Raises OwnLogError for files that cannot be a drive."""
    for named in (options.log, *options.dbc):
        if named is not None and not named.is_file():
            raise OwnLogError(
                f"{named}: {'a folder; name a file' if named.is_dir() else 'there is no such file'}"
            )
    if options.dbc and options.log is None:
        raise OwnLogError("--dbc needs the log of a drive: add --log FILE")
    if options.log is not None and options.scenario == "dyno":
        raise OwnLogError(
            "--log is not for --scenario dyno, which makes its units itself: leave one of them out"
        )


def _bill(options: argparse.Namespace, folder: Path) -> Bill:
    if options.log is None:
        wall_s = options.seconds or DRIVE_S
        return Bill(fleet(wall_s), wall_s, None)
    own = prepare(options.log, options.dbc, folder, wall_s=options.seconds)
    return Bill([own.drive], own.wall_s, own.rules, own.notes)


def _speed(drives: Sequence[Drive]) -> str:
    """How records at 50 Hz can be more than 50 a second."""
    times = sorted({f"{drive.speed:.3g}" for drive in drives}, key=float)
    return f"played {' to '.join((times[0], times[-1])[: len(times)])} times as fast as it was driven"


async def _run(stage: Stage, bill: Bill, view: View) -> Poster:
    """Everything from the first process to the last."""
    try:
        began = time.monotonic()
        await stage.open()
        # Agents take as long to start as the collector did, and share the cores. They are given the time, so that they
        # are connected, and know their guards, when the drive begins.
        started_s = time.monotonic() - began
        head_start_s = HEAD_START_S + started_s * (1 + len(bill.drives) / (os.cpu_count() or 1))
        epoch = time.time_ns() / 1e9 + head_start_s
        who = f"{len(bill.drives)} vehicles start" if len(bill.drives) > 1 else "one vehicle starts"
        view.event(None, f"the collector listens; {who}, and in {head_start_s:.0f} s the drive begins")
        await stage.start(bill.drives, epoch)
        return await play(stage, script(bill.wall_s, bill.drives[0].model), epoch, bill.wall_s, view)
    except asyncio.CancelledError:
        view.event(None, "interrupted; ending what was started")
        raise
    finally:
        await stage.close()


def _judge(stage: Stage, rules_file: Path | None) -> list[Verdict]:
    store = open_store(stage.store)
    rules = load_rules(rules_file or DEFAULT_FILE)
    cases = [
        Case(one.drive, one.outbox, one.kills, stage.proxy.traffic(one.drive.vin).total_bytes, one.status)
        for one in stage.actors
    ]
    return [judge(case, store, rules) for case in cases]


def _report(
    console: Console, verdicts: Sequence[Verdict], folder: Path, *, ok: bool, wall_s: float, ready_s: float
) -> None:
    console.print()
    console.print(verdict_table(verdicts))
    console.print()
    console.print(bytes_table(verdicts))
    console.print()
    for verdict in verdicts:
        for complaint in verdict.complaints():
            console.print(f"[red]{verdict.model}: {complaint}[/]", soft_wrap=True)
    end = "[bold green]everything arrived whole[/]" if ok else "[bold red]not everything arrived whole[/]"
    console.print(
        f"{end} after {wall_s:.0f} s, {ready_s:.0f} of them to get ready. Ask the store yourself:",
        soft_wrap=True,
    )
    for query in QUERIES:
        console.print(f'  sqlite3 {folder / "collector.db"} "{query}"', soft_wrap=True, markup=False)


def _cleared(folder: Path) -> Path:
    """An empty folder of ours. Raises StageError rather than delete anything else."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARK).exists():
            raise StageError(f"{folder} has files that are not the demo's; name another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    return folder.resolve()


if __name__ == "__main__":
    sys.exit(main())
