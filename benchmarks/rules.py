"""How fast blocks become verdicts, in one process: `python -m benchmarks.rules`.

Rules
- The drives that are shipped, encoded under the guards of the rules in blocks of each length, then decoded and checked
  by all rules, a block at a time, as ingest does it. Nothing is stored, nothing is sent.
- Decoding and rules are timed apart in the same pass, in seconds of processor; the best of several passes counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sampled import our_drives
from benchmarks.screen import write_json
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from collector.config import PROFILES, rules_file
from collector.rules import RuleState, bind, evaluate, load_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.sampled import SampledDrive
    from codec.stream import EncodedBlock
    from collector.rules import Rules

BLOCKS_S = (1, 10)
PASSES = 5


@dataclass(frozen=True, slots=True)
class Checked:
    """All drives at one block length. The names are the keys of the JSON."""

    block_s: int
    records: int
    signals: int
    rules: int
    faults: int
    records_per_s: float  # through both
    decode_us_per_block: float
    rules_us_per_block: float


def measure(drives: Sequence[SampledDrive], rules: Rules, block_s: int) -> Checked:
    streams = [(drive, _encoded(drive, rules, block_s)) for drive in drives]
    count = sum(len(blocks) for _, blocks in streams)
    decode_s, rules_s, faults = min(
        (_pass(streams, rules) for _ in range(PASSES)), key=lambda timed: timed[0] + timed[1]
    )
    records = sum(drive.record_count for drive in drives)
    return Checked(
        block_s,
        records,
        len(drives[0].schema.signals),
        len(rules.rules),
        faults,
        round(records / (decode_s + rules_s)),
        round(1e6 * decode_s / count, 1),
        round(1e6 * rules_s / count, 1),
    )


def _encoded(drive: SampledDrive, rules: Rules, block_s: int) -> list[EncodedBlock]:
    size = block_s * drive.schema.rate_hz
    encoder = StreamEncoder(drive.schema, _facts(drive), guards=rules.guards())
    return [
        encoder.encode(run.slice(at, min(at + size, len(run))))
        for run in drive.runs
        for at in range(0, len(run), size)
    ]


def _facts(drive: SampledDrive) -> StreamFacts:
    return StreamFacts(bytes(16), 0, drive.runs[0].first_tick)


def _pass(
    streams: Sequence[tuple[SampledDrive, list[EncodedBlock]]], rules: Rules
) -> tuple[float, float, int]:
    """Seconds of decoding, seconds of rules, faults."""
    decode_s = rules_s = 0.0
    faults = 0
    for drive, blocks in streams:
        decoder, bound, state = (
            StreamDecoder(drive.schema, _facts(drive)),
            bind(rules, drive.schema),
            RuleState(),
        )
        exact = bound.exact_under(rules.guards())
        for block in blocks:
            began = time.process_time()
            records = decoder.decode(block.seq, block.content).records
            decoded = time.process_time()
            spans, state = evaluate(bound, state, 0, records, exact)
            rules_s += time.process_time() - decoded
            decode_s += decoded - began
            faults += sum(span.last_tick is None for span in spans)
    return decode_s, rules_s, faults


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.rules", description=__doc__)
    parser.add_argument(
        "--rules", type=rules_file, default=PROFILES["demo"], metavar="F", help="or demo (default), fleet"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write the same as data")
    options = parser.parse_args(arguments)
    drives, rules = our_drives(), load_rules(options.rules)
    print(f"{'block':>6}{'records/s':>14}{'decode':>14}{'rules':>14}   {len(rules.rules)} rules")
    rows = []
    for block_s in BLOCKS_S:
        row = measure(drives, rules, block_s)
        rows.append(asdict(row))
        cost = f"{row.decode_us_per_block:>11,.0f} us{row.rules_us_per_block:>11,.0f} us"
        print(f"{block_s:>4} s{row.records_per_s:>14,.0f}{cost}   a block of {row.signals} signals")
    write_json(options.json, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
