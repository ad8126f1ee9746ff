"""What the residuals of our blocks would cost if their statistics were known beforehand: `python -m tests.codec.limit`.

Rules
- The plain decoder (tests/plain_decoder) reads blocks as they are and counts how often each context of each column saw a 0 and a 1.
  The limit is the entropy of these counts: an ideal coder's bytes with fixed, known statistics of this very drive, and no
  headers. No coder of these residuals gets far below it; what is below it needs other predictions.
- Blocks of 10 s, a keyframe every 30 s, as in `benchmarks.codec`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import zstandard
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.codec import RATE_HZ, THRESHOLDS, cut, name_of
from benchmarks.recordings import our_car, recorded_cars
from benchmarks.sampled import sample_drive
from benchmarks.schemes.ours import STREAM_ID, deadreckon
from benchmarks.screen import console, short, write_json
from codec.priors import built_in
from tests.plain_decoder import stream as plain
from tests.plain_decoder.columns import read_columns
from tests.plain_decoder.range_decoder import RangeDecoder
from tests.plain_decoder.words import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.recordings import Car

BLOCK_S = 10.0
RECORDS_MAX = 30_000  # ten minutes: plain Python takes about a minute for them


@dataclass(frozen=True, slots=True)
class Limit:
    """One drive under one set of thresholds, in kB per vehicle-hour. The names are the keys of the JSON."""

    log: str
    thresholds: str
    records: int
    deadreckon: float  # whole blocks
    headers: float  # of these, digests included
    entropy: float  # of the bodies, see above


class Tally(RangeDecoder):
    """Counts what it reads: [zeros, ones] by column and context, and bits that have none."""

    seen: dict[tuple[int, int], list[int]]
    columns: dict[int, int]  # by the identity of its contexts in the block that is being read
    raw_bits: int

    def bit(self, index: int) -> int:
        found: int = super().bit(index)
        Tally.seen[Tally.columns[id(self.contexts)], index][found] += 1
        return found

    def raw(self, bits: int) -> int:
        Tally.raw_bits += bits
        return int(super().raw(bits))


def measure(car: Car, log: Path, thresholds: str) -> Limit:
    whole = sample_drive(log, car.dbcs, thresholds=car.thresholds)
    drive = whole.middle(RECORDS_MAX).with_thresholds(THRESHOLDS[thresholds])
    blocks = cut(drive.runs, round(BLOCK_S * RATE_HZ))
    origin = drive.runs[0].first_tick
    contents = deadreckon(origin).encode(drive.schema, blocks)
    body = zstandard.ZstdDecompressor().decompress(built_in().content)
    prior = plain.Prior.parse(built_in().hash, body, {})
    reader = plain.PlainDecoder(drive.schema.to_bytes(), Facts(STREAM_ID, origin), {b"": prior})

    def tallied(coder: Tally, columns: list, own: list, contexts: list, count: int) -> object:
        Tally.columns = {id(row): number for number, row in enumerate(contexts)}
        return read_columns(coder, columns, own, contexts, count)

    Tally.seen, Tally.raw_bits = defaultdict(lambda: [0, 0]), 0
    headers = 0
    with patch.object(plain, "RangeDecoder", Tally), patch.object(plain, "read_columns", tallied):
        for seq, content in enumerate(contents):
            headers += reader.decode(seq, content).header.size
    bits = Tally.raw_bits + sum(entropy(*counts) for counts in Tally.seen.values())
    to_kb_per_hour = RATE_HZ * 3.6 / drive.record_count
    size = sum(map(len, contents))
    return Limit(
        name_of(log), thresholds, drive.record_count, size * to_kb_per_hour, headers * to_kb_per_hour, bits / 8 * to_kb_per_hour
    )  # fmt: skip


def entropy(zeros: int, ones: int) -> float:
    """Bits that tell so many flags apart."""
    total = zeros + ones
    return sum(part * math.log2(total / part) for part in (zeros, ones) if part)


def show(found: Sequence[Limit]) -> None:
    table = Table(box=SIMPLE_HEAD, title=f"kB per vehicle-hour, blocks of {BLOCK_S:g} s")
    for heading in ("log", "thresholds"):
        table.add_column(heading, no_wrap=True)
    for heading in ("records", "deadreckon", "of these\nheaders", "entropy of\nthe rest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        sizes = (short(size) for size in (one.deadreckon, one.headers, one.entropy))
        table.add_row(one.log, one.thresholds, f"{one.records:,}", *sizes)
    console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.codec.limit", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    cars = [car for car in recorded_cars() if car.name == "reference-drives"] or [our_car()]
    tasks = [(car, log, name) for car in cars for log in car.logs[:2] for name in THRESHOLDS]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(measure, *zip(*tasks, strict=True)))
    show(found)
    write_json(options.json, {"rows": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
