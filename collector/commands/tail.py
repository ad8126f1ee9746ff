"""`collector tail`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.commands.options import add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    tail = commands.add_parser("tail", help="print the live stream", description=run.__doc__)
    tail.add_argument("--vin", help="of one vehicle")
    tail.add_argument("--signal", action="append", metavar="NAME", help="only this one; may be given again")
    tail.add_argument(
        "-n", "--lines", type=int, default=10, metavar="N", help="begin with the last N lines; default 10"
    )
    add_store(tail)
    tail.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints each vehicle's records as they arrive, one a second: good values green, those in a fault red."""
    from collector import tail
    from collector.reading.signals import QueryError
    from collector.store import StoreError

    return told(lambda: tail.run(options), StoreError, QueryError)
