"""Facts of an outbox: single values by name, such as its own id, under one checksum with whose place it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import OutboxDamaged
from edge_agent.outbox_file import OUTBOX_ID_BYTES
from edge_agent.outbox_rows import SQL, row_crc

if TYPE_CHECKING:
    import sqlite3

NAMES = ("outbox_id", "replaces", "forked_from")

Value = TypeVar("Value", int, bytes)


class Facts:
    """The table `facts`. Raises what SQLite raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, key: str, default: Value) -> Value:
        """One that is not there, or of another type, which only damage makes it, is as it was at first."""
        row = self._db.execute(SQL["fact"], (key,)).fetchone()
        return row[0] if row and isinstance(row[0], type(default)) else default

    def set(self, key: str, value: int | bytes) -> None:
        self._db.execute(SQL["set_fact"], (key, value))

    def wanted(self) -> int:
        """What is acknowledged; nothing where that does not match its checksum: a fork would leave behind what is not."""
        wanted = self.get("wanted", 0)
        return wanted if self.get("wanted_crc", row_crc(wanted)) == row_crc(wanted) else 0

    def keep_wanted(self, wanted: int) -> None:
        self.set("wanted", wanted)
        self.set("wanted_crc", row_crc(wanted))

    def name(self, outbox_id: bytes, replaces: bytes, forked_from: bytes) -> None:
        names = (outbox_id, replaces, forked_from)
        for key, value in zip(NAMES, names, strict=True):
            self.set(key, value)
        self.set("names_crc", row_crc(*names))

    def named(self, path: str) -> tuple[bytes, bytes, bytes]:
        """Who this is, whose place it took, whose fork it is. Raises OutboxDamaged: under another name what is here would count twice."""
        outbox_id, replaces, forked_from = (self.get(key, b"") for key in NAMES)
        crc = row_crc(outbox_id, replaces, forked_from)
        if len(outbox_id) != OUTBOX_ID_BYTES or self.get("names_crc", crc) != crc:
            raise OutboxDamaged(f"{path}: an outbox whose name does not match its checksum")
        self.set("names_crc", crc)  # older software wrote none
        return outbox_id, replaces, forked_from
