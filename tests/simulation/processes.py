"""Seeds side by side, in as many processes as there are cores: a seed knows nothing of the others."""

from __future__ import annotations

import gc
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation import mutants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.simulation.world import Outcome

MEMORY = Path("/dev/shm")

_folder = Path()  # of this process


@contextmanager
def simulated(seeds: list[int], jobs: int, mutant: str) -> Iterator[Iterable[Outcome]]:
    """How they come out, in their order."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="simulation-") as folder:
        if jobs == 1:
            _begin(folder, mutant)
            yield map(_simulate, seeds)
            return
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, spawn, _begin, (folder, mutant))
        try:
            yield pool.map(_simulate, seeds)
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(folder: str, mutant: str) -> None:
    """In a process that simulates, before it imports anything else."""
    global _folder  # noqa: PLW0603  # a pool's processes are begun once, and given seeds alone
    if mutant:
        mutants.plant(mutant)
    from collector.garbage import look_seldom
    from tests.simulation.world import new_store

    look_seldom()
    _folder = Path(folder) / str(os.getpid())
    _folder.mkdir()
    new_store(_folder / "template.db")


def _simulate(seed: int) -> Outcome:
    from tests.simulation.world import simulate

    outcome = simulate(seed, _folder / "world", _folder / "template.db")
    gc.collect()  # a world that is over
    return outcome
