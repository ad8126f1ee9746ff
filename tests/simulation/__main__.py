"""`python -m tests.simulation --seeds N [--first K]`: simulate, print what failed, and its history."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter

from tests.simulation import mutants
from tests.simulation.processes import simulated


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument(
        "--histories",
        type=int,
        default=1,
        help="of so many failing seeds the history is printed (default: 1)",
    )
    parser.add_argument("--until-violation", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--skip", default="", help="seeds to leave out, with commas")
    parser.add_argument("--mutant", default="", help="plant this bug first; see mutants.py")
    parser.add_argument(
        "--mutants", action="store_true", help="plant every bug, one after the other, and find it"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="processes that simulate (default: one for each core)",
    )
    arguments = parser.parse_args()
    if arguments.mutants:
        return find_mutants(arguments.seeds)
    skipped = {int(seed) for seed in arguments.skip.split(",") if seed}
    seeds = [
        seed for seed in range(arguments.first, arguments.first + arguments.seeds) if seed not in skipped
    ]
    jobs = max(1, min(arguments.jobs, len(seeds)))
    return simulate_all(seeds, arguments.histories, jobs, arguments.mutant, stop=arguments.until_violation)


def find_mutants(seeds: int) -> int:
    """Each bug in a process of its own. A seed that fails without any finds none, and is left out."""
    for mutant in mutants.MUTANTS:
        mutant.mutated()  # fails loudly where it does not apply any more
    clean = _run("--seeds", str(seeds))
    failing = ",".join(line[5:].partition(":")[0] for line in clean.splitlines() if line.startswith("seed "))
    found = 0
    for mutant in mutants.MUTANTS:
        said = _run("--seeds", str(seeds), "--mutant", mutant.name, "--until-violation", "--skip", failing)
        violations = [line for line in said.splitlines() if line.startswith("seed ")]
        tried = [line.partition(" ")[0] for line in said.splitlines() if line.endswith("faults injected")]
        found += bool(violations)
        print(
            f"{mutant.name}: {f'{tried[0]} seeds, {violations[0]}' if violations else 'NOT FOUND'}",
            flush=True,
        )
    print(f"{len(mutants.MUTANTS)} planted, {found} found")
    return int(found < len(mutants.MUTANTS))


def _run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--histories", "0", *arguments]
    return subprocess.run(command, cwd=mutants.ROOT, capture_output=True, text=True, check=False).stdout


def simulate_all(seeds: list[int], histories: int, jobs: int, mutant: str, *, stop: bool) -> int:
    """Prints as it goes, in the order of the seeds. Whether any failed."""
    counts: Counter[str] = Counter()
    failed = done = 0
    began = time.monotonic()
    with simulated(seeds, jobs, mutant) as outcomes:
        for done, outcome in enumerate(outcomes, 1):
            counts += outcome.counts
            if outcome.violation:
                failed += 1
                print(f"seed {outcome.seed}: {outcome.violation}", flush=True)
                if failed <= histories:
                    print("\n".join(outcome.history), flush=True)
                if stop:
                    break
            if done % 500 == 0:
                rate = done / (time.monotonic() - began)
                print(f"{done} seeds, {failed} violations, {rate:.1f} seeds/s", file=sys.stderr, flush=True)
    for kind, count in sorted(counts.items()):
        print(f"{count:8} {kind}")
    print(f"{done / (time.monotonic() - began):.1f} seeds/s")
    print(f"{done} seeds, {failed} violations, {counts.total()} faults injected")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
