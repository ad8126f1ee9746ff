"""Opens the database under the store, in whichever dialect, and turns what it says into words.

Rules
- What may pass (locked, full, read-only, gone, I/O error) is StoreUnavailable: nothing was changed, try again. What does not pass is
  StoreError, with what to do.
- A writer makes the schema where there is nothing yet. An older one it brings up to date in a file, which has one owner. In a
  database that several collectors may share it says what to run: whoever upgrades a fleet decides when.
- A schema that is newer is refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import inspect

from collector.store import sqlite
from collector.store.errors import StoreError
from collector.store.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from collector.store.address import Address


def open_engine(address: Address, *, write: bool) -> Engine:
    """An engine on the store, which a writer makes where it is missing. Raises StoreError."""
    engine = raw_engine(address, write=write)
    try:
        with explained(address):
            if write:
                _prepare(engine, address)
            _check(engine, address, write=write)
    except StoreError:
        engine.dispose()
        raise
    return engine


def raw_engine(address: Address, *, write: bool) -> Engine:
    """Whatever is in the store."""
    if address.url is None:
        return sqlite.engine(address, write=write)
    from collector.store import postgresql

    return postgresql.engine(address, write=write)


def _prepare(engine: Engine, address: Address) -> None:
    if address.url is None:
        sqlite.prepare_file(engine)
        return
    from collector.store import postgresql

    with engine.begin() as connection:
        postgresql.check_durable(connection, address)


def _check(engine: Engine, address: Address, *, write: bool) -> None:
    with engine.begin() as connection:
        version = _known(connection, address)
        if version == SCHEMA_VERSION:
            return
        if not write:
            if version:
                raise StoreError(
                    f"{address}: made by an older collector (version {version}, this one reads {SCHEMA_VERSION}); "
                    f"`collector serve` or `collector schema upgrade` brings it up to date"
                )
            raise StoreError(f"{address}: is empty; nothing was ever stored in it")
        if version and address.url is not None:
            raise StoreError(
                f"{address}: made by an older collector (version {version}, this one writes {SCHEMA_VERSION}); end "
                f"the collectors that write to it, then run `collector schema upgrade`"
            )
    bring_up_to_date(engine, address)


def bring_up_to_date(engine: Engine, address: Address) -> int:
    """Make the schema, or change it to this collector's. One process does, others wait. Returns the version it had."""
    from collector.store.migrate import upgrade

    with engine.begin() as connection:
        if address.url is not None:
            from collector.store import postgresql

            postgresql.wait_for_other_migrations(connection)
        version = _known(connection, address)
        if version != SCHEMA_VERSION:
            upgrade(connection, version)
            if address.url is None:
                sqlite.set_version(connection, SCHEMA_VERSION)
    return version


def _known(connection: Connection, address: Address) -> int:
    """The schema's version; 0: there is nothing yet. Raises StoreError for one that cannot be used."""
    if address.url is None:
        version = sqlite.version(connection)
    else:
        from collector.store import postgresql

        version = postgresql.version(connection)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{address}: made by a newer collector (version {version}, this one knows {SCHEMA_VERSION}); upgrade"
        )
    if not version and inspect(connection).get_table_names():
        what = "name another file" if address.url is None else "name another one, or a schema of its own"
        raise StoreError(f"{address}: is a database, but no collector's store; {what}")
    return version


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turns what the database says into StoreUnavailable or StoreError."""
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", None) or error
        if address.url is None:
            assert address.path is not None
            meant = sqlite.explained(address.path, cause)
        else:
            from collector.store import postgresql

            meant = postgresql.explained(address, cause)
        if meant is None:
            raise  # a bug of ours
        raise meant from None
