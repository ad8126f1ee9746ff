"""Statements with many rows, past SQLAlchemy: it would look at each value of each row, which costs more than to write them.

The columns' types allow it: what Python has of them is what both drivers take (see `types`).
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Dialect

    Row = dict[str, Any]


def execute(connection: Connection, statement: Any, rows: Sequence[Row]) -> int:
    """Run a statement with each of these rows, which have the same keys. Returns how many rows of the table it met."""
    text, parameters = _prepared(statement, connection.dialect, tuple(rows[0]))
    return connection.exec_driver_sql(text, [parameters(row) for row in rows]).rowcount


@lru_cache(256)
def _prepared(statement: Any, dialect: Dialect, keys: tuple[str, ...]) -> tuple[str, Callable[[Row], Any]]:
    """The text, and what makes a driver's parameters of a row."""
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    constants = {name: value for name, value in compiled.params.items() if name not in keys}
    for column in compiled.insert_prefetch:
        assert column.default.is_scalar
        constants[column.key] = column.default.arg
    if compiled.positiontup is None:
        return str(compiled), lambda row: row | constants
    if constants or len(compiled.positiontup) == 1:
        return str(compiled), lambda row: tuple((row | constants)[name] for name in compiled.positiontup)
    return str(compiled), itemgetter(*compiled.positiontup)
