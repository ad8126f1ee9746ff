"""`collector query`: what is stored, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any, assert_never

from collector import times
from collector.reading.moments import as_ns
from collector.reading.signals import QueryError, written_values
from collector.store import Store, open_store
from collector.store.health import battery_health_of, diagnoses_of, vehicle_health_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collector.reading.series import Series
    from collector.reading.signals import SignalInfo
    from collector.reading.vehicle import Vehicle

TABLE_ROWS_MAX = 1000  # more is not read on a screen; CSV and JSON have no limit
WIDEST_COLUMNS = 1000  # of a table that does not fit a terminal
PIPE_COLUMNS = 200  # width of a table that goes to no terminal
TABLE_DIGITS, SIGNAL_DIGITS = 6, 12  # significant
DIGITS_OF = {"score": 3, "confidence": 2}  # of estimates
LISTED_MAX = 5  # vehicles in a message

Row = dict[str, Any]


def run(options: argparse.Namespace) -> None:
    """Print. Raises QueryError and StoreError."""
    store = open_store(options.store)
    vin = None if options.vin is None else store.vehicle(options.vin).vin
    columns: Sequence[str]
    rows: Iterator[Row]
    units: dict[str, str] = {}  # of columns that have one
    match options.what:
        case "vehicles":
            columns, rows = VEHICLE_COLUMNS, vehicle_rows(store)
        case "faults":
            columns = FAULT_COLUMNS
            rows = fault_rows(store, vin, options.severity, only_open=options.only_open)
        case "anomalies":
            columns, rows = ANOMALY_COLUMNS, iter(store.anomalies(vin, only_open=options.only_open))
        case "gaps":
            columns, rows = GAP_COLUMNS, iter(store.gaps(vin))
        case "streams":
            columns, rows = STREAM_COLUMNS, stream_rows(store, vin)
        case "signal":
            columns, rows, units = signal_rows(store, vin, options)
        case "diagnoses":
            columns, rows = DIAGNOSIS_COLUMNS, iter(diagnoses_of(store, vin, only_open=options.only_open))
        case "battery":
            columns, rows = BATTERY_COLUMNS, iter(battery_rows(store, vin, options))
        case "health":
            columns, rows = HEALTH_COLUMNS, iter(vehicle_health_of(store, vin))
        case _:
            assert_never(options.what)
    if (options.start or options.end) and options.what in TIMELESS:
        raise QueryError(f"--from and --to say nothing about {options.what}")
    if options.what in TIMES_OF:
        start, end = _range(options)
        rows = (row for row in rows if _overlaps(row, *TIMES_OF[options.what], start, end))
    seen = _Seen(rows)
    if options.format == "table":
        print_table(columns, seen, units)
    else:
        PRINTERS[options.format](columns, seen)
    if not seen.any and (options.start or options.end):
        print(f"collector: nothing of that range; {_stored(store, vin)}", file=sys.stderr)
    elif not seen.any and options.what == "faults" and not (options.only_open or options.severity):
        told = "collector: `collector rules check RULES --store STORE` says which rules fit these vehicles at all"
        print(told, file=sys.stderr)
    if store.unreadable:
        print(
            f"collector: {store.unreadable} stored blocks could not be read and are left out", file=sys.stderr
        )


# Where what has a beginning and an end lies in time; without an end, it goes on.
TIMES_OF = {
    "faults": ("detected_at", "ended_at"),
    "anomalies": ("started_at", "ended_at"),
    "diagnoses": ("detected_at", "ended_at"),
    "gaps": ("noted_at", "noted_at"),
    "health": ("at", "at"),
}

TIMELESS = frozenset({"vehicles", "streams"})


class _Seen:
    """Rows on their way to a printer: whether there were any."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.any = False

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.any = True
            yield row


def _overlaps(row: Row, begins: str, ends: str, start: str | None, end: str | None) -> bool:
    return (end is None or row[begins] < end) and (start is None or row[ends] is None or row[ends] >= start)


def _stored(store: Store, vin: str | None) -> str:
    vins = store.vins() if vin is None else [vin]
    shown = [f"of {one} {store.vehicle(one).stored()}" for one in vins[:LISTED_MAX]]
    return "; ".join(shown) or "the store has no vehicle yet"


VEHICLE_COLUMNS = (
    "vin",
    "model",
    "firmware_version",
    "state",
    "last_seen",
    "records",
    "batches",
    "open_faults",
    "live_at",
    "buses",
)
FAULT_COLUMNS = (
    "id", "vin", "code", "severity", "started_at", "detected_at", "ended_at", "signal", "peak", "approximate", "late",
    "provisional", "description", "action", "acknowledged_at", "acknowledged_by", "mark", "note",
)  # fmt: skip
ANOMALY_COLUMNS = (
    "vin", "detector", "signal", "started_at", "ended_at", "peak", "score", "confidence", "window_s", "approximate", "late",
)  # fmt: skip
GAP_COLUMNS = ("vin", "stream_no", "first_seq", "last_seq", "records", "reason", "noted_at")
DIAGNOSIS_COLUMNS = (
    "vin", "signature", "detected_at", "last_seen_at", "ended_at", "confidence", "cause", "approximate", "late", "title", "action",
)  # fmt: skip
BATTERY_COLUMNS = ("vin", "kind", "at", "value", "uncertainty", "unit", "n", "approximate", "late")
HEALTH_COLUMNS = (
    "vin", "at", "state", "model", "firmware_version", "agent_version", "health", "written_by",
)  # fmt: skip
STREAM_COLUMNS = (
    "vin",
    "stream_no",
    "began_at",
    "rate_hz",
    "signals",
    "batches",
    "records",
    "doubtful",
    "expired",
    "blocks_bytes",
)


def battery_rows(store: Store, vin: str | None, options: argparse.Namespace) -> list[Row]:
    """Raises QueryError for times that are none."""
    return battery_health_of(store, vin, options.kind, *_range(options))


def _range(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """Raises QueryError for times that are none."""
    now_ns = time.time_ns()
    start_ns, end_ns = (as_ns(told, now_ns) for told in (options.start, options.end))
    start, end = (None if at_ns is None else times.to_text(at_ns) for at_ns in (start_ns, end_ns))
    return start, end


def vehicle_rows(store: Store) -> Iterator[Row]:
    """With how its buses were when it was last heard of, and when its heartbeat shows it where less is stored (`live_at`)."""
    live = {row["vin"]: row["timestamp"] for row in store.live()}
    for row in store.vehicles():
        row["live_at"] = live.get(row["vin"])
        buses = ((row["heartbeat"] or {}).get("health") or {}).get("buses", ())
        shown = ", ".join(map(_bus, buses))
        yield row | {"buses": shown if row["state"] == "online" or not shown else f"{shown}, when last heard"}


def fault_rows(store: Store, vin: str | None, severity: str | None, *, only_open: bool) -> Iterator[Row]:
    """Those that are stored, then those that heartbeats alone show."""
    for row in store.faults(vin, severity=severity, only_open=only_open):
        yield row | {"provisional": False}
    for row in store.provisional_faults(vin, severity=severity):
        if row["ended_at"] is None or not only_open:
            yield row


def _bus(bus: dict[str, Any]) -> str:
    """`can0 up`; what heartbeats leave out is empty or 0."""
    text = f"{bus.get('name', '?')} {bus.get('state', '?').replace('_', ' ')}"
    lost = bus.get("frames_overrun", 0) + bus.get("frames_dropped", 0)
    return f"{text} ({lost:,} frames lost)" if lost else text


def stream_rows(store: Store, vin: str | None) -> Iterator[Row]:
    for stream in store.streams(vin):
        yield {
            "vin": stream.vin,
            "stream_no": stream.facts.stream_no,
            "began_at": times.to_text(stream.began_ns),
            "rate_hz": stream.schema.rate_hz,
            "signals": len(stream.schema.signals),
            "batches": stream.batches,
            "records": stream.records,
            "doubtful": stream.doubtful,
            "expired": stream.expired,
            "blocks_bytes": stream.blocks_bytes,
        }


def signal_rows(
    store: Store, vin: str | None, options: argparse.Namespace
) -> tuple[Sequence[str], Iterator[Row], dict[str, str]]:
    """Columns, rows and units of the named signals; without names, of the list of signals."""
    vehicle = the_vehicle(store, vin)
    if not options.names:
        return ("signal", "unit", "threshold", "source"), listed(vehicle.signals()), {}
    series = vehicle.series(options.names, options.start, options.end, rate_hz=options.rate, fill_s=None)
    units = {info.name: info.unit for info in series.signals if info.unit}
    return ("timestamp", *(info.name for info in series.signals)), values(series), units


def the_vehicle(store: Store, vin: str | None) -> Vehicle:
    """The one of this name, or the only one. Raises QueryError."""
    if vin is None:
        vins = store.vins()
        if len(vins) != 1:
            raise QueryError(f"say which vehicle with --vin; known are {', '.join(vins) or 'none yet'}")
        (vin,) = vins
    return store.vehicle(vin)


def listed(signals: Iterable[SignalInfo]) -> Iterator[Row]:
    for info in signals:
        yield {"signal": info.name, "unit": info.unit, "threshold": info.threshold, "source": info.source}


def values(series: Series) -> Iterator[Row]:
    """{"timestamp": ..., name: value or None} of each record, by time."""
    for piece in series.pieces:
        columns = {
            info.name: written_values(info, piece.values[:, k]) for k, info in enumerate(series.signals)
        }
        for index, at_ns in enumerate(piece.times_ns.tolist()):
            yield {"timestamp": times.to_text(at_ns)} | {
                name: column[index] for name, column in columns.items()
            }


def print_json(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A list, one row a line, so that long ones stream."""
    print("[", end="")
    for number, row in enumerate(rows):
        shown = {column: row[column] for column in columns} | {
            k: row[k] for k in ("causes", "evidence", "conditions", "heartbeat") if k in row
        }
        print(",\n " if number else "\n ", json.dumps(shown, ensure_ascii=False), sep="", end="")
    print("\n]")


def print_csv(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """With a header; an empty cell is what is not available."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in rows)


def print_table(columns: Sequence[str], rows: Iterable[Row], units: Mapping[str, str] | None = None) -> None:
    """For people: at most TABLE_ROWS_MAX rows, and a line that says so. `units`: of the columns that have one."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    rows = iter(rows)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    table = Table(header_style="bold", box=None, pad_edge=False)
    hidden = NOT_IN_TABLES if "code" in columns else BESIDES
    shown = [column for column in columns if column not in hidden]
    of_signals = columns[0] == "timestamp"  # a signal's name stays as it is written, and so do its values
    digits = SIGNAL_DIGITS if of_signals else TABLE_DIGITS
    for column in shown:
        heading = column if of_signals else column.replace("_", " ")
        if units and column in units:
            heading += f" ({units[column]})"
        table.add_column(heading, no_wrap=column in WHOLE, overflow="fold")
    for row in itertools.islice(rows, TABLE_ROWS_MAX):
        table.add_row(
            *(_cell(row[column], DIGITS_OF.get(column, digits)) for column in shown),
            style=_STYLES.get(row.get("severity", ""), ""),
        )
    if not table.row_count:
        console.print("none are stored")
        return
    # Wider than the terminal rather than without the end of a VIN or whole columns: lines are then continued on the next.
    least = Measurement.get(console, console.options.update(max_width=WIDEST_COLUMNS), table).minimum
    if console.width < least:
        console.width = max(PIPE_COLUMNS, least)
    console.print(table)
    if next(rows, None) is not None:
        console.print(
            f"the first {TABLE_ROWS_MAX} rows; --from, --to and --rate narrow it down, --format csv has all",
            style="dim",
        )


BESIDES = frozenset({"action", "batches", "late"})  # CSV and JSON have them
NOT_IN_TABLES = BESIDES | {
    "started_at",
    "signal",
    "acknowledged_at",
    "note",
}  # of faults, which have many columns
WHOLE = frozenset(
    {
        "vin",
        "code",
        "severity",
        "state",
        "timestamp",
        "last_seen",
        "detected_at",
        "ended_at",
        "began_at",
        "live_at",
    }
)
PRINTERS = {"json": print_json, "csv": print_csv, "table": print_table}
_STYLES = {"CRITICAL": "red", "WARNING": "yellow"}


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
