"""Real processes, killed at random: `python -m tests.torture [--kills 1000] [--minutes 35] [--seed 1]`, or `make torture`.

Three agents and a collector talk over gRPC through a proxy while they are killed, cut off, filled up and damaged as
a seed says. At the end there is peace, everything drains, and what the agents sampled is compared with the store.
Faults come at the instants that the seed draws; how far a process is by then is the machine's affair.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.torture.disk import NoCompiler, build
from tests.torture.faults import counted, plan
from tests.torture.planted import BUGS
from tests.torture.stage import STALL_S, VEHICLES, Result, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence


async def torture(
    folder: Path,
    seed: int,
    kills: int,
    wall_s: float,
    *,
    library: Path | None,
    planted: Sequence[str] = (),
    stall_s: float = STALL_S,
) -> Result:
    stage = Stage(folder, library=library, planted=planted, stall_s=stall_s)
    try:
        await stage.open()
        return await stage.run(plan(seed, kills, wall_s, VEHICLES))
    finally:
        await stage.close()


def report(result: Result) -> str:
    """Ends with the verdict."""
    lines = counted(result.done)
    lines.append(f"{result.cuts:7,}  times a road went bad in all")
    lines.append(f"{result.failed_calls:7,}  system calls that failed")
    lines.append(f"{result.restored:7,}  times the store was restored from a backup")
    for name, found in result.found.items():
        c, account = found.comparison, found.account
        lines.append(
            f"{name}: {len(account.sampled):,} records sampled, {c.committed:,} of them compared, {c.stored:,} stored, "
            f"{account.gapped:,} in gaps, {account.undone:,} undone with a write-ahead log, "
            f"error {c.max_error_over_threshold:.3g} of its threshold"
        )
    lines += [f"VIOLATION: {complaint}" for complaint in result.complaints[:50]]
    if result.complaints:
        lines.append("What was done to them:")
        lines += result.history.lines()
    survived = sum(result.done.values())
    lines.append(
        f"{survived:,} faults survived in {result.wall_s:.0f} s: "
        f"{'WHOLE' if not result.complaints else f'{len(result.complaints)} VIOLATIONS'}"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.torture", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=1000, help="SIGKILLs; other faults in proportion (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="over which they come (default: %(default)g)"
    )
    parser.add_argument("--seed", type=int, help="default: a fresh one, which is printed")
    parser.add_argument("--folder", type=Path, help="keep everything here; it must not exist")
    parser.add_argument("--planted", choices=BUGS, action="append", default=[], help="with a bug on purpose")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        folder = options.folder or Path(temporary) / "torture"
        folder.mkdir(parents=True)
        try:
            library = build(folder)
        except NoCompiler as error:
            print(f"torture: {error}", file=sys.stderr)
            return 2
        result = asyncio.run(
            torture(
                folder, seed, options.kills, options.minutes * 60, library=library, planted=options.planted
            )
        )
    print(report(result))
    return 1 if result.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
