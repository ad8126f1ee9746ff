"""`collector sentinel`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import SEVERITIES
from collector.config import Config, load_config

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands

NOTHING_FOUND, FOUND, COULD_NOT_LOOK = 0, 1, 2


def add(commands: Commands) -> None:
    sentinel = commands.add_parser("sentinel", help="look over the store once", description=run.__doc__)
    sentinel.add_argument("--config", type=Path, metavar="F", help="the file that `serve` reads, too")
    sentinel.add_argument("--store", metavar="F", help=f"default {Config().store}")
    sentinel.add_argument("--format", choices=("table", "json"), default="table")
    sentinel.add_argument("--all", action="store_true", help="show faults that were acknowledged, too")
    defaults = Config()
    for name, what in (
        ("fault", "any fault that is open for longer"),
        ("silent", "a vehicle that is not parked and was not heard of for longer"),
        ("lag", "a vehicle of which what is stored is longer behind"),
        ("gap", "gaps that are no older than"),
    ):
        usual = getattr(defaults, f"sentinel_{name}_s")
        sentinel.add_argument(f"--{name}-s", type=float, metavar="S", help=f"{what}; default {usual:g} s")
    sentinel.add_argument(
        "--severity",
        choices=SEVERITIES,
        help=f"faults that count at once; default {defaults.sentinel_severity}",
    )
    sentinel.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Looks over the store once: open faults, silent vehicles, those that lag behind, new gaps.

    Faults that somebody acknowledged do not count. Exit status: 0 nothing was found, 1 something was, 2 it could not look.
    """
    from collector import sentinel
    from collector.store import StoreError

    names = ("fault_s", "silent_s", "lag_s", "gap_s", "severity")
    flags = {f"sentinel_{name}": getattr(options, name) for name in names} | {"store": options.store}
    config = load_config(options.config, os.environ, flags)
    try:
        return FOUND if sentinel.run(config, options) else NOTHING_FOUND
    except StoreError as error:
        print(f"collector: {error}", file=sys.stderr)
        return COULD_NOT_LOOK
