"""Blocks a second through real gRPC into a durable store: `python -m benchmarks.ingest --vehicles N --store sqlite|postgresql`.

Rules
- Blocks of 1 s of our city drive (50 records of all its signals), a keyframe every 30 s; every vehicle sends the same ones. They are
  reconstructed, checked by all shipped rules and by the detectors that run by default, stored, and acknowledged.
- The collector is what `collector serve` is, in this process; the vehicles are another process, on the same machine, which they share.
- Every block is acknowledged by itself, and two of a vehicle are on their way (`--in-flight` says otherwise): p99 is from the receipt
  of a message to the moment at which its conversation hears that it is durable.
- `real time`: as many vehicles as are named (`--real-time`), each with a block a second, spread over the second: what an operator's
  fleet does. They are on their way for as long as the collector takes, and no longer.
- The limit that gRPC sets, on this machine and in this process, is measured the same way, with a writer that knows nothing and says
  of every block at once that it is durable.
- SQLite with synchronous=FULL, PostgreSQL with fsync and synchronous_commit, both on a disk.
- Apart from gRPC, on one core: decoding and rules; rows by COPY; bytes a vehicle and day.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks import postgresql
from benchmarks.echo import Echo
from benchmarks.fleet import Workload, drive
from benchmarks.sampled import DRIVES, sample_drive
from benchmarks.screen import console, write_json
from benchmarks.stored import copied_rows_per_s, decoded_records_per_s, sizes
from codec.records import Records
from codec.stream import StreamEncoder, StreamFacts
from collector.config import SHIPPED_RULES
from collector.garbage import look_seldom
from collector.gateway import Gateway, start_server
from collector.ingest.ingest import Ingest
from collector.ingest.materialise import Materialise
from collector.items import BatchItem, Stored
from collector.rules import load_rules
from collector.store.ledger import StoreLedger
from collector.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.sampled import SampledDrive
    from collector.items import Item, Outcome
    from collector.rules import Rules
    from collector.writer import Delivery, Recipient

    Deliver = Callable[[Delivery], None]

BLOCK_S, KEYFRAME_S = 1, 30
RATES_HZ = (50.0, 1.0, 0.0)
WARM_S = 3.0
LAPS, LAP_TICKS = 4, 1 << 20  # the drive, over and over, each time a gap later: so that there is enough of it
LOG, DBC = DRIVES / "drives" / "city.log.gz", DRIVES / "car.dbc"
STREAM_ID = bytes(range(16))


@dataclass(frozen=True, slots=True)
class IngestRow:
    """The names are the keys of the JSON."""

    store: str
    materialised: str
    vehicles: int
    in_flight: int  # blocks of a vehicle
    real_time: bool  # a block a second and vehicle; else each as soon as one is acknowledged
    batches_per_s: float
    records_per_s: float
    p99_ms: float
    batches_per_cpu_s: float  # of the collector's processor time, PostgreSQL's not counted


@dataclass(frozen=True, slots=True)
class Load:
    work: Workload
    vehicles: int
    in_flight: int
    seconds: float
    period_s: float = 0.0  # from one block of a vehicle to the next


def workload(driven: SampledDrive, rules: Rules) -> Workload:
    guards = rules.guards()
    facts = StreamFacts(STREAM_ID, 0, driven.runs[0].first_tick, guards_hash=guards.hash)
    encoder = StreamEncoder(driven.schema, facts, guards=guards)
    count = BLOCK_S * driven.schema.rate_hz
    parts = [
        Records(
            run.first_tick + at + lap * LAP_TICKS, run.counts[at : at + count], run.states[at : at + count]
        )
        for lap in range(LAPS)
        for run in driven.runs
        for at in range(0, len(run) - count + 1, count)
    ]
    blocks = [encoder.encode(part, keyframe=at % KEYFRAME_S == 0).content for at, part in enumerate(parts)]
    return Workload(
        driven.schema.to_bytes(),
        driven.schema.hash,
        STREAM_ID,
        facts.origin_tick,
        guards.hash,
        tuple(blocks),
        count,
    )


class Stopwatch:
    """In front of a writer: notes when each block was received, and when its conversation hears that it is durable."""

    def __init__(self, writer: Writer | Echo) -> None:
        self._writer = writer
        self.done: list[tuple[float, float]] = []  # (when, how long it took)

    def submit(self, recipient: Recipient, item: Item) -> None:
        if isinstance(item, BatchItem):
            recipient = _Timed(self, recipient, time.monotonic())
        self._writer.submit(recipient, item)


@dataclass(frozen=True, slots=True)
class _Timed:
    stopwatch: Stopwatch
    recipient: Recipient
    received_s: float

    def ingested(self, outcome: Outcome) -> None:
        self.recipient.ingested(outcome)
        if isinstance(outcome, Stored):
            now_s = time.monotonic()
            self.stopwatch.done.append((now_s, now_s - self.received_s))


async def measure(
    load: Load, name: str, rate_hz: float, make: Callable[[Deliver], Writer | Echo]
) -> IngestRow:
    """`make` makes the writer, which materialises at that rate."""
    loop = asyncio.get_running_loop()
    gateway = Gateway(window_bytes=load.work.window_bytes(load.in_flight))

    def deliver(delivery: Delivery) -> None:
        loop.call_soon_threadsafe(gateway.deliver, delivery)

    writer = make(deliver)
    watch = Stopwatch(writer)
    gateway.writer = watch  # type: ignore[assignment]
    server, port = await start_server(gateway, "127.0.0.1:0")
    writer.start()
    fleet = multiprocessing.get_context("spawn").Process(
        target=drive, args=(port, load.work, load.vehicles, load.in_flight, load.period_s), daemon=True
    )
    fleet.start()
    try:
        while len(watch.done) < 4 * load.vehicles:
            await asyncio.sleep(0.1)
            if not fleet.is_alive():
                raise RuntimeError("the vehicles' process ended early")
        await asyncio.sleep(WARM_S)
        begun_s, begun_cpu_s = time.monotonic(), time.process_time()
        await asyncio.sleep(load.seconds)
        ended_s, cpu_s = time.monotonic(), time.process_time() - begun_cpu_s
        took = [took_s for at_s, took_s in watch.done if begun_s <= at_s < ended_s]
        if not fleet.is_alive():
            raise RuntimeError(
                "the vehicles had sent everything; measure for a shorter time, or more vehicles"
            )
    finally:
        fleet.terminate()
        fleet.join()
        gateway.close()
        await server.stop(0)
        await asyncio.to_thread(writer.stop, 60)
    per_s = len(took) / (ended_s - begun_s)
    rows = f"{rate_hz:g} Hz" if rate_hz else "off"
    return IngestRow(
        store=name,
        materialised=rows,
        vehicles=load.vehicles,
        in_flight=load.in_flight,
        real_time=load.period_s > 0,
        batches_per_s=per_s,
        records_per_s=per_s * load.work.records,
        p99_ms=1e3 * float(np.percentile(took, 99)),
        batches_per_cpu_s=len(took) / cpu_s,
    )


def _writer(where: Path | str, ingest: Ingest, deliver: Deliver) -> Writer:
    return Writer(StoreLedger(where), ingest, deliver, time.time_ns)


def print_ingest(rows: Sequence[IngestRow], apart: Mapping[str, Any]) -> None:
    table = Table(box=SIMPLE_HEAD, title="durable blocks of 1 s through gRPC")
    for heading in (
        "store",
        "materialised",
        "vehicles",
        "sent",
        "batches/s",
        "records/s",
        "p99",
        "batches/core-s",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.store,
            row.materialised,
            f"{row.vehicles:,}",
            "in real time" if row.real_time else "as fast as it goes",
            f"{row.batches_per_s:,.0f}",
            f"{row.records_per_s:,.0f}",
            f"{row.p99_ms:,.0f} ms",
            f"{row.batches_per_cpu_s:,.0f}",
        )
    screen = console()
    screen.print(table)
    screen.print(f"decoding and rules: {apart['decode_and_rules_records_per_s'] / 1e6:.2f} million records/s")
    if "copied_rows_per_s" in apart:
        screen.print(f"wide rows by COPY: {apart['copied_rows_per_s']:,.0f} a second")
        for what, size in apart["bytes_per_vehicle_day"].items():
            screen.print(f"a vehicle and day, {what.replace('_', ' ')}: {size / 1e6:,.2f} MB")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.ingest", description=__doc__.partition("\n")[0])
    parser.add_argument("--vehicles", type=int, default=200, metavar="N")
    parser.add_argument(
        "--real-time",
        type=int,
        default=1000,
        metavar="N",
        help="vehicles of the rows in real time; default %(default)s; 0: no such rows",
    )
    parser.add_argument(
        "--in-flight",
        type=int,
        default=2,
        metavar="N",
        help="blocks of a vehicle that are not acknowledged, which is done by halves; default %(default)s: each by itself",
    )
    parser.add_argument(
        "--store", choices=("sqlite", "postgresql"), help="default: both, where PostgreSQL is installed"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row; default %(default)g")
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="on a disk; default %(default)s"
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    why_not = postgresql.missing()
    if why_not and options.store == "postgresql":
        print(f"benchmarks.ingest: {why_not}", file=sys.stderr)
        return 1
    stores = [options.store] if options.store else ["sqlite", *([] if why_not else ["postgresql"])]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    look_seldom()
    rules, driven = load_rules(SHIPPED_RULES), sample_drive(LOG, [DBC])
    work = workload(driven, rules)
    one_lap = replace(work, blocks=work.blocks[: len(work.blocks) // LAPS])
    load = Load(work, options.vehicles, options.in_flight, options.seconds)
    rows = [asyncio.run(measure(load, "none", 0.0, Echo))]
    print(rows[-1], file=sys.stderr)
    found: dict[str, Any] = {"decode_and_rules_records_per_s": decoded_records_per_s(work, rules)}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in stores:
            server = postgresql.Server(options.folder, durable=True) if name == "postgresql" else None
            try:
                of_rate = [(rate_hz, load) for rate_hz in RATES_HZ]
                if options.real_time:
                    of_rate.append((1.0, replace(load, vehicles=options.real_time, period_s=BLOCK_S)))
                for number, (rate_hz, one) in enumerate(of_rate):
                    where = server.database() if server else Path(folder) / f"{number}.db"
                    ingest = Ingest(rules, materialise=Materialise(rate_hz))
                    rows.append(asyncio.run(measure(one, name, rate_hz, partial(_writer, where, ingest))))
                    print(rows[-1], file=sys.stderr)
                if server:
                    found["copied_rows_per_s"] = copied_rows_per_s(server.database(), driven)
                    found["bytes_per_vehicle_day"] = asdict(sizes(server.database(), driven, one_lap))
            finally:
                if server:
                    server.close()
    print_ingest(rows, found)
    write_json(options.json, {"rows": [asdict(row) for row in rows], **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
