"""Days without a network, and how long it takes to catch up: `python -m benchmarks.backlog [--hours 168]`.

Rules
- What the vehicle stored meanwhile is made by the real pipeline and outbox, offline, of our city drive over and over; only
  the waiting is left out.
- Then a real agent takes that outbox, goes on taking records from a bus in real time, and sends everything to a real
  collector over loopback. The clock runs from its first stored batch to the last of the backlog.
- Memory is that of both processes, several times a second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pair import Growth, Pair, PairError
from benchmarks.sampled import DRIVES, load_frames
from benchmarks.screen import write_json
from codec.guards import GuardSet
from codec.stream import Clock
from decoder.sampler import Sampler
from edge_agent.blobs import pack_schema
from edge_agent.choices import make_plan
from edge_agent.clock import FRAMES_BOOT_ID
from edge_agent.config_file import load_config
from edge_agent.outbox import Outbox
from edge_agent.outbox_rows import NOWHERE
from edge_agent.pipeline import BlockTicks, Pipeline, StreamName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codec.records import Records
    from decoder.plan import Plan

HOURS = 24.0
BLOCK_S = 30  # offline
SAMPLE_S = 0.05
DRAIN_S_MAX = 3600.0
LOG, DBC = DRIVES / "drives" / "city.log.gz", DRIVES / "car.dbc"


@dataclass(frozen=True, slots=True)
class Backlog:
    """The names are the keys of the JSON."""

    hours: float
    signals: int
    records: int
    blocks: int
    outbox_bytes: int
    quota_bytes: int
    drain_s: float
    times_real_time: float
    live_records: int  # taken and stored while the backlog drained
    gaps: int
    agent_rss_bytes_max: int
    agent_rss_bytes_growth: int
    collector_rss_bytes_max: int
    collector_rss_bytes_growth: int
    agent_cpu_s: float
    collector_cpu_s: float
    batches_per_collector_cpu_s: float


def document() -> dict[str, Any]:
    """The agent's settings: our city drive on a bus, in real time, again and again."""
    return {
        "uplink": {"retry_min_s": 0.1, "retry_max_s": 0.5},
        "bus": [
            {
                "interface": "replay",
                "channel": str(LOG),
                "dbc": [str(DBC)],
                "options": {"speed": 1.0, "loop": True},
            }
        ],
    }


def taken(plan: Plan, hours: float) -> Iterator[Records]:
    """Records of so many hours without a hole, in pieces."""
    sampler = Sampler(plan)
    sampler.feed(load_frames(LOG))
    runs = [run for run in sampler.advance(None) if len(run) > plan.schema.rate_hz]
    piece = BLOCK_S * plan.schema.rate_hz
    parts = [
        run.slice(start, min(start + piece, len(run))) for run in runs for start in range(0, len(run), piece)
    ]
    left = round(hours * 3600 * plan.schema.rate_hz)
    tick = parts[0].first_tick - left  # it ends before the drive that is taken while it drains
    at = 0
    while left > 0:
        part = parts[at % len(parts)]
        part = part.slice(0, min(len(part), left))
        yield replace(part, first_tick=tick)
        tick, left, at = tick + len(part), left - len(part), at + 1


def store_offline(path: Path, plan: Plan, hours: float) -> tuple[int, int]:
    """An outbox in which nothing is acknowledged. (records, blocks)"""
    outbox = Outbox(str(path), synchronous="NORMAL")
    outbox.keep_schema(plan.schema.hash, pack_schema(plan.schema))
    ticks = BlockTicks.of_seconds(
        plan.schema.rate_hz, offline_s=BLOCK_S, online_s=10, watched_s=1, keyframe_s=30, loss_max_s=BLOCK_S
    )
    name = StreamName(0, bytes(range(16)), FRAMES_BOOT_ID)
    pipeline = Pipeline(plan.schema, name, ticks, guards=GuardSet())
    clock = Clock(0, synchronised=True)
    blocks = 0
    for records in taken(plan, hours):
        commit = pipeline.add(records, clock)
        blocks += len(commit.batches)
        outbox.commit(commit, limit_bytes=NOWHERE)
    last = pipeline.flush(clock)
    blocks += len(last.batches)
    outbox.commit(last, limit_bytes=NOWHERE)
    outbox.close()
    return pipeline.record_count, blocks


async def measure(folder: Path, hours: float) -> Backlog:
    """Raises PairError."""
    pair = Pair(folder)
    try:
        await pair.open()
        settings = pair.settings(document())
        config = load_config(str(settings), {})
        plan, _ = make_plan(config)
        records, blocks = store_offline(pair.outbox, plan, hours)
        outbox_bytes = pair.outbox.stat().st_size
        pair.start_agent(settings)
        while pair.stored() is None:
            await asyncio.sleep(SAMPLE_S)
            pair.sample()
        del pair.agent_samples[:], pair.collector_samples[:]
        begun, last = time.monotonic(), (0, blocks - 1)
        while (stored := pair.stored()) is None or stored < last:
            pair.sample()
            if time.monotonic() - begun > DRAIN_S_MAX:
                raise PairError(f"not drained after {DRAIN_S_MAX:g} s: {stored} of {last}")
            await asyncio.sleep(SAMPLE_S)
        seconds = time.monotonic() - begun
        pair.sample()
    finally:
        await pair.close()
    (kept, gaps), (live, _) = pair.records(0), pair.records(1)
    if kept != records:
        raise PairError(f"{records:,} records were stored on the vehicle, and {kept:,} arrived")
    agent, collector = Growth.of(pair.agent_samples), Growth.of(pair.collector_samples)
    agent_cpu_s, collector_cpu_s = (
        ends[-1].cpu_s - ends[0].cpu_s for ends in (pair.agent_samples, pair.collector_samples)
    )
    return Backlog(
        hours, len(plan.schema.signals), records, blocks, outbox_bytes, config.outbox.quota_bytes,
        seconds, hours * 3600 / seconds, live, gaps,
        agent.rss_bytes_max, agent.rss_bytes, collector.rss_bytes_max, collector.rss_bytes,
        agent_cpu_s, collector_cpu_s, blocks / max(collector_cpu_s, 1e-9),
    )  # fmt: skip


def show(found: Backlog) -> None:
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.backlog", description=__doc__)
    parser.add_argument(
        "--hours",
        type=float,
        default=HOURS,
        help="of driving without a network; 168 are a week (default: %(default)g)",
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        try:
            found = asyncio.run(measure(Path(name), options.hours))
        except (PairError, ValueError) as error:
            print(f"benchmarks.backlog: {error}", file=sys.stderr)
            return 1
    show(found)
    write_json(options.json, asdict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
