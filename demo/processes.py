"""One program of the demo: started, killed and started again, its output kept in a file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

POLL_S = 0.02
STOP_S = 10.0  # either side promises to end within 5 s


class Program:
    """`python -m ...` in a folder of its own. Only processes started here are ever signalled, by their pid."""

    def __init__(self, command: Sequence[str], folder: Path, output: Path) -> None:
        self._command = list(command)
        self._folder = folder
        self.output = output
        self._process: subprocess.Popen[bytes] | None = None
        self.killed = False

    def start(self, command: Sequence[str] | None = None) -> None:
        """Start, or start again after it ended; with another command if one is given."""
        assert not self.running
        self._command = list(command or self._command)
        # The caller's settings must not reach into the demo, and five numerical libraries need no ten threads.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DEADRECKON_")}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.killed = False
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends them
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """SIGKILL: no last words."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait()
            self.killed = True

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not obeyed."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGTERM)
        if not await until(lambda: not self.running, STOP_S):
            self.kill()

    def tail(self, lines: int = 5) -> str:
        """The last lines that it wrote."""
        try:
            text = self.output.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


async def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
