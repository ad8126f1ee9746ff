"""`collector schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.commands.options import add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands


def add(commands: Commands) -> None:
    schema = commands.add_parser("schema", help="print or upgrade the tables", description=run.__doc__)
    schema.add_argument("action", choices=("print", "upgrade"), nargs="?", default="print")
    schema.add_argument("--dialect", choices=("sqlite", "postgresql"), help="to print; default: the store's")
    add_store(schema)
    schema.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the SQL that makes an empty database a store, or brings a store to this version."""
    from collector.store import StoreError, schema

    return told(lambda: schema.run(options), StoreError)
