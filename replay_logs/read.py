"""Logs: every format python-can reads, as they are in the world.

Rules
- What can be used is used. What is left out is counted, and said in one line for each reason.
- The content says what format it is, not the name: `drive.candump.log.gz` is a candump log.
- python-can's own readers parse; a line that one of them refuses costs that line and not the rest of the log.
- The order is the file's, stamps are the file's: backward, negative and equal ones included. What is no time at all
  (not a number, 146 years and more from 1970) stamps no frame.
"""

from __future__ import annotations

import gc
import gzip
import io
import logging
import sys
import threading
import traceback
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

from can.io.generic import TextIOMessageReader
from can.io.player import MESSAGE_READERS

from decoder.frames import FD_BYTES
from decoder.sampler import TIME_NS_MAX
from replay_logs.formats import IDENTIFIER_MAX, sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import can

_SAMPLE_BYTES = 1 << 16
_LINE_CHARACTERS_MAX = 1 << 16  # a "line" longer than this is no text
_QUOTE_CHARACTERS = 48
_CLASSIC_BYTES = 8
TIME_S_MAX = TIME_NS_MAX / 1e9
_MAGIC = ((b"MDF     ", ".mf4"), (b"UnFinMF ", ".mf4"), (b"LOGG", ".blf"), (b"SQLite format 3\0", ".db"))
_ENDS_EARLY = (EOFError, zlib.error, gzip.BadGzipFile)
_REFUSED = (ValueError, IndexError, KeyError, TypeError, ArithmeticError, AssertionError)


class LogError(ValueError):
    """A log that cannot be read at all; one line: file, what is wrong, what to do."""


@dataclass(slots=True)
class Log:
    """A log on disk. Each iteration reads it anew and yields can.Message in the order of the file."""

    path: Path
    format: str  # python-can's suffix, or the name of a format from replay_logs.formats
    compressed: bool
    parse: Callable[[str], can.Message | None] | None = None
    _bad: dict[str, tuple[int, str]] = field(default_factory=dict)  # reason: how often, where first
    _file: IO[bytes] | None = None
    _size: int = 1

    def __iter__(self) -> Iterator[can.Message]:
        self._bad = {}
        with self.path.open("rb") as file:
            self._file, self._size = file, max(self.path.stat().st_size, 1)
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")) if self.compressed else file
            try:
                if self._is_text:
                    with _Lines(stream, self._note) as lines:
                        yield from self._parsed(lines) if self.parse else self._read_text(lines)
                else:
                    yield from self._read_binary(stream)
            finally:
                self._file = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """One line for each reason why something of the last reading was left out."""
        lines = []
        for reason, (count, where) in self._bad.items():
            more = f" (and {count - 1} more like it)" if count > 1 else ""
            lines.append(f"{self.path.name}{where}: {reason}{more}")
        return tuple(lines)

    @property
    def share_read(self) -> float:
        """How much of the file the running iteration has read, 0 to 1."""
        return min(self._file.tell() / self._size, 1.0) if self._file and not self._file.closed else 1.0

    @property
    def _is_text(self) -> bool:
        return self.parse is not None or issubclass(MESSAGE_READERS[self.format], TextIOMessageReader)

    def _note(self, reason: str, where: str = "") -> None:
        count, first = self._bad.get(reason, (0, where))
        self._bad[reason] = (count + 1, first)

    def _parsed(self, lines: _Lines) -> Iterator[can.Message]:
        assert self.parse is not None
        for line in lines:
            message = self.parse(line)
            if message is not None and _possible(message):
                yield message
            elif line.strip() and lines.number > 1:  # the first may be a header
                self._note("left out, not a frame", lines.where)

    def _read_text(self, lines: _Lines) -> Iterator[can.Message]:
        reader: Any = MESSAGE_READERS[self.format](cast("Any", lines))
        lengths: dict[int, int] = {}
        with _Listening(lambda: self._note("left out, not a frame", lines.where)):
            while not lines.ended:
                begun_at = lines.number
                try:
                    for message in reader:
                        if self._sound(message, lines, lengths):
                            lengths[message.arbitration_id] = len(message.data)
                            yield message
                except _REFUSED:
                    # A generator that raised is over: a new one goes on behind the bad line. It may take its first
                    # line for a header, so it gets an empty one; if it refuses even that, the line after it is bad.
                    if lines.number > begun_at:
                        self._note("left out, not a frame", lines.where)
                        lines.push_back("\n")

    def _sound(self, message: can.Message, lines: _Lines, lengths: dict[int, int]) -> bool:
        """Whether the message is what its line says, as far as one can tell."""
        carries = not (message.is_error_frame or message.is_remote_frame)
        if carries and not message.is_fd and message.dlc > len(message.data) == _CLASSIC_BYTES:
            message.dlc = _CLASSIC_BYTES  # ISO 11898-1: in classic CAN the codes 9 to 15 mean 8 bytes
        if not _possible(message) or (carries and len(message.data) != message.dlc):
            self._note("left out, not a frame", lines.where)
            return False
        # A line that has no end may have lost its end: then it is shorter than the frames before it.
        if (
            lines.cut
            and carries
            and len(message.data) != lengths.get(message.arbitration_id, len(message.data))
        ):
            self._note("left out, the file ends in the middle of this line", lines.where)
            return False
        return True

    def _read_binary(self, stream: IO[bytes]) -> Iterator[can.Message]:
        count = 0
        try:
            # SQLite opens its files by name; everything else reads what is open already
            source: Any = str(self.path) if self.format == ".db" else stream
            with MESSAGE_READERS[self.format](source) as reader:
                for message in reader:
                    count += 1
                    if _possible(message):
                        yield message
                    else:
                        self._note("left out, not a frame", f" frame {count}")
        except Exception as error:  # noqa: BLE001  readers raise whatever their libraries raise
            used = (
                "what came before is used" if count else "it is damaged or cut, and nothing of it can be used"
            )
            self._note(f"reading stopped after {count} frames ({_one_line(error)}): {used}")
            _discard(error)


class _Lines:
    """The lines of a text as python-can's readers want them: a text file that survives bad bytes and early ends."""

    def __init__(self, stream: IO[bytes], note: Callable[..., None]) -> None:
        self._text = io.TextIOWrapper(cast("Any", stream), encoding="utf-8", errors="replace", newline="\n")
        self._note = note
        self._pushed: list[str] = []
        self.number = 0
        self.cut = False  # the last line given had no end
        self.ended = False
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._pushed:
            return self._pushed.pop()
        try:
            line = self._text.readline(_LINE_CHARACTERS_MAX)
        except _ENDS_EARLY:
            self._note("the compressed file ends early; what came before is used", f" line {self.number + 1}")
            line = ""
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        self.cut = not line.endswith("\n")
        self._last = line
        return line

    @property
    def where(self) -> str:
        """The last line given, for a message."""
        quote = " ".join(self._last.split())
        return f" line {self.number} ({quote[:_QUOTE_CHARACTERS]}{'...' if len(quote) > _QUOTE_CHARACTERS else ''})"

    def push_back(self, line: str) -> None:
        self._pushed.append(line)

    # What else python-can's readers call
    def read(self, _size: int = -1) -> str:
        raise io.UnsupportedOperation("lines only")

    def close(self) -> None:
        """python-can's readers close at their end; the log may have more lines for another one."""


class _Listening(logging.Handler):
    """Hears what python-can's readers warn of, in this thread: a line that they leave out without another word."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        logging.getLogger("can").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("can").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and "Failed to parse" in str(record.msg):
            self._heard()


def _possible(message: can.Message) -> bool:
    """Whether it can be a frame at all: SQLite files hold anything in any column."""
    return (
        isinstance(message.timestamp, int | float)
        and abs(message.timestamp) <= TIME_S_MAX
        and isinstance(message.arbitration_id, int)
        and 0 <= message.arbitration_id <= IDENTIFIER_MAX
        and len(message.data) <= FD_BYTES
    )


def open_log(path: str | Path) -> Log:
    """Find out what the file is. Raises LogError: unreadable, empty, or of no format that is known."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(_SAMPLE_BYTES)
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not head:
        raise LogError(f"{path}: is empty; there is nothing to play")
    compressed = head.startswith(b"\x1f\x8b")
    if compressed:
        head = _first_bytes(path)
    for magic, suffix in _MAGIC:
        if head.startswith(magic):
            return Log(path, suffix, compressed)
    kind = sniff(head.decode("utf-8", errors="replace"))
    if kind is not None:
        return Log(path, kind[0], compressed, kind[1])
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    # python-can's readers know variants that no sign above tells; every candump line is told
    if suffixes and suffixes[-1] in MESSAGE_READERS and suffixes[-1] != ".log":
        return Log(path, suffixes[-1], compressed)
    known = ", ".join(sorted(MESSAGE_READERS))
    raise LogError(
        f"{path}: no frame found in its first {_SAMPLE_BYTES >> 10} KB; give a log that python-can reads ({known})"
    )


def _first_bytes(path: Path) -> bytes:
    """The beginning of a compressed file, as far as it can be had."""
    parts = b""
    try:
        with gzip.open(path, "rb") as file:
            while len(parts) < _SAMPLE_BYTES and (more := file.read1(4096)):
                parts += more
    except (*_ENDS_EARLY, OSError):
        if not parts:
            raise LogError(f"{path}: is damaged: it starts as a gzip file and cannot be unpacked") from None
    return parts


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:160]


def _discard(error: Exception) -> None:
    """Let go of what a failed reader left behind. The destructor of a half-made asammdf file fails, and would print."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        traceback.clear_frames(error.__traceback__)
        gc.collect()
    finally:
        sys.unraisablehook = hook
