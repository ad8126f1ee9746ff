"""The outbox as a file: who may use it, and what becomes of a damaged one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

from edge_agent.errors import OutboxError
from edge_agent.outbox_rows import SQL


def lock_outbox(path: str) -> int:
    """A file descriptor that holds the outbox's lock while it is open. Raises OutboxError."""
    lock = Path(path + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutboxError(
            f"{path}: {error.strerror}: {error.filename}; make the folder writable for this user, or name another in [outbox] path"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise OutboxError(
            f"{path}: another edge-agent is using it; end that one, or give each its own [outbox] path"
        ) from None
    return descriptor


def set_aside(path: str) -> str:
    """Move a damaged file away, with its write-ahead log, for somebody to look at. Returns its new name."""
    number = 0
    while Path(name := f"{path}.damaged-{number}").exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        file = Path(path + suffix)
        if file.exists():
            file.rename(name + suffix)
    return name


def salvaged_id(path: str) -> bytes:
    """The outbox_id of a damaged file, or empty where it cannot be read any more."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            row = db.execute(SQL["fact"], ("outbox_id",)).fetchone()
    except sqlite3.Error:
        return b""
    return row[0] if row else b""
