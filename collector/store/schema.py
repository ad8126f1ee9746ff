"""`collector schema`: the tables as SQL, and bringing a store to this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.store.address import address_of
from collector.store.engine import bring_up_to_date, explained, raw_engine
from collector.store.errors import StoreError
from collector.store.migrate import statements
from collector.store.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> None:
    """Print. Raises StoreError."""
    try:
        address = address_of(options.store)
    except ValueError as error:
        raise StoreError(str(error)) from None
    if options.action == "print":
        print(statements(options.dialect or ("sqlite" if address.url is None else "postgresql")), end="")
        return
    engine = raw_engine(address, write=True)
    with explained(address):
        before = bring_up_to_date(engine, address)
    done = (
        "was there already"
        if before == SCHEMA_VERSION
        else "from nothing"
        if not before
        else f"from version {before}"
    )
    print(f"{address}: version {SCHEMA_VERSION}, {done}")
