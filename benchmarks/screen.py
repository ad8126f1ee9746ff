"""What the benchmarks show: one table each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.backlog import Backlog
    from benchmarks.codec import Measured, Row
    from benchmarks.decoder import Decoded
    from benchmarks.footprint import Footprint
    from benchmarks.kernels import KernelRow
    from benchmarks.outbox import OutboxRow, StartRow
    from benchmarks.reads import ReadRow

WIDTH_MIN = 140  # where there is no terminal
LOG_WIDTH_MAX = 32
OURS = ("deadreckon", "deadreckon-trained")


def write_json(path: Path | None, document: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def print_codec(found: Sequence[Measured], note: str | None) -> None:
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
    console = _console()
    console.print(table)
    console.print(
        "x ours and bytes a record: at 10 s. Beyond bound: worst error over its threshold, in counts.",
        style="dim",
    )
    for line in (*(one.bound for one in found), note):
        if line:
            console.print(line, style="dim", highlight=False)


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
                _short(rows[at].kb_per_vehicle_hour),
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
            _short(rows[usual].kb_per_vehicle_hour / ours[usual].kb_per_vehicle_hour),
            _short(rows[usual].bytes_per_record),
            Text(f"{worst:,.0f}" if worst else "-", "red" if worst else ""),
            Text(f"{out:,}" if out else "-", "red" if out else ""),
            style="bold" if scheme in OURS else "",
        )
    table.add_section()


def print_decoder(found: Sequence[Decoded], note: str | None) -> None:
    table = Table(box=SIMPLE_HEAD, title="frames per second on one core, in millions")
    for heading in ("log", "path"):
        table.add_column(heading, no_wrap=True, max_width=LOG_WIDTH_MAX)
    for heading in ("frames\na call", "frames/s", "cantools", "ratio", "compared", "mismatches", "only ours"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for one in found:
        table.add_row(
            one.log if one.log != last else "",
            one.path,
            f"{one.call_frames:,}",
            f"{one.frames_per_s / 1e6:,.2f}",
            f"{one.cantools_frames_per_s / 1e6:,.3f}",
            f"{one.ratio:,.1f}",
            f"{one.values_compared:,}",
            Text(f"{one.mismatches:,}" if one.mismatches else "-", "red" if one.mismatches else ""),
            f"{one.values_only_ours:,}" if one.values_only_ours else "-",
        )
        last = one.log
    console = _console()
    console.print(table)
    console.print("only ours: values of frames that cantools refuses, compared with nothing", style="dim")
    if note:
        console.print(note, style="dim", highlight=False)


def print_kernels(rows: Sequence[KernelRow], copied_bytes_per_s: float) -> None:
    table = Table(box=SIMPLE_HEAD, title="values per second on one core, in millions")
    for heading in ("kernels", "streams", "thresholds", "block", "values"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("encoded", "share", "decoded", "share", "state of\na stream"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.kernels,
            f"{row.streams:,}",
            row.thresholds,
            f"{row.block_s:g} s",
            f"{row.values:,}",
            f"{row.encode_values_per_s / 1e6:,.1f}",
            f"{row.encode_share_of_bandwidth:.2%}",
            f"{row.decode_values_per_s / 1e6:,.1f}",
            f"{row.decode_share_of_bandwidth:.2%}",
            f"{row.state_bytes_per_stream / 1e3:,.1f} kB",
        )
    console = _console()
    console.print(table)
    console.print(
        f"share: of what numpy copies on this machine, {copied_bytes_per_s / 1e9:.1f} GB/s read and written; a value is 8 bytes",
        style="dim",
        highlight=False,
    )


def print_outbox(rows: Sequence[OutboxRow], start: StartRow, note: str | None) -> None:
    table = Table(box=SIMPLE_HEAD, title="kB that one 10 s block costs the disk, as the kernel counts them")
    for heading in ("kept by", "loss_max", "blocks"):
        table.add_column(heading, justify="left" if heading == "kept by" else "right", no_wrap=True)
    for heading in (
        "written",
        "times\nthe first",
        "content",
        "commits\na block",
        "commits/s",
        "whole\ndevice",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.scheme,
            f"{row.loss_max_s:g} s",
            f"{row.blocks:,}",
            f"{row.disk_bytes_per_block / 1000:,.1f}",
            f"{row.disk_bytes_per_block / rows[0].disk_bytes_per_block:,.1f}",
            f"{row.content_bytes_per_block / 1000:,.2f}",
            f"{row.commits_per_block:,.0f}",
            f"{row.appends_per_s:,.0f}",
            f"{row.device_bytes_per_block / 1000:,.1f}",
        )
    console = _console()
    console.print(table)
    console.print(
        f"start with {start.blocks:,} blocks ({start.file_bytes / 1e6:,.1f} MB) out of memory: {start.start_ms:,.0f} ms",
        highlight=False,
    )
    console.print("whole device: what its file system and everybody else wrote meanwhile, too", style="dim")
    if note:
        console.print(note, style="dim", highlight=False)


def print_reads(rows: Sequence[ReadRow]) -> None:
    table = Table(box=SIMPLE_HEAD, title="a signal in a few points that keep its peaks: ms on one core")
    for heading in (
        "signal",
        "hours",
        "signals",
        "points",
        "buckets",
        "cold",
        "cold,\nleast",
        "warm,\nleast",
        "exact",
    ):
        table.add_column(heading, justify="left" if heading == "signal" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.signal,
            f"{row.hours:g}",
            f"{row.signals}",
            f"{row.points:,}",
            f"{row.buckets:,}",
            f"{row.cold_ms:,.1f}",
            f"{row.cold_ms_min:,.1f}",
            f"{row.warm_ms_min:,.1f}",
            "yes" if row.checked else Text("no", "red"),
        )
    _console().print(table)
    print(f"a store of {rows[0].records:,} records")


def print_footprint(found: Sequence[Footprint]) -> None:
    table = Table(box=SIMPLE_HEAD, title="what the agent takes of a vehicle: MB, and a core")
    for heading in ("kernels", "installed", "import", "memory\nthen", "core until the\nfirst block", "memory\nat work", "at\nmost", "core\nat work"):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            one.kernels,
            f"{one.installed_bytes / 1e6:,.1f}",
            f"{one.import_s:.2f} s",
            f"{one.import_rss_bytes / 1e6:,.1f}",
            f"{one.first_start_cpu_s:,.1f} s",
            f"{one.rss_bytes / 1e6:,.1f}",
            f"{one.rss_bytes_max / 1e6:,.1f}",
            f"{one.cpu_share:.2%}",
        )
    _console().print(table)


def print_backlog(found: Backlog) -> None:
    megabytes = 1e6
    rows = [
        (
            "stored without a network",
            f"{found.hours:g} h, {found.records:,} records of {found.signals} signals",
        ),
        (
            "outbox",
            f"{found.outbox_bytes / megabytes:,.1f} of {found.quota_bytes / megabytes:,.0f} MB, {found.blocks:,} blocks",
        ),
        ("drained in", f"{found.drain_s:,.1f} s, {found.times_real_time:,.0f} times real time"),
        ("taken meanwhile", f"{found.live_records:,} records"),
        ("gaps", f"{found.gaps}"),
        (
            "agent",
            f"at most {found.agent_rss_bytes_max / megabytes:,.0f} MB, {found.agent_rss_bytes_growth / megabytes:+,.1f} MB while draining; {found.agent_cpu_s:,.1f} s of a core",
        ),
        (
            "collector",
            f"at most {found.collector_rss_bytes_max / megabytes:,.0f} MB, {found.collector_rss_bytes_growth / megabytes:+,.1f} MB while draining; {found.collector_cpu_s:,.1f} s of a core, {found.batches_per_collector_cpu_s:,.0f} batches per second of it",
        ),
    ]
    for name, text in rows:
        print(f"{name:<27}{text}")


def print_detectors(
    rows: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]], note: str | None
) -> None:
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
    console = _console()
    console.print(table)
    console.print(
        "Times in cycles (cmapss) or seconds (drives), medians over the units that were found.", style="dim"
    )
    if note:
        console.print(note, style="dim", highlight=False)
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
    console.print(cost)


def _share(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def _short(number: float) -> str:
    """Three digits or more."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_MIN)
