"""What an outbox costs the vehicle's disk: `python -m benchmarks.outbox`.

Rules
- Bytes are those that the kernel counts as this process's writes to storage (/proc/self/io), whole pages of its cache.
  What the file system writes for itself is in the device's figure alone, beside everybody else's writes.
- The real pipeline and the real outbox, one record of the drive after the other, durable as the default says; acks
  come every ACK_BLOCKS. The outbox is at its quota in the rows that say so: then every block evicts another.
- A start is everything until the first record could be stored: opening, checking, finishing what a crash left. The
  file's pages are put out of memory before.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.recordings import missing_note, our_car, recorded_cars
from benchmarks.sampled import SampledDrive, sample_drive
from benchmarks.screen import console, write_json
from codec.guards import GuardSet
from codec.stream import Clock
from collector.ingest.materialise import Readable, to_json
from edge_agent.blobs import pack_schema
from edge_agent.capture import Settings, open_outbox
from edge_agent.outbox import Outbox
from edge_agent.outbox_rows import NOWHERE
from edge_agent.pipeline import BlockTicks, Mode, Pipeline, StreamName
from edge_agent.rows import Commit, position_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codec.records import Records

RATE_HZ = 50
BLOCK_S = 10
BLOCK_RECORDS = BLOCK_S * RATE_HZ
ACK_BLOCKS = 10  # the collector acks within 100 s
GROUP_BLOCKS = 3
FILL_BLOCKS = 10_000  # of one transaction
BLOCKS, BLOCKS_JOURNALED, BLOCKS_USUAL = 3000, 500, 12
START_BLOCKS = 100_000  # twelve days of driving
QUOTA_BYTES = 60_000
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "devtmpfs"}


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One way of keeping records. The names are the keys of the JSON."""

    scheme: str
    loss_max_s: float
    blocks: int
    disk_bytes_per_block: float
    device_bytes_per_block: float  # of the whole device meanwhile
    content_bytes_per_block: float  # what had to be kept
    commits_per_block: float
    appends_per_s: float  # durable commits


@dataclass(frozen=True, slots=True)
class StartRow:
    blocks: int
    file_bytes: int
    start_ms: float


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes so far: by this process, and to the device by anybody."""

    process: int
    device: int


def written(device: int) -> Written:
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = {key: int(value) for key, value in (line.split(": ") for line in lines)}
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    sectors = int(stat.read_text().split()[6]) if stat.exists() else 0
    return Written(counts["write_bytes"] - counts["cancelled_write_bytes"], sectors * 512)


def file_system(folder: Path) -> str:
    """Type of the file system that a folder is on."""
    best, found = 0, ""
    for line in Path("/proc/mounts").read_text().splitlines():
        mount, kind = line.split()[1:3]
        if folder.resolve().is_relative_to(mount) and len(mount) >= best:
            best, found = len(mount), kind
    return found


def repeated(drive: SampledDrive, block_count: int) -> Iterator[Records]:
    """Seconds of the drive, over and over, without a hole: so many blocks of them."""
    seconds = [
        run.slice(start, start + RATE_HZ)
        for run in drive.runs
        for start in range(0, len(run) - RATE_HZ + 1, RATE_HZ)
    ]
    first = seconds[0].first_tick
    for at in range(block_count * BLOCK_S):
        yield replace(seconds[at % len(seconds)], first_tick=first + at * RATE_HZ)


def commits(drive: SampledDrive, block_count: int, loss_max_s: float) -> list[Commit]:
    """What the pipeline wants stored, commit by commit."""
    ticks = BlockTicks.of_seconds(
        RATE_HZ, offline_s=30, online_s=BLOCK_S, watched_s=1, keyframe_s=30, loss_max_s=loss_max_s
    )
    name = StreamName(0, bytes(16), bytes(16))
    pipeline = Pipeline(drive.schema, name, ticks, guards=GuardSet(), mode=Mode.ONLINE)
    found = (pipeline.add(second, Clock(0, synchronised=True)) for second in repeated(drive, block_count))
    return [commit for commit in found if commit]


def measure_ours(
    folder: Path, drive: SampledDrive, block_count: int, loss_max_s: float, limit: int
) -> OutboxRow:
    todo = commits(drive, block_count, loss_max_s)
    device = folder.stat().st_dev
    outbox = Outbox(str(folder / f"outbox-{loss_max_s:g}-{limit}.db"))
    outbox.keep_schema(drive.schema.hash, pack_schema(drive.schema))
    before, begun = written(device), time.perf_counter()
    stored = 0
    for commit in todo:
        outbox.commit(commit, limit_bytes=limit)
        stored += len(commit.batches)
        if commit.batches and stored % ACK_BLOCKS == 0:
            outbox.wanted = position_of(0, stored)
    seconds, after = time.perf_counter() - begun, written(device)
    outbox.close()
    return OutboxRow(
        "outbox" if limit == NOWHERE else "outbox at its quota",
        loss_max_s,
        stored,
        (after.process - before.process) / stored,
        (after.device - before.device) / stored,
        sum(commit.size_bytes for commit in todo) / stored,
        len(todo) / stored,
        len(todo) / seconds,
    )


def measure_usual(folder: Path, drive: SampledDrive, block_count: int) -> OutboxRow:
    """One row and one transaction per record, as JSON."""
    readable = Readable(drive.schema)
    todo = [
        (second.first_tick + at, to_json(readable.values(second, at)))
        for second in repeated(drive, block_count)
        for at in range(RATE_HZ)
    ]
    device = folder.stat().st_dev
    with closing(sqlite3.connect(folder / "usual.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(
            "CREATE TABLE records (id INTEGER PRIMARY KEY, tick INTEGER, data TEXT, sent INTEGER DEFAULT 0)"
        )
        before, begun = written(device), time.perf_counter()
        for row in todo:
            db.execute("INSERT INTO records (tick, data) VALUES (?, ?)", row)
        seconds, after = time.perf_counter() - begun, written(device)
    return OutboxRow(
        "one record per transaction",
        1 / RATE_HZ,
        block_count,
        (after.process - before.process) / block_count,
        (after.device - before.device) / block_count,
        sum(len(data) for _, data in todo) / block_count,
        BLOCK_RECORDS,
        len(todo) / seconds,
    )


def fill(outbox: Outbox, drive: SampledDrive, block_count: int) -> None:
    """So many blocks in one stream, as if they had been encoded: the drive's, over and over."""
    begins, *rest = commits(drive, GROUP_BLOCKS * 10, BLOCK_S)
    rows = [row for commit in (begins, *rest) for row in commit.batches]
    outbox.commit(Commit(stream=begins.stream), limit_bytes=NOWHERE)
    last = rest[-1].end
    assert last is not None
    for start in range(0, block_count, FILL_BLOCKS):
        batches = tuple(
            replace(
                rows[seq % len(rows)],
                seq=seq,
                group_seq=seq - seq % GROUP_BLOCKS,
                first_tick=rows[0].first_tick + seq * BLOCK_RECORDS,
                end_record=(seq + 1) * BLOCK_RECORDS,
            )
            for seq in range(start, min(start + FILL_BLOCKS, block_count))
        )
        end_tick = batches[-1].first_tick + BLOCK_RECORDS
        end = replace(
            last, next_seq=batches[-1].seq + 1, record_count=batches[-1].end_record, end_tick=end_tick
        )
        outbox.commit(Commit(batches=batches, end=end), limit_bytes=NOWHERE)


def measure_start(folder: Path, drive: SampledDrive, block_count: int) -> StartRow:
    path = folder / "start.db"
    outbox = Outbox(str(path))
    outbox.keep_schema(drive.schema.hash, pack_schema(drive.schema))
    fill(outbox, drive, block_count)
    outbox.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    ticks = BlockTicks(offline=1, online=1, watched=1, keyframe=1, loss_max=1)
    settings = Settings(str(path), "FULL", NOWHERE, ticks, park_after_ns=0, boot_id=bytes(16))
    begun = time.perf_counter()
    outbox, aside = open_outbox(settings, os.urandom)
    seconds = time.perf_counter() - begun
    assert not aside, "a sound file was set aside"
    outbox.close()
    return StartRow(block_count, path.stat().st_size, seconds * 1000)


def measure(folder: Path, drive: SampledDrive, share: float = 1.0) -> tuple[list[OutboxRow], StartRow]:
    """All rows; `share` of the blocks that they stand for."""

    def of(blocks: int) -> int:
        return max(2, round(blocks * share))

    rows = [
        measure_ours(folder, drive, of(BLOCKS), BLOCK_S, NOWHERE),
        measure_ours(folder, drive, of(BLOCKS), BLOCK_S, QUOTA_BYTES),
        measure_ours(folder, drive, of(BLOCKS_JOURNALED), 1.0, NOWHERE),
        measure_usual(folder, drive, of(BLOCKS_USUAL)),
    ]
    return rows, measure_start(folder, drive, of(START_BLOCKS))


def report(rows: Sequence[OutboxRow], start: StartRow, drive: str, note: str | None) -> dict[str, Any]:
    """The JSON document."""
    plain, _, journaled, _ = rows
    return {
        "disk_bytes_per_block": plain.disk_bytes_per_block,
        "disk_bytes_per_block_journaled": journaled.disk_bytes_per_block,
        "appends_per_s": plain.appends_per_s,
        "start_ms_at_100k_blocks": start.start_ms,
        "rows": [asdict(row) for row in rows],
        "start": asdict(start),
        "drive": drive,
        "note": note,
    }


def reference_drive() -> tuple[SampledDrive, str | None]:
    """The reference city drive, or ours where it is not here, and what to say then."""
    cars = [car for car in recorded_cars() if car.name == "reference-drives"]
    car = cars[0] if cars else our_car()
    drive = sample_drive(car.logs[0], car.dbcs, rate_hz=RATE_HZ, thresholds=car.thresholds)
    return drive, None if cars else missing_note()


def show(rows: Sequence[OutboxRow], start: StartRow, note: str | None) -> None:
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
    screen = console()
    screen.print(table)
    screen.print(
        f"start with {start.blocks:,} blocks ({start.file_bytes / 1e6:,.1f} MB) out of memory: {start.start_ms:,.0f} ms",
        highlight=False,
    )
    screen.print("whole device: what its file system and everybody else wrote meanwhile, too", style="dim")
    if note:
        screen.print(note, style="dim", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.outbox", description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/var/tmp"),
        help="on the disk that is measured (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    kind = file_system(options.folder)
    if kind in MEMORY_FILE_SYSTEMS:
        print(
            f"benchmarks.outbox: {options.folder} is in memory ({kind}); name a folder on a disk with --folder",
            file=sys.stderr,
        )
        return 2
    drive, note = reference_drive()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows, start = measure(Path(name), drive)
    show(rows, start, note)
    write_json(options.json, report(rows, start, drive.name, note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
