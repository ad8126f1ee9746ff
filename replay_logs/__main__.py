"""replay-logs: generate, play, look at and decode recorded logs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from replay_logs.candump import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoder.dbc import Dbc
    from replay_logs.info import Summary
    from replay_logs.play import Played

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return 0  # the reader of our output has seen enough
    except ImportError as error:
        missing = f"{error.name} is missing; pip install --require-hashes -r requirements/logs.lock, where the sources are"
        print(f"replay-logs {options.command}: {missing}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # LogError, DbcError, TableError, PlanError are ValueErrors
        print(f"replay-logs {options.command}: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="replay-logs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_generate(commands.add_parser("generate", help="write a drive of our own car as a candump log"))
    play = commands.add_parser("play", help="send a log to a CAN bus")
    play.add_argument("log", type=Path, metavar="LOG")
    play.add_argument("--interface", default="socketcan", help="python-can interface (default: %(default)s)")
    play.add_argument("--channel", required=True, help="python-can channel, such as vcan0")
    play.add_argument("--bitrate", type=int, help="for interfaces that set it")
    play.add_argument("--fd", action="store_true", help="open the bus for CAN FD")
    play.add_argument(
        "--speed", type=_speed, default=1.0, help="times real time; 0: without waiting (default: 1)"
    )
    play.add_argument("--loop", action="store_true", help="begin again at the end")
    play.set_defaults(run=_play)
    info = commands.add_parser("info", help="duration, identifiers, rates, bus load, what decodes, oddities")
    info.add_argument("log", type=Path, metavar="LOG")
    info.add_argument(
        "--dbc", type=Path, action="append", default=[], metavar="F", help="may be given several times"
    )
    info.add_argument("--bitrate", type=int, default=500_000, help="for the bus load (default: %(default)s)")
    info.set_defaults(run=_info)
    decode = commands.add_parser("decode", help="write a log's signals as CSV or Parquet")
    decode.add_argument("log", type=Path, metavar="LOG")
    decode.add_argument(
        "--dbc", type=Path, action="append", required=True, metavar="F", help="may be given several times"
    )
    decode.add_argument(
        "--rate", type=int, metavar="HZ", help="sample grid; without it every value as it came"
    )
    decode.add_argument("--channel", help="only this channel of the log")
    decode.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help=".csv or .parquet")
    decode.set_defaults(run=_decode)
    _add_convert(
        commands.add_parser("convert", help="make a DBC and a log of a table (CSV, or separated by spaces)")
    )
    return parser


def _add_convert(parser: argparse.ArgumentParser) -> None:
    from replay_logs import mapping

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = mapping.__doc__
    parser.add_argument("table", type=Path, metavar="TABLE")
    parser.add_argument(
        "--map", type=Path, required=True, metavar="F", help="TOML: what its columns mean; see below"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only these rows; may be given again",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="LOG", help=".log or .log.gz")
    parser.add_argument("--dbc", type=Path, metavar="F", help="(default: beside the log)")
    parser.set_defaults(run=_convert)


def _add_generate(parser: argparse.ArgumentParser) -> None:
    from replay_logs.models import MODELS
    from replay_logs.scenarios import DRIVES

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    drives = "\n".join(f"  {drive.name:12} {drive.summary} ({drive.model})" for drive in DRIVES.values())
    parser.epilog = (
        f"drives:\n{drives}\n\nmodels: {', '.join(MODELS)}\n\nThe same options give the same frames."
    )
    parser.add_argument("--drive", choices=sorted(DRIVES), required=True)
    parser.add_argument("--model", choices=sorted(MODELS), help="(default: the drive's own)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds (default: the drive's own)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="LOG", help=".log or .log.gz")
    parser.set_defaults(run=_generate)


def _speed(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 (no waiting) or more")
    return value


def _generate(options: argparse.Namespace) -> int:
    from replay_logs.generate import write_drive
    from replay_logs.models import MODELS
    from replay_logs.scenarios import DRIVES

    drive = DRIVES[options.drive]
    duration_s = drive.duration_s if options.duration is None else options.duration
    if not 0 < duration_s <= 86_400:
        raise ValueError(f"--duration {duration_s}: must be more than 0 s and at most a day")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: must not be negative")
    count = write_drive(options.output, MODELS[options.model or drive.model], drive, options.seed, duration_s)
    print(f"{options.output}: {count} frames, {count / duration_s:.0f} a second")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from replay_logs.convert import convert, dbc_text, log_lines
    from replay_logs.mapping import load_mapping

    where = dict(one.partition("=")[::2] for one in options.where)
    loaded = load_mapping(options.map)
    converted = convert(options.table, replace(loaded, where=dict(loaded.where) | where))
    dbc = options.dbc or options.output.with_name(options.output.name.partition(".")[0] + ".dbc")
    dbc.write_text(dbc_text(converted), encoding="utf-8")
    write_lines(options.output, log_lines(converted))
    signals = sum(len(message.signals) for message in converted.messages)
    print(f"{dbc}: {signals} signals in {len(converted.messages)} messages")
    print(f"{options.output}: {len(converted.times_us)} rows")
    if converted.left_out:
        print(
            f"{converted.left_out} rows are left out: their time is not after the one before", file=sys.stderr
        )
    return 0


def _play(options: argparse.Namespace) -> int:
    import can
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from replay_logs.play import Played, play
    from replay_logs.read import open_log

    log = open_log(options.log)
    played = Played()
    settings = {"bitrate": options.bitrate} if options.bitrate else {}
    columns = (
        TextColumn(options.log.name, markup=False),
        BarColumn(),
        TextColumn("{task.fields[log_s]:.1f} s of the log, {task.fields[sent]} frames sent"),
        TimeElapsedColumn(),
    )
    try:
        with (
            can.Bus(channel=options.channel, interface=options.interface, fd=options.fd, **settings) as bus,
            Progress(*columns, refresh_per_second=5) as bar,
        ):
            task = bar.add_task("play", total=1.0, log_s=0.0, sent=0)

            def show(log_s: float, played: Played) -> None:
                if played.sent % 256 == 0:
                    bar.update(task, completed=log.share_read, log_s=log_s, sent=played.sent)

            while True:
                before = played.sent
                play(log, bus, speed=options.speed, fd=options.fd, played=played, progress=show)
                bar.update(task, completed=1.0, sent=played.sent)
                if not options.loop or played.sent == before:
                    break
    except can.CanError as error:
        raise ValueError(
            f"{options.interface} {options.channel}: {error} ({played.sent} frames were sent)"
        ) from None
    finally:
        for line in (*log.left_out, *played.left_out):
            print(line, file=sys.stderr)
    print(f"{played.sent} frames sent")
    return 0


def _info(options: argparse.Namespace) -> int:
    from replay_logs.info import summarise
    from replay_logs.read import open_log
    from replay_logs.recording import load_recording

    dbcs = _load_dbcs(options.dbc)
    recording = load_recording(open_log(options.log))
    _print_summary(summarise(recording, options.bitrate, dbcs), options)
    return 0


def _print_summary(summary: Summary, options: argparse.Namespace) -> None:
    from datetime import UTC, datetime, timedelta

    oddities = "".join(f"oddity     {line}\n" for line in summary.oddities)
    print(f"{options.log}")
    if not summary.frames:
        print(oddities, end="")
        return
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=summary.start_ns // 1000)
    rate = summary.frames / summary.duration_s if summary.duration_s else 0.0
    print(f"duration   {summary.duration_s:.3f} s from {start.isoformat()}")
    print(f"frames     {summary.frames}, {rate:.1f} a second, {len(summary.identifiers)} identifiers")
    for channel, load in summary.load:
        print(f"bus load   {load:.1%} of {options.bitrate} bit/s on {channel}")
    if summary.decoded is not None:
        print(f"decodes    {summary.decoded:.1%} of the frames, {summary.signals} signals")
    print(
        f"\n{'channel':8} {'identifier':>10} {'frames':>8} {'per s':>8} {'every ms':>9} {'bytes':>6}  message"
    )
    for entry in summary.identifiers:
        name = f"{entry.frame_id:08X}" if entry.extended else f"{entry.frame_id:03X}"
        low, high = entry.lengths
        length = f"{low}" if low == high else f"{low}-{high}"
        period = f"{entry.period_ms:.1f}" if entry.count > 1 else "-"
        line = f"{entry.channel:8} {name:>10} {entry.count:8} {entry.rate_hz:8.2f} {period:>9} {length:>6}  {entry.message}"
        print(line.rstrip())


def _decode(options: argparse.Namespace) -> int:
    from replay_logs.decode import every_value, on_grid, write_table
    from replay_logs.read import open_log
    from replay_logs.recording import assign_dbcs, load_recording

    dbcs = _load_dbcs(options.dbc)
    recording = load_recording(open_log(options.log), options.channel)
    for line in recording.left_out:
        print(line, file=sys.stderr)
    if len(recording.frames) == 0:
        raise ValueError(
            f"{options.log}: no data frame" + (f" on channel {options.channel}" if options.channel else "")
        )
    buses = assign_dbcs(recording, dbcs)
    if options.rate is None:
        names, blocks = every_value(recording.frames, buses)
    else:
        names, blocks = on_grid(recording.frames, buses, options.rate)
    if not names:
        raise ValueError(f"{options.log}: none of its frames is in the DBC; is it the DBC of this vehicle?")
    count = write_table(options.output, names, blocks)
    print(f"{options.output}: {count} rows, {len(names)} signals")
    return 0


def _load_dbcs(paths: Sequence[Path]) -> tuple[Dbc, ...]:
    from decoder.dbc import load

    dbcs = tuple(load(path) for path in paths)
    for dbc in dbcs:
        for warning in dbc.warnings:
            print(warning, file=sys.stderr)
    return dbcs


if __name__ == "__main__":
    sys.exit(main())
