"""SQLite: how the file is opened, and what it says when it cannot be used.

Rules
- WAL mode, `synchronous=FULL`: an ack means durable, and NORMAL loses committed rows at a power cut.
- Writers begin with BEGIN IMMEDIATE, so that a lock shows before any work is done.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from collector.store.errors import StoreBusy, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from collector.store.address import Address

MALFORMED = b"malformed database schema"  # SQLite quotes it, and Python cannot read what is no text any more
OTHER_NAMES = (
    "no such column",
    "no such table",
    "has no column named",
)  # the schema was checked at the start
LOCK_WAIT_S = 0.25  # short: a stop must not wait for somebody else's lock; whoever needs longer tries again


def engine(address: Address, *, write: bool) -> Engine:
    """Raises StoreError where there is nothing to read."""
    path = address.path
    assert path is not None
    if not write and not path.exists():
        raise StoreError(
            f"{path}: there is no store; `--store F` names another, `collector serve` or `collector import` makes one"
        )
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; name a file")
    made = create_engine(address.engine_url, connect_args={"timeout": LOCK_WAIT_S}, poolclass=NullPool)

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        # A flipped bit in a text is damage of that text, whatever is made of it, and not of every statement that meets it.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-16000")
        if not write:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return made


def prepare_file(engine: Engine) -> None:
    """Before the first transaction of a writer: the journal mode cannot be changed within one."""
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        raw.close()


def version(connection: Connection) -> int:
    """Of the schema; 0: it has none."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def set_version(connection: Connection, number: int) -> None:
    """Also for collectors that know nothing of migrations: they refuse what is newer by this."""
    connection.exec_driver_sql(f"PRAGMA user_version={number}")


def explained(path: Path, error: BaseException) -> StoreError | None:
    """What a driver's error means; None where it tells of a bug of ours, not of the file."""
    message = str(error)
    if isinstance(error, sqlite3.OperationalError) and any(words in message for words in OTHER_NAMES):
        message += " (SQLite takes damaged names for names)"
    elif isinstance(error, sqlite3.OperationalError):
        if "locked" in message:
            return StoreBusy(f"{path}: {message}; another process holds a transaction")
        return StoreUnavailable(f"{path}: {message}{_remedy(message)}")
    elif isinstance(error, UnicodeDecodeError) and error.object.startswith(MALFORMED):
        message = error.object.decode(errors="backslashreplace")
    elif type(error) is not sqlite3.DatabaseError:  # IntegrityError and the like are derived from it
        return None
    return StoreError(
        f"{path}: {message}; set the file aside and start with an empty one, or restore a backup"
    )


def _remedy(message: str) -> str:
    remedies = {
        "unable to open": "; does its folder exist, and may this user write there?",
        "readonly": "; may this user write the file and its folder?",
        "full": "; make room on the disk",
    }
    return next((remedy for word, remedy in remedies.items() if word in message), "")
