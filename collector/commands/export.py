"""`collector export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands

FORMATS = ("parquet", "csv", "arrow", "mdf4")


def add(commands: Commands) -> None:
    export = commands.add_parser(
        "export", help="write a range of a vehicle to a file", description=run.__doc__
    )
    export.add_argument("--vin", required=True, help="the vehicle")
    export.add_argument("--from", dest="start", metavar="T", help="2026-11-21T08:15:30Z, 2026-11-21, or -15m")
    export.add_argument("--to", dest="end", metavar="T", help="the same; not included")
    export.add_argument(
        "--signals", default="all", metavar="A,B", help="in this order; default: all, by name"
    )
    export.add_argument(
        "--rate", type=float, metavar="HZ", help="at most so many records a second; default: all"
    )
    export.add_argument(
        "--fill-s",
        type=float,
        default=60.0,
        metavar="S",
        help="holes up to so long have a row for every missing tick, longer ones for the first and last; default 60",
    )
    export.add_argument(
        "--words", action="store_true", help="words of enumerations instead of numbers; MDF4 has both"
    )
    export.add_argument("--format", choices=FORMATS, help="default: by the ending of the file's name")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="F")
    add_store(export)
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes a vehicle's signals over any range to a Parquet, CSV, Arrow or MDF4 file, at full rate or thinned out."""
    from collector.export import job
    from collector.reading.signals import QueryError
    from collector.store import StoreError

    return told(lambda: print(job.run(options)), StoreError, QueryError, OSError)
