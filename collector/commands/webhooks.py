"""`collector webhooks`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.options import add_format, add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    webhooks = commands.add_parser(
        "webhooks",
        help="who is told of faults",
        description="Reads and tries a file of webhooks, and deals with what they were not told.",
    )
    actions = webhooks.add_subparsers(required=True, metavar="action")
    check = actions.add_parser("check", help="read a webhooks file", description=run_check.__doc__)
    check.add_argument("file", type=Path)
    check.set_defaults(run=run_check)
    test = actions.add_parser(
        "test", help="tell one webhook of a made-up fault", description=run_test.__doc__
    )
    test.add_argument("file", type=Path)
    test.add_argument("name")
    test.set_defaults(run=run_test)
    dead = actions.add_parser("dead", help="list what was given up", description=run_dead.__doc__)
    add_format(dead)
    add_store(dead)
    dead.set_defaults(run=run_dead)
    again = actions.add_parser("retry", help="send dead letters again", description=run_retry.__doc__)
    again.add_argument("file", type=Path)
    again.add_argument("ids", type=int, nargs="*", metavar="ID", help="default: all")
    add_store(again)
    again.set_defaults(run=run_retry)
    drop = actions.add_parser("drop", help="forget dead letters", description=run_drop.__doc__)
    drop.add_argument("ids", type=int, nargs="+", metavar="ID")
    add_store(drop)
    drop.set_defaults(run=run_drop)


def run_check(options: argparse.Namespace) -> int:
    """Reads a webhooks file and says who would be told what."""
    from collector.webhooks import review
    from collector.webhooks.targets import TargetError

    return told(lambda: review.check(options.file), TargetError)


def run_test(options: argparse.Namespace) -> int:
    """Tells one webhook that a fault opened and ended, marked as a test, and says what it answered."""
    from collector.webhooks import review
    from collector.webhooks.targets import TargetError

    return told(lambda: review.test(options.file, options.name), TargetError, review.NotDelivered)


def run_dead(options: argparse.Namespace) -> int:
    """Lists deliveries that were given up: which, why and when."""
    from collector.store import StoreError
    from collector.webhooks import review

    return told(lambda: review.dead(options.store, options.format), StoreError)


def run_retry(options: argparse.Namespace) -> int:
    """Sends dead letters once more, as they were, with a new signature; what is delivered is a dead letter no longer."""
    from collector.store import StoreError
    from collector.webhooks import review
    from collector.webhooks.targets import TargetError

    run = lambda: review.retry(options.store, options.file, options.ids)  # noqa: E731
    return told(run, StoreError, TargetError, review.NotDelivered)


def run_drop(options: argparse.Namespace) -> int:
    """Forgets dead letters."""
    from collector.store import StoreError
    from collector.webhooks import review

    return told(lambda: review.drop(options.store, options.ids), StoreError, review.NotDelivered)
