"""How far battery health is from the truth, on drives whose battery is known: `python -m benchmarks.battery [--json F]`.

The drives that are shipped were made with a battery whose resistance and capacity replay_logs/pack.py knows at every temperature and
charge. They are estimated from the sampled records, and from what is left of these under thresholds.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.sampled import our_drives
from benchmarks.screen import write_json
from codec.records import concatenate
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from collector.battery import BatteryState, Estimate, Roles, advance, bind, portion_of
from replay_logs.models import MODELS
from replay_logs.pack import Pack
from replay_logs.scenarios import DRIVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.sampled import SampledDrive
    from codec.records import Records
    from codec.schema import Schema

SHARES = (0.0, 0.1, 1.0)  # of the default thresholds
BLOCK_S = 10
MODULES = tuple(f"ModuleTemp{number}" for number in (1, 2, 3, 4))


@dataclass(frozen=True, slots=True)
class Compared:
    """One estimate beside the truth, in its own unit."""

    drive: str
    share: float
    kind: str
    value: float
    uncertainty: float
    truth: float
    n: int

    @property
    def error(self) -> float:
        return self.value - self.truth

    @property
    def within(self) -> bool:
        return abs(self.error) <= self.uncertainty


def reconstructed(drive: SampledDrive) -> list[Records]:
    """What a collector has of it."""
    facts = StreamFacts(bytes(16), 0, drive.runs[0].first_tick)
    encoder, decoder = StreamEncoder(drive.schema, facts), StreamDecoder(drive.schema, facts)
    size = BLOCK_S * drive.schema.rate_hz
    found = []
    for run in drive.runs:
        for start in range(0, len(run), size):
            block = encoder.encode(run.slice(start, min(start + size, len(run))))
            found.append(decoder.decode(block.seq, block.content).records)
    return found


def estimates(schema: Schema, runs: Iterable[Records]) -> list[Estimate]:
    battery, state = bind(Roles(), schema), BatteryState()
    found: list[Estimate] = []
    for run in runs:
        some, state = advance(
            battery, state, 0, portion_of(battery, run), lambda tick: tick * schema.period_ns
        )
        found += some
    return found


def truth(drive: SampledDrive, estimate: Estimate) -> float | None:
    """Of the sampled records that the estimate is made of; None for kinds that the generator does not know."""
    model = MODELS[DRIVES[drive.name].model]
    if estimate.kind == "capacity":
        return model.capacity_ah
    if estimate.kind != "resistance":
        return None
    (run,) = concatenate(drive.runs)
    part = run.slice(
        max(0, estimate.first_tick - run.first_tick), min(len(run), estimate.tick - run.first_tick)
    )
    values = drive.schema.to_physical(part.counts, part.states)
    columns = [drive.schema.index(name) for name in MODULES]
    temperature = float(np.nanmean(values[:, columns]))
    soc = float(np.nanmean(values[:, drive.schema.index("SOC")]))
    return Pack(model, soc=soc, temperature_c=temperature).resistance_ohm


def measure(drives: Sequence[SampledDrive], shares: Sequence[float] = SHARES) -> list[Compared]:
    rows = []
    for drive in drives:
        for share in shares:
            kept = drive.with_thresholds(share)
            runs = list(kept.runs) if share == 0 else reconstructed(kept)
            for estimate in estimates(kept.schema, runs):
                known = truth(drive, estimate)
                if known is not None:
                    rows.append(
                        Compared(
                            drive.name,
                            share,
                            estimate.kind,
                            estimate.value,
                            estimate.uncertainty,
                            known,
                            estimate.n,
                        )
                    )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.battery", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    rows = measure(our_drives())
    print(
        f"{'drive':<12} {'thresholds':<10} {'kind':<11} {'estimate':>9} {'+-':>8} {'truth':>9} {'error':>7}  n"
    )
    for row in rows:
        thresholds = "lossless" if row.share == 0 else f"x {row.share:g}"
        error = f"{100 * row.error / row.truth:+.1f} %"
        print(
            f"{row.drive:<12} {thresholds:<10} {row.kind:<11} {row.value:>9.4g} {row.uncertainty:>8.2g} "
            f"{row.truth:>9.4g} {error:>7}  {row.n}{'' if row.within else '  OUTSIDE'}"
        )
    inside = sum(row.within for row in rows)
    print(f"{inside} of {len(rows)} lie within the uncertainty that they state")
    write_json(options.json, {"rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
