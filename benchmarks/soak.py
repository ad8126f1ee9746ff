"""Whether anything grows over weeks: `python -m benchmarks.soak [--minutes 60]`.

A real agent plays a thinned drive of ours many times as fast as it was driven, over a road that is cut now and then, to
a real collector. Memory and file descriptors of both are sampled all the time; it fails where either grows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.backlog import DBC, LOG
from benchmarks.pair import Growth, Pair, PairError
from benchmarks.screen import write_json
from replay_logs.read import open_log

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTES, SPEED = 4.0, 200.0
KEPT_EVERY_S = 1.0  # of each message: a bus that is read 200 times as fast has to be a quiet one
SAMPLE_S = 0.5
CUT_EVERY_S, CUT_S = 15.0, 3.0
WEEK_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Soaked:
    """The names are the keys of the JSON."""

    minutes: float
    weeks: float  # that the stored records span
    records: int
    gaps: int
    cuts: int
    agent: Growth
    collector: Growth

    @property
    def flat(self) -> bool:
        return self.agent.flat and self.collector.flat


def thin(source: Path, target: Path) -> None:
    """A candump log with one frame of each message every KEPT_EVERY_S."""
    last: dict[int, float] = {}
    with target.open("w") as out:
        for message in open_log(str(source)):
            if message.timestamp - last.get(message.arbitration_id, 0.0) < KEPT_EVERY_S:
                continue
            last[message.arbitration_id] = message.timestamp
            width = 8 if message.is_extended_id else 3
            out.write(
                f"({message.timestamp:.6f}) can0 {message.arbitration_id:0{width}X}#{message.data.hex()}\n"
            )


async def soak(folder: Path, minutes: float, speed: float) -> Soaked:
    """Raises PairError."""
    pair = Pair(folder)
    log = folder / "thin.log"
    thin(LOG, log)
    bus: dict[str, Any] = {"interface": "replay", "channel": str(log), "dbc": [str(DBC)]}
    bus["options"] = {"speed": speed, "loop": True}
    cuts = 0
    try:
        await pair.open()
        pair.start_agent(pair.settings({"uplink": {"retry_min_s": 0.1, "retry_max_s": 0.5}, "bus": [bus]}))
        while pair.stored() is None:
            await asyncio.sleep(SAMPLE_S)
            pair.sample()
        del pair.agent_samples[:], pair.collector_samples[:]
        begun = time.monotonic()
        down = False
        while (now := time.monotonic() - begun) < minutes * 60:
            wanted = now % CUT_EVERY_S > CUT_EVERY_S - CUT_S
            if wanted != down:
                down = wanted
                cuts += down
                await pair.cut(refused=down)
            pair.sample()
            await asyncio.sleep(SAMPLE_S)
    finally:
        await pair.close()
    records, gaps = pair.records(0)
    agent, collector = Growth.of(pair.agent_samples), Growth.of(pair.collector_samples)
    return Soaked(minutes, records / 50 / WEEK_S, records, gaps, cuts, agent, collector)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long (default: %(default)g)")
    parser.add_argument("--speed", type=float, default=SPEED, help="times real time (default: %(default)g)")
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        try:
            found = asyncio.run(soak(Path(name), options.minutes, options.speed))
        except (PairError, ValueError) as error:
            print(f"benchmarks.soak: {error}", file=sys.stderr)
            return 2
    for side, growth in (("agent", found.agent), ("collector", found.collector)):
        print(
            f"{side:<10} {growth.rss_bytes_max / 1e6:,.0f} MB at most, {growth.rss_bytes / 1e6:+,.1f} MB; "
            f"{growth.fds_max} descriptors at most, {growth.fds:+d}"
        )
    print(
        f"{found.weeks:.2f} weeks of {found.records:,} records in {found.minutes:g} minutes, {found.cuts} cuts, "
        f"{found.gaps} gaps: {'FLAT' if found.flat else 'GROWS'}"
    )
    write_json(options.json, asdict(found))
    return 0 if found.flat else 1


if __name__ == "__main__":
    sys.exit(main())
