"""`collector query`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.commands.options import SEVERITIES, add_format, add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands

QUERIES = (
    *("vehicles", "faults", "anomalies", "gaps", "streams", "signal"),
    *("diagnoses", "battery", "health"),
)
KINDS = ("resistance", "capacity", "ripple", "imbalance", "imbalance_trend")


def add(commands: Commands) -> None:
    query = commands.add_parser(
        "query", help="print vehicles, faults, diagnoses, signals", description=run.__doc__
    )
    query.add_argument("what", choices=QUERIES)
    query.add_argument(
        "names", nargs="*", metavar="SIGNAL", help="for signal: one or more names; none: list them"
    )
    query.add_argument("--vin", help="of one vehicle")
    query.add_argument("--from", dest="start", metavar="T", help="2026-11-21T08:15:30Z, 2026-11-21, or -15m")
    query.add_argument("--to", dest="end", metavar="T", help="the same; not included")
    query.add_argument(
        "--rate", type=float, metavar="HZ", help="at most so many records a second; default: all"
    )
    query.add_argument("--kind", choices=KINDS, help="of battery health")
    query.add_argument("--severity", choices=SEVERITIES, help="of faults")
    query.add_argument(
        "--open",
        dest="only_open",
        action="store_true",
        help="only faults, anomalies or diagnoses that have not ended",
    )
    add_format(query)
    add_store(query)
    query.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints what is stored: vehicles and their health over time, faults, anomalies, diagnoses, battery health, gaps, streams, or any
    signal over a time range at full rate.
    """
    from collector import query
    from collector.reading.signals import QueryError
    from collector.store import StoreError

    return told(lambda: query.run(options), StoreError, QueryError)
