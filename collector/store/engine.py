"""The database under the store: the one place that knows a dialect.

Rules
- SQLite in WAL mode, `synchronous=FULL`: an ack means durable, and NORMAL loses committed rows at a power cut.
- Writers begin with BEGIN IMMEDIATE, so that a lock shows before any work is done.
- What may pass (locked, full, read-only, I/O error) is StoreUnavailable: nothing was changed, try again. What does not pass is
  StoreError, with what to do.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    inspect,
    text,
)
from sqlalchemy.dialects.sqlite import insert as upsert_statement
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from collector.store.tables import SCHEMA_VERSION, metadata
from collector.times import NS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Column, ColumnElement, Connection, Engine
    from sqlalchemy.sql.dml import Insert

LOCK_WAIT_S = 0.25  # short: a stop must not wait for somebody else's lock; whoever needs longer tries again


WALL_NS_MAX = 9_200_000_000 * NS


class StoreError(Exception):
    """The store cannot be used; the message says which, why and what to do."""


class StoreUnavailable(StoreError):
    """The store cannot be used now (locked, full, ...). Nothing was changed."""


def open_engine(path: Path, *, write: bool) -> Engine:
    """An engine on the SQLite file, which a writer makes where it is missing. Raises StoreError."""
    if not write and not path.exists():
        raise StoreError(f"{path}: there is no store; `collector serve` or `collector import` makes one")
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; name a file")
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": LOCK_WAIT_S}, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-16000")
        if not write:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    with explained(path):
        _check(engine, path, write=write)
    return engine


def _check(engine: Engine, path: Path, *, write: bool) -> None:
    if write:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()
    with engine.begin() as connection:
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path}: made by a newer collector (version {version}, this one knows {SCHEMA_VERSION}); upgrade"
            )
        if version == SCHEMA_VERSION:
            return
        if inspect(connection).get_table_names():
            raise StoreError(f"{path}: is a database, but no collector's store; name another file")
        if not write:
            raise StoreError(f"{path}: is empty; nothing was ever stored in it")
        metadata.create_all(connection)
        connection.execute(text(f"PRAGMA user_version={SCHEMA_VERSION}"))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what the database says into StoreUnavailable or StoreError."""
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        message = str(getattr(error, "orig", error))
        raise StoreUnavailable(f"{path}: {message}{_remedy(message)}") from None
    except (DatabaseError, sqlite3.DatabaseError) as error:
        if type(error) not in (DatabaseError, sqlite3.DatabaseError):
            raise  # IntegrityError and the like tell of a bug of ours, not of the file
        message = str(getattr(error, "orig", error))
        raise StoreError(
            f"{path}: {message}; set the file aside and start with an empty one, or restore a backup"
        ) from None


def _remedy(message: str) -> str:
    """What to do about what SQLite says."""
    remedies = {
        "unable to open": "; does its folder exist, and may this user write there?",
        "readonly": "; may this user write the file and its folder?",
        "full": "; make room on the disk",
        "locked": "; another process holds a transaction",
    }
    return next((remedy for word, remedy in remedies.items() if word in message), "")


def wall_text(ns: ColumnElement[Any]) -> ColumnElement[Any]:
    """`times.to_text` of integers in the database, as far as its integers go: the years 1678 to 2261."""
    within = cast(func.min(func.max(ns, -WALL_NS_MAX), WALL_NS_MAX), BigInteger)
    rest = (within % NS + NS) % NS  # SQLite's remainder has the sign of what is divided
    second = func.strftime("%Y-%m-%dT%H:%M:%S", (within - rest) // NS, "unixepoch", type_=Text)
    return second + func.printf(".%03dZ", rest // 1_000_000, type_=Text)


def time_of(tick: Column[int]) -> ColumnElement[Any]:
    """Wall time of a tick, under the parameters of_period_ns and of_offset_ns."""
    return wall_text(tick * bindparam("of_period_ns") + bindparam("of_offset_ns"))


def of_stream(outbox: Column[int], stream_no: Column[int]) -> ColumnElement[bool]:
    """Of the stream of the parameters of_outbox and of_stream_no."""
    return and_(outbox == bindparam("of_outbox"), stream_no == bindparam("of_stream_no"))


def insert_new(table: Table) -> Insert:
    """INSERT that leaves rows alone that are there already."""
    return upsert_statement(table).on_conflict_do_nothing()


def upsert(table: Table, keys: Sequence[str], update: Sequence[str], *, texts: Sequence[str] = ()) -> Insert:
    """INSERT that updates the named columns of rows that are there already; those in `texts` only by a text that is not empty."""
    statement = upsert_statement(table)
    new = statement.excluded
    changes: dict[str, Any] = {name: new[name] for name in update}
    changes |= {name: func.coalesce(func.nullif(new[name], ""), table.c[name]) for name in texts}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changes)
