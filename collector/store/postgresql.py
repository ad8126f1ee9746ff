"""PostgreSQL: how the database is reached, loaded, and what it says when it cannot be used.

Rules
- It must work through a pooler that hands out another server connection for each transaction (PgBouncer): nothing is prepared on the
  server, nothing is set for longer than a transaction, no startup options.
- Rows are loaded by COPY.
- A writer refuses a server that answers before a commit is on its disk: an ack means durable.
- Nobody waits for a lock for long: whoever needs longer tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql
from psycopg.types.string import StrDumper, StrDumperUnknown
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from collector.store.errors import StoreBusy, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Engine, Table

    from collector.store.address import Address

LOCK_WAIT_MS = 2000
READERS_MAX = 8  # connections of one reading process
MIGRATION_LOCK = 0x4445_4144_5245_434B  # "DEADRECK": whoever makes or changes the schema holds it
NOTICES_LOCK = MIGRATION_LOCK + 1

# How long a connection may be dead before it shows. libpq's own settings, so they pass a pooler; a URL overrides them.
_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "deadreckon",
}


class _Unprepared:
    """Text without NUL, which PostgreSQL does not store, and a vehicle may send."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)  # type: ignore[misc]


class _Text(_Unprepared, StrDumper):
    pass


class _Unknown(_Unprepared, StrDumperUnknown):
    pass


def engine(address: Address, *, write: bool) -> Engine:
    assert address.url is not None
    asked = set(address.url.query)
    arguments = {name: value for name, value in _CONNECT.items() if name not in asked}
    pool: dict[str, Any] = (
        {"poolclass": NullPool}  # the writer keeps its one connection itself
        if write
        else {"poolclass": QueuePool, "pool_size": READERS_MAX, "max_overflow": 0, "pool_pre_ping": True}
    )
    made = create_engine(
        address.url, connect_args=arguments | {"prepare_threshold": None}, use_native_hstore=False, **pool
    )

    @event.listens_for(made, "connect")
    def prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        for dumper in (_Text, _Unknown):
            connection.adapters.register_dumper(str, dumper)

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        what = f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}" if write else "SET TRANSACTION READ ONLY"
        connection.exec_driver_sql(what)

    return made


def version(connection: Connection) -> int:
    """Of the schema; 0: it has none."""
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar_one() is None:
        return 0
    return int(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def wait_for_other_migrations(connection: Connection) -> None:
    """Held to the end of the transaction, so a pooler does not matter."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")


def in_their_order(connection: Connection) -> None:
    """Whoever writes notices waits for whoever wrote some before: a number that shows is never followed by a smaller one."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({NOTICES_LOCK})")


def check_durable(connection: Connection, address: Address) -> None:
    """Raises StoreError where a commit is answered before it is durable."""
    if connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off":
        raise StoreError(
            f"{address}: synchronous_commit is off there, so a commit that was answered may still be lost; "
            f"ALTER ROLE ... SET synchronous_commit = on, for the role that the collector uses"
        )


def load(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], over: Sequence[str] = ()
) -> None:
    """INSERT INTO table, many rows at once. All have the same columns.

    `over`: columns that name a row; those that are there, which is seldom, are replaced.
    """
    if not over:
        return _copy(connection, table, rows)
    try:
        with connection.begin_nested():
            return _copy(connection, table, rows)
    except errors.UniqueViolation:
        pass
    gone = sql.SQL("DELETE FROM {} WHERE {}").format(
        sql.Identifier(table.name),
        sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in over),
    )
    with _raw(connection).cursor() as cursor:
        cursor.executemany(gone, _values(rows, over))
    return _copy(connection, table, rows)


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


def _copy(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    names = list(rows[0])
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with _raw(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for row in _values(rows, names):
            copy.write_row(row)


def _values(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    return (tuple(row[name] for name in names) for row in rows)


_ROLE = "; may its role do that? docs/store.md says which rights it needs"
_REMEDIES = {
    "28": "; is the user right, and the password?",
    "3D": "; `createdb` makes it",
    "42": "; has its schema been changed by hand?",
}
_BUSY = frozenset({"55P03", "40001", "40P01", "57P01", "57P02", "57P03", "25006"})


def explained(address: Address, error: BaseException) -> StoreError | None:
    """What a driver's error means; None where it tells of a bug of ours, not of the database.

    Source: PostgreSQL documentation, appendix A; the first two characters are the class.
    """
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    message = " ".join(str(error).split())
    if state in _BUSY or (not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)):
        return _unreached(address, message)
    if isinstance(error, errors.InsufficientPrivilege):
        return StoreError(f"{address}: {message}{_ROLE}")
    if state[:2] in ("28", "3D") or isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return StoreError(f"{address}: {message}{_REMEDIES[state[:2]]}")
    if state[:2] in ("XX", "F0"):
        return StoreError(f"{address}: {message}; the server's log says more; restore a backup")
    if isinstance(error, errors.DiskFull):
        return StoreUnavailable(f"{address}: {message}; make room on the server's disk")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable(f"{address}: {message}")
    return None


def _unreached(address: Address, message: str) -> StoreError:
    """A connection that was not had says only in words why."""
    lasting = {
        "password authentication failed": _REMEDIES["28"],
        "no password supplied": _REMEDIES["28"],
        "no encryption": "; the server demands TLS: ?sslmode=verify-full&sslrootcert=... in the URL asks for it",
        "no pg_hba.conf entry": "; the server does not let this machine in as that user",
        "does not exist": "; `createdb` and `createuser` make them",
        "does not support SSL": "; the server has no TLS, and sslmode asks for it",
        "does not match host name": "; name the server as its certificate does",
        "certificate": "; sslrootcert names the file that the server's certificate is checked with",
    }
    for words, remedy in lasting.items():
        if words in message:
            return StoreError(f"{address}: {message}{remedy}")
    return StoreBusy(f"{address}: {message}")
