"""Disks that can lose power: the file layer under SQLite, in this process.

SQLite's own unix VFS does the work, on real files. A copy of it is registered in its place whose xWrite, xTruncate,
xSync and xDelete come by here first, so that everything above (locks, shared memory, the write-ahead log) is SQLite's.

Rules
- What was written and not synced may be there after a power cut, or not, or in part: each 512-byte sector on its own, in any
  order. What was synced is there.
- A process that is killed loses nothing that it wrote; it writes nothing more.
- Creating, deleting and renaming a file is durable at once; so is what does not go through SQLite.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

OK, IOERR_WRITE, IOERR_FSYNC, FULL, IOERR_DELETE = 0, 778, 1034, 13, 2570
SECTOR_BYTES = 512
DISK_BYTES = 1 << 40

_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
# Names are pointers: SQLite keeps the one of a file that it opened, so that no copy of it will do.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_RANDOM = CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("iVersion", c_int), ("szOsFile", c_int), ("mxPathname", c_int), ("pNext", c_void_p), ("zName", c_char_p),
        ("pAppData", c_void_p), ("xOpen", c_void_p), ("xDelete", c_void_p), ("xAccess", c_void_p),
        ("xFullPathname", c_void_p), ("xDlOpen", c_void_p), ("xDlError", c_void_p), ("xDlSym", c_void_p),
        ("xDlClose", c_void_p), ("xRandomness", c_void_p), ("xSleep", c_void_p), ("xCurrentTime", c_void_p),
        ("xGetLastError", c_void_p), ("xCurrentTimeInt64", c_void_p), ("xSetSystemCall", c_void_p),
        ("xGetSystemCall", c_void_p), ("xNextSystemCall", c_void_p),
    ]  # fmt: skip


class _Methods(ctypes.Structure):
    _fields_ = [
        ("iVersion", c_int), ("xClose", c_void_p), ("xRead", c_void_p), ("xWrite", c_void_p), ("xTruncate", c_void_p),
        ("xSync", c_void_p), ("xFileSize", c_void_p), ("xLock", c_void_p), ("xUnlock", c_void_p),
        ("xCheckReservedLock", c_void_p), ("xFileControl", c_void_p), ("xSectorSize", c_void_p),
        ("xDeviceCharacteristics", c_void_p), ("xShmMap", c_void_p), ("xShmLock", c_void_p), ("xShmBarrier", c_void_p),
        ("xShmUnmap", c_void_p), ("xFetch", c_void_p), ("xUnfetch", c_void_p),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Unsynced:
    """One write or truncation: bytes from `offset` on and the file's size, before and after."""

    offset: int
    before: bytes
    size_before: int
    after: bytes
    truncates: bool = False


@dataclass(slots=True)
class _File:
    path: str
    descriptor: int
    inode: int
    unsynced: list[_Unsynced] = field(default_factory=list)


class Usage(NamedTuple):
    """Of a disk in bytes, as shutil.disk_usage gives it."""

    total: int
    used: int
    free: int


class Disk:
    """What one machine keeps: the files under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.frozen = False  # whoever still writes here is dead
        self.dies_in: int | None = None  # operations until then
        self.refusal = 0  # SQLite's code for what a write or sync gets now; 0: it is done
        self.crowded = False  # others have filled it but for what the outbox leaves free
        self._files: dict[str, _File] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def count(self) -> None:
        """One step more of whoever writes here, on the disk or not."""
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.dies_in, self.frozen = None, True

    def refuses(self, code: int) -> int:
        """Count an operation. 0, or the code with which it fails."""
        self.count()
        return code if self.frozen else self.refusal

    def file(self, path: str) -> _File:
        status = Path(path).stat()
        known = self._files.get(path)
        if known is not None and known.inode == status.st_ino:
            return known
        self.forget(path)
        made = self._files[path] = _File(path, os.open(path, os.O_RDWR), status.st_ino)
        return made

    @property
    def usage(self) -> Usage:
        free = 0 if self.crowded else DISK_BYTES
        return Usage(DISK_BYTES, DISK_BYTES - free, free)

    def forget(self, path: str) -> None:
        gone = self._files.pop(path, None)
        if gone is not None:
            os.close(gone.descriptor)

    def lose_power(self, rng: random.Random) -> int:
        """Everything here is closed. Returns how many writes did not survive as they were made."""
        lost = 0
        for path, file in list(self._files.items()):
            if Path(path).exists() and Path(path).stat().st_ino == file.inode and file.unsynced:
                content = bytearray(Path(path).read_bytes())
                for write in reversed(file.unsynced):
                    _undo(content, write)
                for write in file.unsynced:
                    lost += _redo_some(content, write, rng)
                _overwrite(path, content)
            self.forget(path)
        for name in self.folder.glob("*-shm"):
            name.unlink()
        return lost

    def close(self) -> None:
        for path in list(self._files):
            self.forget(path)


def _undo(content: bytearray, write: _Unsynced) -> None:
    content[write.offset : write.offset + max(len(write.after), len(write.before))] = write.before
    del content[write.size_before :]


def _redo_some(content: bytearray, write: _Unsynced, rng: random.Random) -> int:
    fate = rng.choice(("lost", "lost", "whole", "torn"))
    if fate == "lost":
        return 1
    if write.truncates:
        del content[write.offset :]
        return 0
    for start in range(0, len(write.after), SECTOR_BYTES):
        if fate == "torn" and rng.random() < 0.5:
            continue
        piece = write.after[start : start + SECTOR_BYTES]
        at = write.offset + start
        if at > len(content):
            content.extend(bytes(at - len(content)))
        content[at : at + len(piece)] = piece
    return int(fate == "torn")


def _overwrite(path: str, content: bytes | bytearray) -> None:
    with Path(path).open("r+b") as file:
        file.write(content)
        file.truncate()


class _Layer:
    """The copy of the unix VFS, and which disk an open file is on."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._library.sqlite3_vfs_register.argtypes = [POINTER(_Vfs), c_int]
        self._unix = self._library.sqlite3_vfs_find(None)
        original = self._unix.contents
        self._open, self._delete = _OPEN(original.xOpen), _DELETE(original.xDelete)
        self._vfs = _Vfs.from_buffer_copy(original)
        self._vfs.zName = b"simulated"
        self._hooks = (
            _OPEN(self._on_open), _DELETE(self._on_delete), _RANDOM(self._on_random), _WRITE(self._on_write),
            _TRUNCATE(self._on_truncate), _SYNC(self._on_sync), _CLOSE(self._on_close),
        )  # fmt: skip
        self._vfs.xOpen, self._vfs.xDelete, self._vfs.xRandomness = map(_address, self._hooks[:3])
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}  # by address: SQLite's, and ours
        self._write, self._truncate = _WRITE(), _TRUNCATE()
        self._close = _CLOSE()
        self._open_files: dict[int, tuple[Disk, _File]] = {}  # by address of sqlite3_file
        self.disks: dict[str, Disk] = {}
        self.rng: random.Random | None = None

    def begin(self) -> None:
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)

    def end(self) -> None:
        self._library.sqlite3_vfs_register(self._unix, 1)
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def usage(self, folder: Path) -> Usage:
        return self.disks[str(folder)].usage

    def _disk_of(self, path: str) -> Disk | None:
        return self.disks.get(path.rpartition("/")[0])

    # What SQLite calls. Nothing here may raise.

    def _on_open(self, _vfs: int, name: int | None, file: int, flags: int, out: object) -> int:
        path = _text(name) if name else ""
        disk = self._disk_of(path)
        if disk is not None and disk.frozen and not Path(path).exists():
            return IOERR_WRITE
        code = self._open(ctypes.cast(self._unix, c_void_p), name, file, flags, out)
        if code == OK and disk is not None and Path(path).exists():
            self._open_files[file] = (disk, disk.file(path))
            methods = c_void_p.from_address(file)
            methods.value = self._ours(methods.value or 0)
        return code

    def _ours(self, address: int) -> int:
        if address not in self._methods:
            theirs = _Methods.from_address(address)
            ours = _Methods.from_buffer_copy(theirs)
            ours.xWrite, ours.xTruncate, ours.xSync, ours.xClose = map(_address, self._hooks[3:])
            self._methods[address] = (theirs, ours)
            self._write, self._truncate = _WRITE(theirs.xWrite), _TRUNCATE(theirs.xTruncate)
            self._close = _CLOSE(theirs.xClose)
        return ctypes.addressof(self._methods[address][1])

    def _on_write(self, address: int, buffer: int, size: int, offset: int) -> int:
        disk, file = self._open_files[address]
        code = disk.refuses(IOERR_WRITE)
        if code:
            return code
        file.unsynced.append(
            _Unsynced(
                offset,
                os.pread(file.descriptor, size, offset),
                os.fstat(file.descriptor).st_size,
                ctypes.string_at(buffer, size),
            )
        )
        return self._write(address, buffer, size, offset)

    def _on_truncate(self, address: int, size: int) -> int:
        disk, file = self._open_files[address]
        code = disk.refuses(IOERR_WRITE)
        if code:
            return code
        before = os.fstat(file.descriptor).st_size
        tail = os.pread(file.descriptor, max(0, before - size), size)
        file.unsynced.append(_Unsynced(size, tail, before, b"", truncates=True))
        return self._truncate(address, size)

    def _on_sync(self, address: int, _flags: int) -> int:
        disk, file = self._open_files[address]
        code = disk.refuses(IOERR_FSYNC)
        if code:
            return IOERR_FSYNC
        file.unsynced.clear()
        return OK

    def _on_close(self, address: int) -> int:
        self._open_files.pop(address, None)
        return self._close(address)

    def _on_delete(self, _vfs: int, name: int, sync: int) -> int:
        path = _text(name)
        disk = self._disk_of(path)
        if disk is not None:
            if disk.refuses(IOERR_DELETE):
                return IOERR_DELETE
            disk.forget(path)
        return self._delete(ctypes.cast(self._unix, c_void_p), name, sync)

    def _on_random(self, _vfs: int, size: int, buffer: int) -> int:
        """The write-ahead log's salts, the same in every replay."""
        drawn = self.rng.randbytes(size) if self.rng else os.urandom(size)
        ctypes.memmove(buffer, drawn, size)
        return size


def _text(name: int) -> str:
    return os.fsdecode(ctypes.string_at(name))


def _address(hook: object) -> int:
    return ctypes.cast(hook, c_void_p).value or 0  # type: ignore[arg-type]


_layer: _Layer | None = None


@contextlib.contextmanager
def simulated_disks(rng: random.Random) -> Iterator[dict[str, Disk]]:
    """SQLite files under the folders in the dict, which the caller fills, are on these disks."""
    global _layer  # noqa: PLW0603  # SQLite has one list of file layers, and calls ours as long as the process lives
    _layer = _layer or _Layer()
    _layer.disks, _layer.rng = {}, rng
    _layer.begin()
    try:
        with mock.patch("shutil.disk_usage", _layer.usage):
            yield _layer.disks
    finally:
        _layer.end()
        for disk in _layer.disks.values():
            disk.close()
        _layer.disks, _layer.rng = {}, None
