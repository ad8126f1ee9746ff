"""`collector import`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import add_rules, add_store, told
from collector.extras import how_to_install

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    take = commands.add_parser("import", help="take in a recorded log", description=run.__doc__)
    take.add_argument("log", type=Path)
    take.add_argument(
        "--dbc", type=Path, action="append", required=True, metavar="F", help="may be given again"
    )
    take.add_argument("--vin", required=True, help="the vehicle: a VIN, or asset:<name>")
    take.add_argument("--model", default="", help="of the vehicle")
    take.add_argument("--rate", type=int, default=50, metavar="HZ", help="of the sample grid; default 50")
    take.add_argument("--lossless", action="store_true", help="thresholds of 0 instead of the default ones")
    add_store(take)
    add_rules(take)
    take.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Takes a recorded log in as if its vehicle had sent it. The same log twice is taken once."""
    try:
        from collector import importer
    except ImportError as error:
        missing = f"import reads logs and DBCs, and {error.name} is missing: {how_to_install('logs')}"
        print(f"collector: {missing}", file=sys.stderr)
        return 1
    from collector.rules import RuleError
    from collector.store import StoreError

    return told(lambda: importer.run(options), StoreError, RuleError, importer.ImportRefused)
