"""Fresh seeds run beside the other tests, in a process of their own: the suite takes one core, and leaves the rest idle.

They begin when the tests have been collected, and the test that waits for them is the last one. Other seeds each day, in UTC;
where CI is set the same ones always, as hypothesis has it: a change is not to be refused for what it did not do.
DEADRECKON_SEEDS and DEADRECKON_FIRST say how many and which.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("DEADRECKON_SEEDS", "250"))
TODAY = 0 if os.environ.get("CI") else datetime.now(UTC).date().toordinal() * 1000
FIRST = int(os.environ.get("DEADRECKON_FIRST", str(TODAY)))
FRESH = "test_fresh_seeds_come_out_clean"
_running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name == FRESH)


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or not any(item.name == FRESH for item in session.items):
        return
    command = [
        *("nice", sys.executable, "-m", "tests.simulation", "--jobs", "1"),
        *("--seeds", str(SEEDS), "--first", str(FIRST)),
    ]
    said = tempfile.TemporaryFile()  # noqa: SIM115  # closed in pytest_sessionfinish
    process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
    _running.append((process, said))


def pytest_sessionfinish() -> None:
    for process, said in _running:
        process.kill()
        process.wait()
        said.close()


@pytest.fixture
def fresh_seeds() -> tuple[int, str]:
    """The exit status of the simulation, and what it said."""
    ((process, said),) = _running
    status = process.wait()
    said.seek(0)
    return status, said.read().decode()
