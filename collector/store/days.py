"""PostgreSQL's partitions: telemetry_logs and rollups have one for each day (UTC).

Rules
- They are made some days ahead; what none is there for goes to the one that takes the rest, and moves when its day is made.
- An old day is dropped whole. Of several collectors one does it, the others pass by.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

AHEAD_DAYS = 7  # so long nobody need have looked after a store before rows go to the rest
KEEPING_LOCK = 0x4445_4144_4B45_4550  # of the collector that does it now


def tidy(engine: Engine, table: Table, keep_days: int, now: datetime) -> int:
    """Make the days that come, drop those that are older than so many days (0: none). How many were dropped."""
    today = now.astimezone(UTC).date()
    with engine.begin() as connection:
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({KEEPING_LOCK})").scalar_one():
            return 0
        here = set(inspect(connection).get_table_names())
        for ahead in range(-1, AHEAD_DAYS + 1):
            day = today + timedelta(days=ahead)
            if _name(table, day) not in here:
                _make(connection, table, day)
        if not keep_days:
            return 0
        first = today - timedelta(days=keep_days)
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
