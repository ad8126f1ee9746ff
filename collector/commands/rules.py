"""`collector rules`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import add_format, add_store, path_or_url, told
from collector.config import PROFILES, rules_file

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    rules = commands.add_parser("rules", help="check rules, try them on what is stored")
    verbs = rules.add_subparsers(required=True, metavar="verb")
    check = verbs.add_parser("check", help="are they sound", description=run_check.__doc__)
    _add_file(check)
    whose = check.add_mutually_exclusive_group()
    whose.add_argument(
        "--dbc", type=Path, action="append", default=[], metavar="D", help="whose signals they may name; may be given again"
    )  # fmt: skip
    whose.add_argument("--store", type=path_or_url, metavar="S", help="or: those that its vehicles have")
    check.set_defaults(run=run_check)
    backtest = verbs.add_parser(
        "backtest", help="what would they have raised", description=run_backtest.__doc__
    )
    _add_file(backtest)
    backtest.add_argument("--vin", required=True)
    backtest.add_argument(
        "--from", dest="start", metavar="T", help="2026-11-21T08:15:30Z, 2026-11-21, or -15m"
    )
    backtest.add_argument("--to", dest="end", metavar="T", help="the same; not included")
    backtest.add_argument(
        "--webhooks", type=Path, metavar="F", help="and what would each of these have been told"
    )
    backtest.add_argument("--faults", action="store_true", help="a line for each fault, not for each rule")
    add_format(backtest)
    add_store(backtest)
    backtest.set_defaults(run=run_backtest)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=rules_file, metavar="F", help=f"rules file, or a shipped one: {', '.join(PROFILES)}"
    )


def run_check(options: argparse.Namespace) -> int:
    """Says of each rule whether its verdicts are exact, and of what. Exit status 1 if the file cannot be used, or names a signal
    that is not there.
    """
    from collector import rulebook
    from collector.dbcs import DbcsUnread
    from collector.rules import RuleError
    from collector.store import StoreError

    return told(lambda: rulebook.run_check(options), RuleError, DbcsUnread, rulebook.Unsound, StoreError)


def run_backtest(options: argparse.Namespace) -> int:
    """Prints what rules would have raised on a vehicle's stored records, at full rate, beside what was raised then; whom it would have
    paged.
    """
    from collector import rulebook
    from collector.reading.signals import QueryError
    from collector.rules import RuleError
    from collector.store import StoreError
    from collector.webhooks.targets import TargetError

    return told(lambda: rulebook.run_backtest(options), RuleError, TargetError, QueryError, StoreError)
