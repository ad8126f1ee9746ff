"""Whether a file is an outbox that can be used: SQLite's own check, its columns, and the rows that nothing can do without."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

from edge_agent.errors import OutboxDamaged, OutboxError
from edge_agent.outbox_rows import NOWHERE, SQL, damaged_stream, stream_of
from edge_agent.rows import position_of, split_position

INTERRUPT_S = 0.01


def expect_nothing(db: sqlite3.Connection, path: str) -> None:
    """A file of version 0 is a new one. Raises OutboxDamaged, or OutboxError for another database."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if {"facts", "batches"} <= tables:
        raise OutboxDamaged(f"{path}: an outbox whose version is gone")
    if tables:
        raise OutboxError(f"{path}: a database, but no outbox; name another [outbox] path")


def check_rows(db: sqlite3.Connection, path: str, wanted: int, *, checked: bool) -> int:
    """Streams have every number, and those from the one before `wanted` on are sound: Hello and what is sent build on them.

    Blocks that stand where the next ones go make room: their own places are found empty. So do those of an earlier stream that
    lies, which are acknowledged and cannot be described again. `checked`: SQLite looked at the whole file; else it may be the
    last streams that are gone. Returns the position after all streams. Raises OutboxDamaged.
    """
    needed = split_position(wanted)[0] - 1
    streams = db.execute(SQL["streams"]).fetchall()
    end = 0
    for stream_no, row in enumerate(streams):
        found = stream_of(row)
        if row[1] != stream_no or (found is None and stream_no >= needed):
            raise damaged_stream(path, stream_no)
        end = position_of(stream_no + 1, 0)
        if found is None:
            _delete(db, position_of(stream_no, 0), end)
        else:
            end = position_of(stream_no, found[1].next_seq)
    beyond = db.execute(SQL["places"], (position_of(len(streams), 0), NOWHERE)).fetchone()
    if beyond and not checked:
        raise OutboxDamaged(
            f"{path}: has a block of stream {split_position(beyond[0])[0]}, and no such stream"
        )
    _delete(db, end, NOWHERE)
    return end


def _delete(db: sqlite3.Connection, first: int, end: int) -> None:
    """Blocks, one by one: where SQLite had no time to look at the tree, a range may find what lies elsewhere."""
    for (position,) in db.execute(SQL["places"], (first, end)).fetchall():
        if first <= position < end:
            db.execute(SQL["delete_batch"], (position,))


def check_columns(db: sqlite3.Connection, path: str, schema: str) -> None:
    """SQLite takes any name for a column, a damaged one too. Raises OutboxDamaged where one of ours has another name."""
    with closing(sqlite3.connect(":memory:")) as sound:
        sound.executescript(schema)
        missing = _columns(sound) - _columns(db)
    if missing:
        table, column = min(missing)
        raise OutboxDamaged(f"{path}: an outbox whose table {table} has lost its column {column}")


def _columns(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(
        db.execute(
            "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'"
        )
    )


def check(db: sqlite3.Connection, path: str, *, within_s: float = threading.TIMEOUT_MAX) -> bool:
    """Whether SQLite looked at the whole file in this time. Raises OutboxDamaged for what it found, and sqlite3.Error."""
    over = threading.Event()

    def interrupt() -> None:
        wait_s = within_s
        while not over.wait(wait_s):  # again and again: what comes before the statement begins is forgotten
            db.interrupt()
            wait_s = INTERRUPT_S

    alarm = threading.Thread(target=interrupt, name="outbox-alarm", daemon=True)
    alarm.start()
    try:
        (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return False
    finally:
        over.set()
        alarm.join()  # so that it interrupts nothing else
    if finding != "ok":
        raise OutboxDamaged(f"{path}: {finding}")
    return True
