"""`collector diagnosis`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import add_rules, add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    diagnosis = commands.add_parser(
        "diagnosis", help="check a catalogue of signatures, explain what it finds"
    )
    verbs = diagnosis.add_subparsers(required=True, metavar="verb")
    check = verbs.add_parser("check", help="is a catalogue sound", description=run_check.__doc__)
    check.add_argument("catalogue", type=Path, nargs="?", help="default: the shipped one")
    add_rules(check)
    check.add_argument(
        "--dbc",
        type=Path,
        action="append",
        default=[],
        metavar="F",
        help="whose signals it may name; may be given again",
    )
    check.set_defaults(run=run_check)
    explain = verbs.add_parser(
        "explain", help="what matched on stored data, and why not", description=run_explain.__doc__
    )
    explain.add_argument("--vin", required=True)
    explain.add_argument(
        "--from", dest="start", metavar="T", help="2026-11-21T08:15:30Z, 2026-11-21, or -15m"
    )
    explain.add_argument("--to", dest="end", metavar="T", help="the same; not included")
    explain.add_argument("--catalogue", type=Path, metavar="F", help="default: the shipped one")
    add_rules(explain)
    add_store(explain)
    explain.set_defaults(run=run_explain)


def run_check(options: argparse.Namespace) -> int:
    """Says what a catalogue holds. Exit status 1 if it cannot be used, or names a rule that is not there."""
    from collector import diagnoses
    from collector.dbcs import DbcsUnread
    from collector.diagnosis import CatalogueError
    from collector.rules import RuleError

    return told(lambda: diagnoses.check(options), CatalogueError, RuleError, DbcsUnread, diagnoses.Unknown)


def run_explain(options: argparse.Namespace) -> int:
    """Prints what a catalogue makes of a vehicle's stored records: diagnoses with their evidence, and why there are no others."""
    from collector import diagnoses
    from collector.diagnosis import CatalogueError
    from collector.reading.signals import QueryError
    from collector.rules import RuleError
    from collector.store import StoreError

    return told(lambda: diagnoses.explain(options), CatalogueError, RuleError, QueryError, StoreError)
