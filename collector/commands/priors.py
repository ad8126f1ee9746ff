"""`collector priors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.commands.options import add_format, add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    priors = commands.add_parser(
        "priors", help="train what makes blocks smaller", description=train_one.__doc__
    )
    actions = priors.add_subparsers(required=True, metavar="action")
    train = actions.add_parser(
        "train", help="from what is stored, and offer it to vehicles", description=train_one.__doc__
    )
    whose = train.add_mutually_exclusive_group()
    whose.add_argument("--vin", help="the schema of this vehicle's newest stream, from its drives alone")
    whose.add_argument(
        "--schema", metavar="HASH", help="or how it begins; default: every schema that is stored"
    )
    train.add_argument(
        "--hours", type=float, default=4.0, metavar="N", help="of the newest records; default 4"
    )
    add_store(train)
    train.set_defaults(run=train_one)
    offered = actions.add_parser("list", help="what is offered", description=list_offered.__doc__)
    add_format(offered)
    add_store(offered)
    offered.set_defaults(run=list_offered)


def train_one(options: argparse.Namespace) -> int:
    """Trains a prior on stored drives, says what it saves on drives that it was not trained on, and offers it if that pays."""
    from collector import priors
    from collector.reading.signals import QueryError
    from collector.store import StoreError

    return told(lambda: priors.run_train(options), StoreError, QueryError)


def list_offered(options: argparse.Namespace) -> int:
    """Prints the priors that vehicles are offered, and what each saves."""
    from collector import priors
    from collector.store import StoreError

    return told(lambda: priors.run_list(options), StoreError)
