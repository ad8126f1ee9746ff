"""What operators say of faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from collector.store.address import Address, address_of
from collector.store.engine import explained, open_engine
from collector.store.statements import upsert
from collector.store.tables import acknowledgements, faults

if TYPE_CHECKING:
    from pathlib import Path

_PLACE = ("outbox", "stream_no", "first_tick", "code")


def acknowledge(where: Address | Path | str, fault: int, said: dict[str, Any]) -> dict[str, Any] | None:
    """`said`: at, by, mark, note; what was said before is replaced. The fault's row; None: there is none of this id."""
    address = address_of(where)
    engine = open_engine(address, write=True)
    try:
        with explained(address), engine.begin() as connection:
            row = connection.execute(select(faults).where(faults.c.id == fault)).mappings().one_or_none()
            if row is None:
                return None
            statement = upsert(
                connection.dialect.name, acknowledgements, _PLACE, ["at", "by", "mark", "note"]
            )
            connection.execute(statement, {name: row[name] for name in _PLACE} | said)
            return dict(row)
    finally:
        engine.dispose()
