"""Starts agents and collectors again and again, from one process that has imported everything: `python -m tests.torture.start`.

An order on standard input, a line of JSON, forks one that runs as `edge-agent run` or `collector serve` does; standard
output says `started NAME PID` and `ended NAME STATUS`. What is saved is three seconds of importing, a thousand times
over. This process starts no thread and no gRPC, so that a fork is whole.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import collector.__main__
import collector.app
import edge_agent.capture
import edge_agent.capture_thread
from demo.vehicles import CAR_DBC as DBC
from demo.warm import warm_up
from edge_agent.app import run_agent
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config
from edge_agent.errors import AgentError
from edge_agent.logs import set_up_logs
from replay_logs import bus, read  # noqa: F401  # what python-can would import at the first frame
from tests.torture import planted
from tests.torture.tap import Tap, next_tap
from tests.torture.tapped import tapped

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.02
FAILED = 70

Order = dict[str, Any]


def serve() -> None:
    """Fork for each order until the input ends; then end what still runs."""
    running: dict[int, str] = {}
    plans: dict[str, Any] = {}
    waiting = b""
    warm_up(DBC)  # with kernels that nobody compiled ahead, numba does it here and not in every child
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([0], [], [], POLL_S)
        if readable:
            read_now = os.read(0, 1 << 16)
            if not read_now:
                break
            *lines, waiting = (waiting + read_now).split(b"\n")
            for line in lines:
                order = json.loads(line)
                run = _runner(order, plans)
                child = os.fork()
                if child == 0:
                    _become(order, run)
                running[child] = order["name"]
                print(f"started {order['name']} {child}", flush=True)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            print(f"ended {running.pop(pid)} {os.waitstatus_to_exitcode(status)}", flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _become(order: Order, run: Callable[[], int]) -> None:
    """The child: never returns."""
    status = FAILED
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if order["disk"]:
            ctypes.CDLL(None).torture_disk(order["disk"].encode())
        for name in order["planted"]:
            planted.BUGS[name]()
        status = run()
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:  # noqa: BLE001  # the exit status says it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _runner(order: Order, plans: dict[str, Any]) -> Callable[[], int]:
    """What the child runs. Plans are made here, once for each configuration."""
    path = order["config"]
    if order["what"] == "collector":
        return lambda: collector.__main__.main(["serve", "--config", path])
    if path not in plans:
        config = load_config(path, {})
        plans[path] = (config, make_plan(config)[0])
    config, plan = plans[path]

    def run() -> int:
        tap = Tap(next_tap(Path(order["taps"])))
        edge_agent.capture.Outbox, edge_agent.capture_thread.Capture = tapped(tap)  # type: ignore[misc]
        set_up_logs({})
        try:
            return run_agent(config, plan)
        except AgentError as error:
            print(error, file=sys.stderr)
            return 1

    return run


if __name__ == "__main__":
    serve()
