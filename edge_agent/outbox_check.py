"""Whether a file is an outbox that can be used: SQLite's own check, its columns, and the rows that nothing can do without."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

from edge_agent.errors import OutboxDamaged
from edge_agent.outbox_rows import NOWHERE, SQL, damaged_stream, stream_of
from edge_agent.rows import position_of

INTERRUPT_S = 0.01


def check_rows(db: sqlite3.Connection, path: str) -> int:
    """Streams are sound and have every number. Blocks that lie where no stream has one go: their own places are found empty.

    Returns the position after all streams. Raises OutboxDamaged.
    """
    end = -NOWHERE
    for stream_no, row in enumerate(db.execute(SQL["streams"]).fetchall()):
        found = stream_of(row)
        if found is None or found[0].stream_no != stream_no:
            raise damaged_stream(path, stream_no)
        db.execute(SQL["delete_batches"], (end, position_of(stream_no, 0)))
        end = position_of(stream_no, found[1].next_seq)
    db.execute(SQL["delete_batches"], (end, NOWHERE))  # they would stand where the next ones go
    return max(end, 0)


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
