"""Writing logs as `candump -L` does, compressed where the name says so, with the same bytes at every run."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GZIP_LEVEL = 9


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """How many there were. Raises OSError."""
    count = 0
    with path.open("wb") as file:
        target = gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) if path.suffix == ".gz" else file
        for line in lines:
            target.write(line.encode("ascii"))
            count += 1
        if target is not file:
            target.close()
    return count
