"""Programs under torture: forked again and again by `start.py`, and killed.

One that ends by itself with an error is started again after a while, as systemd does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

IMPORT_S = 120.0
RESTART_S = 0.2


class Starter:
    """The process that forks them: `await open(...)`, `program(...)` for each, `await close()`."""

    def __init__(self) -> None:
        self._programs: dict[str, Tortured] = {}
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def open(self, log: Path, preload: Path | None) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DEADRECKON_")}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment |= {"LD_PRELOAD": str(preload)} if preload else {}
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.torture.start", env=environment, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=output,
            )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(IMPORT_S):
            await self._ready.wait()
        if self._process.returncode is not None:
            raise RuntimeError(f"nothing can be started; see {log}")

    def program(self, name: str, order: dict[str, Any], log: Path) -> Tortured:
        """`order` as `start.py` takes it, but for name and log."""
        self._programs[name] = Tortured(self, order | {"name": name, "log": str(log)}, log)
        return self._programs[name]

    def fork(self, order: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while words := (await self._process.stdout.readline()).decode().split():
            match words:
                case ["ready"]:
                    self._ready.set()
                case ["started", name, pid]:
                    self._programs[name].has_started(int(pid))
                case ["ended", name, status]:
                    self._programs[name].has_ended(int(status))
        self._ready.set()

    async def close(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends what still runs, even if nobody of us listens any more
        await self._process.wait()
        await asyncio.wait([self._reader])


class Tortured:
    """`await start()` and `await kill()` as often as one likes."""

    def __init__(self, starter: Starter, order: dict[str, Any], log: Path) -> None:
        self.order = order
        self.log = log
        self.status: int | None = None  # exit status of the last one, once it has ended
        self.gave_up = 0  # how often it ended by itself with an error
        self._starter = starter
        self._pid = 0
        self._asked = False  # whoever ends it is us
        self._waiting = False  # forked, as far as we know
        self._again: asyncio.TimerHandle | None = None
        self._changed = asyncio.Condition()

    @property
    def running(self) -> bool:
        return self._pid > 0

    def has_started(self, pid: int) -> None:
        self._pid, self._waiting, self.status = pid, False, None
        self._notify()

    def has_ended(self, status: int) -> None:
        self._pid, self.status = 0, status
        if status and not self._asked:
            self.gave_up += 1
            self._again = asyncio.get_running_loop().call_later(RESTART_S, self._fork)
        self._notify()

    def _notify(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._notifying = asyncio.ensure_future(notify())

    def _fork(self) -> None:
        self._asked, self._waiting = False, True
        self._starter.fork(self.order)

    async def start(self) -> None:
        assert not self.running
        self._fork()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)

    async def kill(self) -> bool:
        """SIGKILL: no last words. False if it had ended by itself."""
        return await self.end(signal.SIGKILL)

    async def end(self, signum: int) -> bool:
        self._asked = True
        if self._again is not None:
            self._again.cancel()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)
            if not self.running:
                return False
            with contextlib.suppress(ProcessLookupError):  # it ended by itself, and that is on its way to us
                os.kill(self._pid, signum)
            await self._changed.wait_for(lambda: not self.running)
        return True

    async def wait(self, within_s: float) -> bool:
        """Whether it ended in time."""
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: not self.running)
        except TimeoutError:
            return False
        return True
