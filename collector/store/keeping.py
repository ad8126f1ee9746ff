"""How long rows are kept, and where they go: rows of telemetry_logs and rollups; blocks, the truth, stay.

Rules
- Age is by the time of the record, not of its arrival.
- PostgreSQL has a partition for each day (UTC), made some days ahead; what no partition is there for goes to the one that takes the
  rest, and moves when its day is made. An old day is dropped whole. Of several collectors one does it, the others pass by.
- SQLite deletes in small transactions: whoever writes waits no longer than one of them takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, inspect, select, text

from collector.store.engine import explained, open_engine
from collector.store.tables import rollups, telemetry_logs

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

    from collector.store.address import Address

AHEAD_DAYS = 7  # so long nobody need have looked after a store before rows go to the rest
DELETED_MAX = 2000  # rows of one transaction, some ten milliseconds
KEEPING_LOCK = 0x4445_4144_4B45_4550  # of the collector that does it now


@dataclass(frozen=True, slots=True)
class Keep:
    """Days; 0: for ever."""

    rows_days: int = 365
    rollups_days: int = 1826

    def of(self, table: Table) -> int:
        return self.rows_days if table is telemetry_logs else self.rollups_days


def tidy(address: Address, keep: Keep, now: datetime) -> int:
    """Delete what is too old, and make room for what comes. How many partitions or rows went. Raises StoreError."""
    engine = open_engine(address, write=True)
    try:
        with explained(address):
            one = _tidy_days if address.url is not None else _tidy_rows
            return sum(one(engine, table, keep.of(table), now) for table in (telemetry_logs, rollups))
    finally:
        engine.dispose()


def _tidy_rows(engine: Engine, table: Table, days: int, now: datetime) -> int:
    if not days:
        return 0
    before = (now - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    key = list(table.primary_key.columns)
    gone = 0
    with engine.begin() as connection:
        vins = [row.vin for row in connection.execute(select(table.c.vin).distinct())]
    for vin in vins:
        while True:
            with engine.begin() as connection:
                old = select(*key).where(table.c.vin == vin, table.c.timestamp < before).limit(DELETED_MAX)
                found = connection.execute(old).all()
                for row in found:
                    here = [column == value for column, value in zip(key, row, strict=True)]
                    connection.execute(delete(table).where(*here))
            gone += len(found)
            if len(found) < DELETED_MAX:
                break
    return gone


def _tidy_days(engine: Engine, table: Table, days: int, now: datetime) -> int:
    today = now.astimezone(UTC).date()
    with engine.begin() as connection:
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({KEEPING_LOCK})").scalar_one():
            return 0
        here = set(inspect(connection).get_table_names())
        for ahead in range(-1, AHEAD_DAYS + 1):
            day = today + timedelta(days=ahead)
            if _name(table, day) not in here:
                _make(connection, table, day)
        if not days:
            return 0
        first = today - timedelta(days=days)
        old = [name for name in here if (_day(table, name) or first) < first]
        for name in old:
            connection.exec_driver_sql(f"DROP TABLE {name}")
        rest = text(f"DELETE FROM {table.name}_other WHERE timestamp < :before")  # noqa: S608
        connection.execute(rest, {"before": f"{first.isoformat()}T00:00:00Z"})
        return len(old)


def _make(connection: Connection, table: Table, day: date) -> None:
    """A partition, with the rows of its day that came before it was there."""
    name, rest = _name(table, day), f"{table.name}_other"
    start, end = f"{day.isoformat()}T00:00:00Z", f"{(day + timedelta(days=1)).isoformat()}T00:00:00Z"
    span = f"timestamp >= '{start}' AND timestamp < '{end}'"
    connection.exec_driver_sql(
        f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    connection.exec_driver_sql(f"LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql(
        f"WITH moved AS (DELETE FROM {rest} WHERE {span} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608
    )
    connection.exec_driver_sql(
        f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
    )


def _name(table: Table, day: date) -> str:
    return f"{table.name}_{day:%Y%m%d}"


def _day(table: Table, name: str) -> date | None:
    """None: it is no partition of a day."""
    digits = name.removeprefix(f"{table.name}_")
    if name == digits or len(digits) != 8 or not digits.isdigit():
        return None
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
