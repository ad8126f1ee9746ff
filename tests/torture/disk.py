"""A disk that fails on command, for one process at a time: `disk.c`, preloaded, and the file that commands it.

It covers what SQLite writes, syncs and truncates; see `disk.c` for what it does not.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("disk.c")
CONTROL_BYTES = 4096
_HEAD = struct.Struct("<IQ")  # errno, failures so far


class NoCompiler(RuntimeError):
    """There is no C compiler, or it does not take the shim; the message says which."""


def build(folder: Path) -> Path:
    """The shared library, made in `folder`. Raises NoCompiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler("disks that fail need a C compiler: install gcc, or run with --disks 0")
    library = folder / "disk.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(library), str(SOURCE), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoCompiler(f"{compiler} does not take {SOURCE.name}: {done.stderr.strip()}")
    return library


class Disk:
    """The files whose path begins with `prefix`, as one process sees them."""

    def __init__(self, control: Path, prefix: Path) -> None:
        self.control = control
        chosen = str(prefix.resolve()).encode() + b"\0"
        control.write_bytes((bytes(_HEAD.size) + chosen).ljust(CONTROL_BYTES, b"\0"))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), CONTROL_BYTES)

    def fail(self, error: int) -> None:
        """Every write fails with this errno from now on; 0: none does."""
        self._map[0] = error

    @property
    def failures(self) -> int:
        """System calls that failed so far."""
        return int(_HEAD.unpack_from(self._map)[1])

    def close(self) -> None:
        self._map.close()
