"""Column types that read the same in both databases, and are what each database's own tools expect.

Rules
- A time is text in Python: ISO 8601, UTC, milliseconds. SQLite stores that text; PostgreSQL stores timestamptz, so that `now() -
  interval '1 hour'`, partitions and BI tools work, and gives the text back.
- JSON is text in Python, made once. SQLite stores that text; PostgreSQL stores `json`, not `jsonb`: the text stays as it was written,
  costs no parsing into a tree, and may hold every character; `->` and `->>` work on it in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, Text, cast, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, UserDefinedType

from collector.times import NS

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

WALL_NS_MAX = 9_200_000_000 * NS

BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only by a column that is INTEGER


class _Named(UserDefinedType[str]):
    """A PostgreSQL type that takes text as it is."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


class _WrittenTime(FunctionElement[str]):
    """A time as text."""

    name = "written_time"
    type = Text()
    inherit_cache = True


class _WrittenJson(FunctionElement[str]):
    """JSON as text."""

    name = "written_json"
    type = Text()
    inherit_cache = True


class WallTime(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else _Named("TIMESTAMPTZ"))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return _WrittenTime(column)


class JsonText(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else _Named("JSON"))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return _WrittenJson(column)


class wall_time(FunctionElement[str]):  # noqa: N801
    """`times.to_text` of integer nanoseconds in the database, as far as its integers go: the years 1678 to 2261."""

    name = "wall_time"
    type = WallTime()
    inherit_cache = True


@compiles(_WrittenTime)
@compiles(_WrittenJson)
def _as_it_is(element: FunctionElement[str], compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_WrittenTime, "postgresql")
def _time_to_text(element: _WrittenTime, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


@compiles(_WrittenJson, "postgresql")
def _json_to_text(element: _WrittenJson, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


@compiles(wall_time, "sqlite")
def _wall_time_sqlite(element: wall_time, compiler: SQLCompiler, **options: Any) -> str:
    (ns,) = element.clauses
    within = cast(func.min(func.max(ns, -WALL_NS_MAX), WALL_NS_MAX), BigInteger)
    rest = (within % NS + NS) % NS  # SQLite's remainder has the sign of what is divided
    second = func.strftime("%Y-%m-%dT%H:%M:%S", (within - rest) // NS, "unixepoch", type_=Text)
    return compiler.process(second + func.printf(".%03dZ", rest // 1_000_000, type_=Text), **options)


@compiles(wall_time, "postgresql")
def _wall_time_postgresql(element: wall_time, compiler: SQLCompiler, **options: Any) -> str:
    (ns,) = element.clauses
    within = compiler.process(func.least(func.greatest(ns, -WALL_NS_MAX), WALL_NS_MAX), **options)
    # A quotient of numerics is rounded to some 16 digits, and these have 19.
    return f"(timestamptz 'epoch' + floor({within} * 0.000001) * interval '1 millisecond')"
