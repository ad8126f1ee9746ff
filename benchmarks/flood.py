"""Four buses at full load through a real agent: `python -m benchmarks.flood [--seconds 30]`.

Rules
- A bus of 500 kbit/s carries about 4,000 frames of 8 bytes a second. Each bus here is python-can's: its frames come due one by one,
  each is made as SocketCAN's are, and what is not read within a second is lost, as from the kernel's queue.
- The agent is whole: readers, inbox, sampling at 50 Hz, blocks journaled every second, `synchronous = FULL`. No collector answers.
- Processor time is that of the whole process, the making of frames included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import can.interfaces

from benchmarks.flood_bus import BUSES, FloodBus
from benchmarks.screen import write_json
from edge_agent.app import Agent
from edge_agent.choices import make_plan
from edge_agent.config_file import parse_config
from edge_agent.status import status_path

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNALS = 10  # sampled of each bus, one of each message that carries any


@dataclass(frozen=True, slots=True)
class Flood:
    """One run. The names are the keys of the JSON."""

    frames_offered: int
    frames_read: int
    frames_lost: int  # before they were read, and in the inbox
    frames_per_s: float  # read
    records: int
    records_expected: int
    cpu_share: float  # of one core
    seconds: float


def _configured(folder: Path) -> str:
    lines = ["BU_: X"]
    for number in range(SIGNALS):
        lines += [f"BO_ {0x100 + number} M{number}: 8 X", f' SG_ S{number} : 0|16@1+ (0.1,0) [0|0] "V" X']
    (folder / "flood.dbc").write_text("\n".join(lines) + "\n")
    text = (
        '[vehicle]\nid = "asset:flood"\n[collector]\naddress = "127.0.0.1:9"\n[outbox]\npath = "outbox.db"\n'
    )
    for bus in range(BUSES):
        text += f'[[bus]]\nname = "b{bus}"\ninterface = "socketcan"\nchannel = "{bus}"\ndbc = ["flood.dbc"]\n'
    return text


def measure(folder: Path, seconds: float) -> Flood:
    can.interfaces.BACKENDS["socketcan"] = ("benchmarks.flood_bus", "FloodBus")
    config = parse_config(_configured(folder), folder / "agent.toml", {})
    plan, _ = make_plan(config)
    agent = Agent(config, plan)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began_s = time.monotonic()
    end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    end.start()
    asyncio.run(agent.run())
    took_s = time.monotonic() - began_s
    after = resource.getrusage(resource.RUSAGE_SELF)
    said = json.loads(Path(status_path(config.outbox.path)).read_text())
    dropped = sum(bus["frames_dropped"] for bus in said["buses"])
    read = sum(bus["frames"] for bus in said["buses"])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    offered, lost = sum(FloodBus.offered), sum(FloodBus.lost)
    return Flood(
        offered, read, lost + dropped, read / seconds, said["records"]["count"],
        int(seconds * plan.schema.rate_hz), cpu_s / took_s, took_s,
    )  # fmt: skip


def report(found: Flood) -> str:
    return "\n".join(
        (
            f"offered    {found.frames_offered:,} frames, {found.frames_per_s:,.0f} read a second",
            f"lost       {found.frames_lost:,}",
            f"records    {found.records:,} in {found.seconds:,.1f} s",
            f"core       {found.cpu_share:.0%}, the making of frames included",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="default: %(default)g")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        found = measure(Path(folder), options.seconds)
    print(report(found))
    write_json(options.json, asdict(found))
    return int(found.frames_lost > 0)


if __name__ == "__main__":
    sys.exit(main())
