"""Programs are started, killed, started again and stopped, and what they wrote is kept."""

from __future__ import annotations

import signal
import sys

from demo.processes import Program, until

GREETING = "import time; print('hello', flush=True); time.sleep(60)"


def program(tmp_path, code: str) -> Program:
    return Program([sys.executable, "-c", code], tmp_path, tmp_path / "output.log")


async def test_kill_and_start_again(tmp_path):
    one = program(tmp_path, GREETING)
    assert one.status is None
    one.start()
    assert await until(lambda: "hello" in one.tail(), 20)
    one.kill()
    assert (one.running, one.killed, one.status) == (False, True, -signal.SIGKILL)
    one.start()
    assert (one.running, one.killed) == (True, False)
    assert await until(lambda: one.tail().count("hello") == 2, 20)
    await one.stop()
    assert one.status == -signal.SIGTERM


async def test_what_ends_by_itself_has_its_status(tmp_path):
    one = program(tmp_path, "raise SystemExit(3)")
    one.start()
    assert await until(lambda: not one.running, 20)
    assert (one.status, one.killed) == (3, False)


async def test_the_callers_settings_stay_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("DEADRECKON_VEHICLE_ID", "asset:other")
    one = program(tmp_path, "import os; print([k for k in os.environ if k.startswith('DEADRECKON_')])")
    one.start()
    assert await until(lambda: not one.running, 20)
    assert one.tail() == "[]"


async def test_until_gives_up():
    assert not await until(lambda: False, 0.05)
