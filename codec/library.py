"""A shared library of kernels that were compiled ahead of time: whether it fits, and calls into it.

Rules
- It lies beside the sources of its package, one for each kind of machine. After the library itself its file has a
  stamp of all that it was compiled from, and a checksum. One that does not fit is not even loaded (the loader trusts
  what it is given); `Unfit` says why, and what to do.
- Plain C: an entry takes the address of its arguments as words of 8 bytes (of an array: address, then lengths) and
  returns a word. It needs nothing of Python's, and of libc only memset and its like.
- What reaches an entry is what its annotations promise, or it is a TypeError: machine code cannot tell.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.signature import Array, Fields, Number, Parameter, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    _Write = Callable[[list[Any], Any], None]  # appends the words of a value


_HASH = 64  # characters of a SHA-256 in hexadecimal: stamp and checksum

# Kinds of machines that kernels are compiled for, and the least processor of the kind. (On x86-64 numpy asks for as much.)
MACHINES = {"x86_64": "x86-64-v2", "aarch64": "generic"}

_CODEC = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a package has no compiled kernels here."""

    reason: str


def library_path(package: Path, machine: str = "") -> Path:
    """Where the compiled kernels of a package lie; `machine` as `uname -m` has it, by default this one."""
    return package / f"kernels.{machine or platform.machine()}.so"


@cache
def stamp(package: Path) -> str:
    """Of the sources of a package and of the codec, whose kernels it may call."""
    digest = hashlib.sha256()
    for folder in sorted({_CODEC, package}):
        for source in sorted(folder.glob("*.py")):
            digest.update(f"{folder.name}/{source.name}\0".encode() + source.read_bytes())
    return digest.hexdigest()


class Library:
    """The compiled kernels of one package."""

    def __init__(self, path: Path, loaded: ctypes.CDLL) -> None:
        self.path = path
        self._loaded = loaded

    def call(self, function: Callable[..., Any]) -> Callable[..., int]:
        """What calls the compiled `function`. Like numba's kernels, it runs without the GIL."""
        native = self._loaded[symbol(function)]
        native.argtypes, native.restype = [ctypes.c_char_p], ctypes.c_int64
        takes = parameters(function)
        pack = struct.Struct("=" + "".join(map(_format, takes.values()))).pack
        write = _row(takes, function.__name__)

        def run(*arguments: Any) -> int:
            words: list[Any] = []
            write(words, arguments)
            return native(pack(*words))  # type: ignore[no-any-return]

        return run


def open_library(package: Path, path: Path | None = None) -> Library | Unfit:
    """The compiled kernels of a package, if they fit."""
    path = path or library_path(package)
    if not path.is_file():
        return Unfit(f"no {path.name} in {package}; python -m codec compile {package.name} makes it")
    again = f"python -m codec compile {package.name} makes it anew"
    content = path.read_bytes()
    if content != sealed(content[: -2 * _HASH], content[-2 * _HASH : -_HASH].decode("latin1")):
        return Unfit(f"{path} is damaged; {again}")
    if content[-2 * _HASH : -_HASH] != stamp(package).encode():
        return Unfit(f"{path} was compiled from other sources; {again}")
    try:
        return Library(path, ctypes.CDLL(str(path)))
    except OSError as error:
        return Unfit(f"{path} cannot be loaded: {error}")


def sealed(library: bytes, stamped: str) -> bytes:
    """The file of a library."""
    content = library + stamped.encode("latin1")
    return content + hashlib.sha256(content).hexdigest().encode()


def symbol(function: Callable[..., Any]) -> str:
    """Of an entry in its library."""
    return f"{function.__module__}.{function.__qualname__}"


def _format(parameter: Parameter) -> str:
    match parameter:
        case Number():
            return "d" if parameter.type is float else "q"
        case Array():
            return "q" * (1 + parameter.dimensions)
        case Fields():
            return "".join(map(_format, parameter.parameters.values()))


def _row(takes: dict[str, Parameter], where: str) -> _Write:
    """What appends the words of so many values in a row."""
    writers = [_writer(parameter, f"{where}: {name}") for name, parameter in takes.items()]

    def write(words: list[Any], values: Any) -> None:
        for write_one, value in zip(writers, values, strict=True):
            write_one(words, value)

    return write


def _writer(parameter: Parameter, where: str) -> _Write:
    match parameter:
        case Number():
            return list.append
        case Array():
            return _array(parameter, where)
        case Fields():
            return _remembered(_row(parameter.parameters, where))


def _remembered(write_anew: _Write) -> _Write:
    """The same, in no time for the named tuple of the call before: an encoder has one workspace, a plan its tables."""
    last: tuple[Any, list[Any]] = (None, [])

    def write(words: list[Any], values: Any) -> None:
        nonlocal last
        known, found = last
        if known is not values:
            found = []
            write_anew(found, values)
            last = (values, found)
        words += found

    return write


def _array(promised: Array, where: str) -> _Write:
    dtype, dimensions = promised.dtype, promised.dimensions
    address, from_buffer = ctypes.addressof, (ctypes.c_char * 0).from_buffer

    def write(words: list[Any], array: Any) -> None:
        if array.dtype != dtype or array.ndim != dimensions:
            raise TypeError(
                f"{where} is {dtype} in {dimensions} dimensions, not {array.dtype} in {array.ndim}"
            )
        try:
            words.append(address(from_buffer(array)))
        except (TypeError, ValueError):  # read-only, or not contiguous
            if not array.flags.c_contiguous:
                raise TypeError(f"{where} is contiguous, row by row; this array is not") from None
            words.append(array.ctypes.data)
        words += array.shape

    return write
