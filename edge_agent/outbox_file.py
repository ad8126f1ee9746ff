"""The outbox as a file: who may use it, what becomes of a damaged one, and by whose name it is missed.

Beside it lies its lock, which holds the outbox's id and those of the outboxes whose place it took. Damage to the outbox
does not reach it, so whatever begins where an outbox was, knows which.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from edge_agent.errors import OutboxBusy, OutboxError

OUTBOX_ID_BYTES = 16
REPLACED_MAX = 16  # outboxes that were lost one after the other; the collector has long heard of those before


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
    """Move a damaged file away, with its write-ahead log, for somebody to look at. Returns its new name. Raises OutboxBusy."""
    number = 0
    while Path(name := f"{path}.damaged-{number}").exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        file = Path(path + suffix)
        try:
            if file.exists():
                file.rename(name + suffix)
        except OSError as error:
            raise OutboxBusy(
                f"{file} is damaged and cannot be moved away: {error.strerror}; make the folder and the disk writable"
            ) from None
    return name


def count_set_aside(path: str) -> int:
    """Damaged files that are kept beside the outbox, for as long as nobody takes them away."""
    file = Path(path)
    try:
        names = [other.name.removeprefix(f"{file.name}.damaged-") for other in file.parent.iterdir()]
    except OSError:
        return 0
    return sum(name.isdecimal() for name in names)


def remembered_ids(lock: int) -> bytes:
    """Of the outboxes that were here, oldest first; the last one is the one that is, or was."""
    ids = os.pread(lock, (REPLACED_MAX + 1) * OUTBOX_ID_BYTES, 0)
    return ids[: len(ids) // OUTBOX_ID_BYTES * OUTBOX_ID_BYTES]


def remember_ids(lock: int, ids: bytes) -> None:
    """Raises OSError."""
    if os.pread(lock, len(ids) + 1, 0) != ids:
        os.pwrite(lock, ids, 0)
        os.ftruncate(lock, len(ids))
        os.fsync(lock)
