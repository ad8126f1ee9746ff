"""Damage to a file that nobody has open, drawn from a seed."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLIPS_MAX = 64


def settle(path: Path) -> None:
    """Bring a database's write-ahead log into the file, so that damage to the file is damage to what counts.

    One that is damaged already, and nobody has set aside yet, stays as it is.
    """
    with closing(sqlite3.connect(path)) as db, suppress(sqlite3.DatabaseError, UnicodeDecodeError):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def truncate(path: Path, rng: random.Random) -> None:
    """To nothing, to a part of a page, or anywhere."""
    size = path.stat().st_size
    os.truncate(
        path, rng.choice([0, rng.randrange(1, 512), rng.randrange(size + 1), rng.randrange(size + 1)])
    )


def flip(path: Path, rng: random.Random) -> None:
    """One bit, or several anywhere; a file that is empty stays so."""
    size = path.stat().st_size
    if not size:
        return
    with path.open("r+b") as file:
        for _ in range(rng.choice([1, 1, rng.randint(2, FLIPS_MAX)])):
            at = rng.randrange(min(size, 100)) if rng.random() < 0.1 else rng.randrange(size)
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
