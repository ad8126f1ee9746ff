"""What an index is worth: `python -m benchmarks.queries [--rows 10000000] [--json F]`.

Rules
- Rows of telemetry_logs of a thousand vehicles, one a second, made in the database itself. Half of the vehicles left half way: the
  one that is asked for did, and what is newest is not all over its rows.
- Each question is asked with the index that is there for it, and without it; PostgreSQL tells cost and time by EXPLAIN ANALYZE, SQLite
  has no such thing: there the plan is EXPLAIN QUERY PLAN's, and the time that of reading all of the answer.
- The best of three, so what is in memory is in memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks import postgresql
from benchmarks.screen import LOG_WIDTH_MAX, console, write_json
from collector.store.address import address_of
from collector.store.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

ROWS = 10_000_000
VEHICLES = 1000
RUNS = 3
INDEX = "telemetry_logs_vin"
TIME_INDEX = "telemetry_logs_timestamp"
DATA = '{"VehicleSpeed":61.5,"PackPower":-3.25,"BatterySOC":71.5,"Heading":182.0,"BatteryTempMax":31.0}'
VIN = "asset:car0250"


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    index: str  # what it is asked with and without
    sql: str


@dataclass(frozen=True, slots=True)
class QueryRow:
    """The names are the keys of the JSON. `cost`: the planner's; SQLite's has none."""

    store: str
    question: str
    rows: int
    index: bool
    ms: float
    cost: float | None
    plan: str


def questions(span_s: int) -> tuple[Question, ...]:
    """`span_s`: how long the rows go on from 2026-01-01."""
    start, end = _at(span_s // 8), _at(span_s // 8 + min(3600, span_s // 8))
    return (
        Question(
            "latest of a vehicle that left",
            INDEX,
            f"SELECT timestamp, data FROM telemetry_logs WHERE vin = '{VIN}' ORDER BY timestamp DESC LIMIT 1",
        ),
        Question(
            "a signal over a range",
            INDEX,
            f"SELECT timestamp, data->>'VehicleSpeed' FROM telemetry_logs WHERE vin = '{VIN}' "
            f"AND timestamp >= '{start}' AND timestamp < '{end}' ORDER BY timestamp",
        ),
        Question(
            "the newest ten",
            TIME_INDEX,
            "SELECT timestamp, data FROM telemetry_logs ORDER BY timestamp DESC LIMIT 10",
        ),
    )


def _at(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1_767_225_600 + second))


SHARE = {
    "sqlite": "(1 + (i % 1000 < 500))",
    "postgresql": "(CASE WHEN i %% 1000 < 500 THEN 2 ELSE 1 END)",
}
FILL = {
    "sqlite": (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows}) "
        "INSERT INTO telemetry_logs (vin, timestamp, data, late, time_uncertain, outbox, stream_no, tick) "
        "SELECT printf('asset:car%04d', i % {vehicles}), "
        "strftime('%Y-%m-%dT%H:%M:%S.000Z', 1767225600 + i / {vehicles} / {share}, 'unixepoch'), '{data}', 0, 0, "
        "i % {vehicles}, 0, i / {vehicles} FROM n"
    ),
    "postgresql": (
        "INSERT INTO telemetry_logs (vin, timestamp, data, late, time_uncertain, outbox, stream_no, tick) "
        "SELECT 'asset:car' || lpad((i %% {vehicles})::text, 4, '0'), "
        "timestamptz '2026-01-01T00:00:00Z' + (i / {vehicles} / {share}) * interval '1 second', '{data}', false, false, "
        "i %% {vehicles}, 0, i / {vehicles} FROM generate_series(0, {rows} - 1) AS s(i)"
    ),
}


def fill(engine: Engine, rows: int) -> None:
    dialect = engine.dialect.name
    with engine.begin() as connection:
        statement = FILL[dialect].format(rows=rows, vehicles=VEHICLES, share=SHARE[dialect], data=DATA)
        connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE telemetry_logs")
        connection.commit()


def ask(connection: Connection, store: str, question: Question, rows: int, *, index: bool) -> QueryRow:
    if store == "postgresql":
        best: dict[str, Any] = {}
        for _ in range(RUNS):
            told = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {question.sql}").scalar_one()
            plan = (json.loads(told) if isinstance(told, str) else told)[0]
            best = min(best or plan, plan, key=lambda one: float(one["Execution Time"]))
        nodes = " > ".join(_nodes(best["Plan"]))
        cost = float(best["Plan"]["Total Cost"])
        return QueryRow(store, question.name, rows, index, float(best["Execution Time"]), cost, nodes)
    took = []
    for _ in range(RUNS):
        begun_s = time.monotonic()
        connection.exec_driver_sql(question.sql).all()
        took.append(time.monotonic() - begun_s)
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question.sql}")]
    return QueryRow(store, question.name, rows, index, 1e3 * min(took), None, "; ".join(plan))


def _nodes(plan: dict[str, Any]) -> list[str]:
    """The first branch of each node."""
    below = list(plan.get("Plans", []))[:1]
    return [plan["Node Type"], *(name for one in below for name in _nodes(one))]


def measure(store: str, where: Path | str, rows: int) -> list[QueryRow]:
    engine = open_engine(address_of(where), write=True)
    fill(engine, rows)
    found = []
    for question in questions(rows // VEHICLES):
        with engine.begin() as connection:
            found.append(ask(connection, store, question, rows, index=True))
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP INDEX {question.index}")
            found.append(ask(connection, store, question, rows, index=False))
            connection.rollback()
    engine.dispose()
    return found


def print_queries(rows: Sequence[QueryRow]) -> None:
    table = Table(box=SIMPLE_HEAD, title="with the index, and without it")
    for heading in ("store", "question", "rows", "index", "ms", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("plan", max_width=LOG_WIDTH_MAX * 2)
    for row in rows:
        table.add_row(
            row.store,
            row.question,
            f"{row.rows:,}",
            "yes" if row.index else "no",
            f"{row.ms:,.2f}",
            "-" if row.cost is None else f"{row.cost:,.0f}",
            row.plan,
        )
    console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.queries", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N")
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="on a disk; default %(default)s"
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    rows: list[QueryRow] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows += measure("sqlite", Path(folder) / "rows.db", options.rows)
    why_not = postgresql.missing()
    if why_not:
        print(f"benchmarks.queries: {why_not}; measured without", file=sys.stderr)
    else:
        server = postgresql.Server(options.folder, durable=True)
        try:
            rows += measure("postgresql", server.database(), options.rows)
        finally:
            server.close()
    print_queries(rows)
    write_json(options.json, {"rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
