"""Reading a day of one vehicle, in a few points that keep its peaks: `python -m benchmarks.reads [--hours 24] [--store DIR]`.

Rules
- The store is made by the real ingest, rules and rows included, of our city drive over and over, in blocks of 10 s. Making it is not
  measured.
- Every answer is checked: its lows, highs and counts are those of every record decoded, bucket by bucket, to the bit.
- Cold: the file is put out of the kernel's cache and the store opened anew, and all of it counts. Warm: the same again. What Python
  imports and numba loads once per process is not measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmarks import backlog
from benchmarks.screen import console, write_json
from codec.stream import StreamEncoder, StreamFacts
from collector.ingest.ingest import Ingest
from collector.items import BatchItem, BlobItem, Description, Greeting, OutboxKey
from collector.rules import load_rules
from collector.store import open_store
from collector.store.ledger import StoreLedger
from collector.writer import commit
from demo.settings import toml
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from codec.records import Records
    from collector.items import Item
    from collector.reading.reduced import Reduced
    from collector.reading.vehicle import Vehicle
    from decoder.plan import Plan

HOURS = 24.0
VIN = "asset:day"
BLOCK_S, KEYFRAME_S = 10, 30
GROUP_BATCHES = 64  # in one transaction
SIGNALS = ("VehicleSpeed", "PackCurrent", "BatteryTempMax", "Gear")  # busy, noisy, slow, words
TIMES = 7
GOAL_MS, REMARKABLE_MS = 150.0, 50.0


@dataclass(frozen=True, slots=True)
class ReadRow:
    """The names are the keys of the JSON. `buckets`: of which each gives two points; `cold_ms` is the median, the others the least.

    `cpu_ms_min`: processor time of a warm one, which other work on the machine does not lengthen as much.
    """

    signal: str
    hours: float
    records: int
    signals: int
    points: int
    buckets: int
    cold_ms: float
    cold_ms_min: float
    warm_ms_min: float
    cpu_ms_min: float
    checked: bool


def plan_of(folder: Path) -> Plan:
    """What the agent would sample of our car: 36 signals."""
    settings = folder / "agent.toml"
    settings.write_text(toml({"vehicle": {"id": VIN}} | backlog.document()))
    return make_plan(load_config(str(settings), {}))[0]


def fill(store: Path, plan: Plan, hours: float) -> int:
    """A store of so many hours. Returns how many records."""
    key = OutboxKey(VIN, bytes(16))
    ledger, ingest = StoreLedger(store), Ingest(load_rules())
    blocks = _blocks(plan, hours)
    first = next(blocks)
    facts = StreamFacts(bytes(range(16)), 0, first.first_tick, guards_hash=ingest.guards.hash)
    schema = BlobItem(key, pb.BLOB_KIND_SCHEMA, plan.schema.hash, plan.schema.to_bytes())
    items: list[Item] = [Greeting(key), schema, Description(key, facts, plan.schema.hash, b"", None, 0)]
    encoder = StreamEncoder(plan.schema, facts, guards=ingest.guards)
    for records in (first, *blocks):
        block = encoder.encode(records, keyframe=encoder.next_seq % (KEYFRAME_S // BLOCK_S) == 0)
        items.append(BatchItem(key, 0, block.seq, False, block.content))
        if len(items) >= GROUP_BATCHES:
            _take(ledger, ingest, items)
            items = []
    _take(ledger, ingest, items)
    ledger.close()
    return encoder.record_count


def _blocks(plan: Plan, hours: float) -> Iterator[Records]:
    size = BLOCK_S * plan.schema.rate_hz
    for part in backlog.taken(plan, hours):
        for at in range(0, len(part), size):
            yield part.slice(at, min(at + size, len(part)))


def _take(ledger: StoreLedger, ingest: Ingest, items: Sequence[Item]) -> None:
    while items:
        items = items[len(commit(ledger, ingest, items, time.time_ns())) :]


def measure(
    store: Path, records: int, signal: str, hours: float, points: int, said: Callable[[str], None]
) -> ReadRow:
    """The newest so many hours of one signal."""
    end_ns = max(span.end_ns for span in open_store(store).spans(VIN))
    start = np.datetime64(end_ns - round(hours * 3600e9), "ns")

    def read() -> Reduced:
        return open_store(store).vehicle(VIN).reduced(signal, start, np.datetime64(end_ns, "ns"), points)

    found = read()
    cold = [_seconds(read, store)[0] for _ in range(TIMES)]
    warm, cpu = zip(*(_seconds(read, None) for _ in range(TIMES)), strict=True)
    said(f"{signal}, {hours:g} h: {1000 * statistics.median(cold):.0f} ms")
    return ReadRow(
        signal,
        hours,
        records,
        len(open_store(store).spans(VIN)[0].schema.signals),
        points,
        len(found),
        round(1000 * statistics.median(cold), 1),
        round(1000 * min(cold), 1),
        round(1000 * min(warm), 1),
        round(1000 * min(cpu), 1),
        is_exact(open_store(store).vehicle(VIN), found, int(start.astype(np.int64)), end_ns),
    )


def _seconds(read: Callable[[], object], evicted: Path | None) -> tuple[float, float]:
    """On the clock, and of processor time."""
    if evicted is not None:
        for name in (evicted, evicted.with_name(evicted.name + "-wal")):
            if name.exists():
                with name.open("rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun, used = time.perf_counter(), time.process_time()
    read()
    return time.perf_counter() - begun, time.process_time() - used


def is_exact(vehicle: Vehicle, found: Reduced, start_ns: int, end_ns: int) -> bool:
    """Whether the buckets are what every record, decoded, says."""
    bounds = (np.datetime64(start_ns, "ns"), np.datetime64(end_ns, "ns"))
    low, high = np.full(len(found), np.inf), np.full(len(found), -np.inf)
    count = np.zeros(len(found), np.int64)
    for piece in vehicle.series(found.signal.name, *bounds, fill_s=None).pieces:
        values = piece.column(0)
        known = ~np.isnan(values)
        places = (piece.times_ns[known] - found.start_ns) // found.step_ns
        np.minimum.at(low, places, values[known])
        np.maximum.at(high, places, values[known])
        np.add.at(count, places, 1)
    empty = count == 0
    low[empty] = high[empty] = np.nan
    same = np.array_equal(low, found.low, equal_nan=True) and np.array_equal(high, found.high, equal_nan=True)
    return bool(same and np.array_equal(count, found.count))


def show(rows: Sequence[ReadRow]) -> None:
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
        "cpu,\nleast",
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
            f"{row.cpu_ms_min:,.1f}",
            "yes" if row.checked else Text("no", "red"),
        )
    console().print(table)
    print(f"a store of {rows[0].records:,} records")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where an answer is not exact."""
    parser = argparse.ArgumentParser("python -m benchmarks.reads", description=__doc__)
    parser.add_argument("--hours", type=float, default=HOURS, help="stored; default 24")
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--store", type=Path, metavar="DIR", help="where to make the store, and leave it")
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.store or Path(temporary)
        folder.mkdir(exist_ok=True)
        plan = plan_of(folder)
        store = folder / "reads.db"
        store.unlink(missing_ok=True)
        records = fill(store, plan, options.hours)
        lengths = [hours for hours in (1.0, 8.0) if hours < options.hours]

        def said(line: str) -> None:
            print(line, file=sys.stderr)

        rows = [measure(store, records, signal, options.hours, options.points, said) for signal in SIGNALS]
        rows += [measure(store, records, SIGNALS[0], hours, options.points, said) for hours in lengths]
        size = store.stat().st_size
    show(rows)
    document = {
        "reduced_day_ms": max(row.cold_ms for row in rows if row.hours == options.hours),
        "goal_ms": [GOAL_MS, REMARKABLE_MS],
        "store_bytes": size,
        "rows": [asdict(row) for row in rows],
    }
    write_json(options.json, document)
    return 0 if all(row.checked for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
