"""DBC files as they are in the world: repaired, loaded, and what was repaired or left out is said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cantools.database import errors as cantools_errors
from cantools.database.can.formats import dbc as dbc_format

from decoder import dbc_text

if TYPE_CHECKING:
    from cantools.database.can import Message

FILE_BYTES_MAX = 8 << 20  # the largest in the wild have 1 MB; anything like this is a log given by mistake


class DbcError(ValueError):
    """A DBC that cannot be used at all; one line: file, line if known, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Dbc:
    """A loaded DBC. `warnings` has one line for each thing that was repaired or left out ("car.dbc line 7: ...")."""

    path: str
    messages: tuple[Message, ...]
    warnings: tuple[str, ...] = ()


def load(path: str | Path) -> Dbc:
    """Load a DBC, repairing what can be repaired. Raises DbcError, and nothing else."""
    path = Path(path)
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DbcError(f"{path}: too large for a DBC; is it a log?")
        content = path.read_bytes()
    except OSError as error:
        raise DbcError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse(content, str(path))


def parse(content: bytes, path: str) -> Dbc:
    """The same for a file's bytes; `path` is for messages."""
    name = Path(path).name
    text, warnings = _decoded(content)
    repaired, more = dbc_text.repair(text)
    if "\nBO_ " not in repaired:
        raise DbcError(f"{path}: has no message that can be used; give a DBC file, with BO_ and SG_ lines")
    try:
        messages = dbc_format.load_string(repaired, strict=False).messages
    except MemoryError:  # says nothing of the file
        raise
    except Exception as error:  # noqa: BLE001  whatever cantools' parser stumbles over
        reason = " ".join(str(error).split())[:200]
        raise DbcError(
            f"{path}: cannot be understood even after repair: {reason}; correct that line"
        ) from None
    warnings += more
    for message in messages:
        warnings += _oddities(message)
    return Dbc(path, tuple(messages), tuple(f"{name}: {warning}" for warning in warnings))


def _decoded(content: bytes) -> tuple[str, list[str]]:
    """Text of a file's bytes. DBCs say nothing of their encoding: UTF-8 if it can be, else Windows-1252."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace"), ["encoded as UTF-16; read as such"]
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), []
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), [
            "has bytes that no encoding explains; replaced in units and labels"
        ]


def _oddities(message: Message) -> list[str]:
    """What cantools would refuse in strict mode: here each signal is decoded from its own bits, so it does no harm."""
    try:
        message.refresh(strict=True)
    except cantools_errors.Error as error:
        return [f"{' '.join(str(error).split()).rstrip('.')}; each is decoded as far as frames carry it"]
    return []
