"""`python -m tests.simulation.power [--cuts N]`: what a power cut costs under each setting of `outbox.synchronous`.

The real pipeline and outbox write 10 s blocks at 50 Hz, journaled every second, for up to ten minutes on a simulated disk; then its
power is cut. What was written and not synced is lost, whole or by sectors. Lost is what the outbox had been told was committed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.blobs import pack_schema
from edge_agent.capture import open_outbox
from edge_agent.outbox_rows import NOWHERE
from tests.edge_agent import samples
from tests.edge_agent.samples import CLOCK, RATE_HZ, SCHEMA, START
from tests.simulation.disk import Disk, simulated_disks

COMMITS_MAX = 600  # one a second


@dataclass(frozen=True, slots=True)
class Cost:
    """Of so many power cuts: how many lost something, and records."""

    cuts: int
    lossy: int
    records: int
    records_max: int

    def __str__(self) -> str:
        if not self.lossy:
            return f"{self.cuts} power cuts, no committed record lost"
        mean_s = self.records / self.cuts / RATE_HZ
        return (
            f"{self.cuts} power cuts, {self.lossy} lost committed records: {mean_s:.0f} s of them on average, "
            f"{self.records_max / RATE_HZ:.0f} s at most"
        )


def cost(folder: Path, synchronous: str, cuts: int) -> Cost:
    losses = [_lost(folder / f"{synchronous}-{seed}", synchronous, seed) for seed in range(cuts)]
    return Cost(cuts, sum(loss > 0 for loss in losses), sum(losses), max(losses))


def _lost(folder: Path, synchronous: str, seed: int) -> int:
    """Records that one cut cost."""
    rng = random.Random(seed)
    with simulated_disks(rng) as disks:
        disk = disks[str(folder)] = Disk(folder)
        settings = samples.settings(folder, synchronous=synchronous)
        outbox, _ = open_outbox(settings, rng.randbytes)
        outbox.keep_schema(SCHEMA.hash, pack_schema(SCHEMA))
        source = samples.pipeline(outbox.next_stream_no())
        for second in range(rng.randint(1, COMMITS_MAX)):
            temp = np.random.default_rng(second).uniform(0, 40, RATE_HZ)
            added = source.add(samples.records(RATE_HZ, first=START + second * RATE_HZ, temp=temp), CLOCK)
            outbox.commit(added, limit_bytes=NOWHERE)
        disk.frozen = True
        outbox._db.close()
        os.close(outbox._lock)
        disk.lose_power(rng)
        disk.frozen = False
        again, aside = open_outbox(settings, rng.randbytes)
        assert not aside, "a power cut is no damage"
        found = again._stream(0)[1].record_count if again.next_stream_no() else 0
        again.close()
        return source.record_count - source.uncommitted - found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=200, help="under each setting (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for synchronous in ("FULL", "NORMAL"):
            print(f"{synchronous}: {cost(Path(folder), synchronous, arguments.cuts)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
