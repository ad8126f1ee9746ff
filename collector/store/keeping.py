"""How long things are kept, for each table that grows with time; docs/store.md says what each of them does.

Rules
- Age is by the time of the record, not of its arrival. What operators and collectors wrote themselves has no other time than that.
- What still holds stays, however old: an open fault, anomaly or diagnosis, a vehicle's newest state, a notice that a webhook waits for.
- Old rows are looked for in transactions that hold nobody up, and deleted in small ones: whoever writes waits no longer than one
  of them takes. Of several collectors each may do it.
- `days` has partitions, `expiry` the blocks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select

from collector.store import days, expiry
from collector.store.engine import explained, open_engine
from collector.store.tables import (
    acknowledgements,
    anomalies,
    battery_health,
    dead_letters,
    diagnoses,
    faults,
    notices,
    quarantine,
    rollups,
    telemetry_logs,
    vehicle_health,
    vehicles,
    webhooks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Engine, Row, Select, Table

    from collector.config import Config
    from collector.store.address import Address

DELETED_MAX = 2000  # rows of one transaction, some ten milliseconds


@dataclass(frozen=True, slots=True)
class Keep:
    """Days; 0: for ever."""

    rows: int = 0
    rollups: int = 0
    blocks: int = 0
    faults: int = 0
    diagnoses: int = 0
    anomalies: int = 0
    battery: int = 0
    health: int = 0
    notices: int = 0
    dead_letters: int = 0
    quarantine: int = 0

    @classmethod
    def of(cls, config: Config) -> Keep:
        return cls(*(getattr(config, f"keep_{one.name}_days") for one in fields(cls)))


def tidy(address: Address, keep: Keep, now: datetime) -> dict[str, int]:
    """Delete what is too old, and make room for what comes. How many rows, or partitions, of which table went. Raises StoreError."""
    writing, reading = open_engine(address, write=True), None
    try:
        reading = open_engine(address, write=False)
        with explained(address):
            gone = {
                table.name: _delete(writing, table, _old(reading, table, column, keep_days, now))
                for table, column, keep_days in _aged(keep, by_day=address.url is not None)
                if keep_days
            }
            if address.url is not None:
                gone["telemetry_logs"] = days.tidy(writing, telemetry_logs, keep.rows, now)
                gone["rollups"] = days.tidy(writing, rollups, keep.rollups, now)
            if keep.blocks:
                gone["batches"] = expiry.expire(writing, reading, now - timedelta(days=keep.blocks), now)
            return {name: count for name, count in gone.items() if count}
    finally:
        writing.dispose()
        if reading is not None:
            reading.dispose()


def _aged(keep: Keep, *, by_day: bool) -> Iterator[tuple[Table, Column[str], int]]:
    """Tables that go row by row: what their rows' age is told by, and the days that they are kept."""
    if not by_day:
        yield telemetry_logs, telemetry_logs.c.timestamp, keep.rows
        yield rollups, rollups.c.timestamp, keep.rollups
    yield faults, faults.c.detected_at, keep.faults
    yield diagnoses, diagnoses.c.detected_at, keep.diagnoses
    yield anomalies, anomalies.c.started_at, keep.anomalies
    yield battery_health, battery_health.c.at, keep.battery
    yield vehicle_health, vehicle_health.c.at, keep.health
    yield notices, notices.c.at, keep.notices
    yield dead_letters, dead_letters.c.at, keep.dead_letters
    yield quarantine, quarantine.c.received_at, keep.quarantine


def _old(
    engine: Engine, table: Table, column: Column[str], keep_days: int, now: datetime
) -> Iterator[Sequence[Row[tuple[object, ...]]]]:
    """Keys of rows that are too old, a transaction's worth at a time, while there are some."""
    oldest = now - timedelta(days=keep_days)
    wanted = select(*table.primary_key.columns).where(column < oldest.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    for only in _parts(engine, table, oldest):
        while True:
            with engine.begin() as connection:
                found = connection.execute(wanted.where(*only).limit(DELETED_MAX)).all()
            if found:
                yield found
            if len(found) < DELETED_MAX:
                break


def _parts(engine: Engine, table: Table, oldest: datetime) -> Iterator[list[ColumnElement[bool]]]:
    """What may go, in the parts that there is an index for: vehicle by vehicle, where the table knows vehicles."""
    if table is notices:
        with engine.begin() as connection:
            told = _told(connection, round(oldest.timestamp() * 1e9))
        yield [] if told is None else [notices.c.id <= told]
        return
    if "vin" not in table.c:
        yield []
        return
    with engine.begin() as connection:
        vins = connection.execute(select(vehicles.c.vin)).scalars().all()
    over = [table.c.ended_at.is_not(None)] if "ended_at" in table.c else []
    for vin in vins:
        earlier = [vehicle_health.c.id < _newest_state(vin)] if table is vehicle_health else []
        yield [table.c.vin == vin, *over, *earlier]


def _newest_state(vin: str) -> ColumnElement[int]:
    """What a vehicle is now: what comes next is compared with it."""
    newest: Select[tuple[int]] = select(func.max(vehicle_health.c.id)).where(vehicle_health.c.vin == vin)
    return newest.scalar_subquery()


def _told(connection: Connection, since_ns: int) -> int | None:
    """Up to which notice every webhook that somebody served since then is done; None: there is no such webhook."""
    wanted = select(webhooks.c.standing).where(webhooks.c.held_until_ns >= since_ns)
    standings = [json.loads(text) for text in connection.execute(wanted).scalars()]
    return min((min([one["done"], *(held - 1 for held in one["held"])]) for one in standings), default=None)


def _delete(engine: Engine, table: Table, found: Iterator[Sequence[Row[tuple[object, ...]]]]) -> int:
    key = list(table.primary_key.columns)
    gone = 0
    statement = delete(table).where(*(column == bindparam(f"of_{column.name}") for column in key))
    for rows in found:
        places = [
            {f"of_{column.name}": value for column, value in zip(key, row, strict=True)} for row in rows
        ]
        with engine.begin() as connection:
            if table is faults:
                connection.execute(_WHAT_WAS_SAID, places)
            connection.execute(statement, places)
        gone += len(rows)
    return gone


# What operators said of a fault goes with it.
_PLACE = ("outbox", "stream_no", "first_tick", "code")
_WHAT_WAS_SAID = delete(acknowledgements).where(
    select(faults.c.id)
    .where(
        faults.c.id == bindparam("of_id"), *(faults.c[name] == acknowledgements.c[name] for name in _PLACE)
    )
    .exists()
)
