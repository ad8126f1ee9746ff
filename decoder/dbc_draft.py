"""What has been read of a DBC so far: messages, signals, warnings; and how it is written down again, by the grammar."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from decoder.dbc_statements import KEYWORDS
from decoder.frames import EXTENDED

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from decoder.dbc_statements import Statement

FRAME_FORMATS = (
    "StandardCAN",
    "ExtendedCAN",
    "reserved",
    "J1939PG",
    *["reserved"] * 10,
    "StandardCAN_FD",
    "ExtendedCAN_FD",
)
_EXCERPT_MAX = 60


@dataclass(slots=True)
class DraftSignal:
    """One signal; `rest` is its line from the byte order to the unit."""

    name: str
    mux: str  # "", "M", "m3" or "m3M"; until it is checked also "m" and "mM"
    start: int
    length: int
    rest: str


@dataclass(slots=True)
class DraftMessage:
    """One message. `aliases` are the names here of a signal's name in the file: several where it stands twice."""

    frame_id: int  # bit 31 for 29 bits
    name: str
    length: int
    signals: list[DraftSignal] = field(default_factory=list)
    aliases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cycle_ms: int = 0
    frame_format: str = ""

    def signal(self, name: str) -> DraftSignal:
        return next(signal for signal in self.signals if signal.name == name)

    def drop(self, name: str) -> None:
        self.signals = [signal for signal in self.signals if signal.name != name]
        for names in self.aliases.values():
            names[:] = [kept for kept in names if kept != name]


@dataclass(slots=True)
class Draft:
    """Messages by their ID. `left_out` are IDs as the file has them: what refers to them goes without a word."""

    messages: dict[int, DraftMessage] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)

    def warn(self, line: int, text: str) -> None:
        self.warnings.append(f"line {line}: {text}")

    def message(self, number: int) -> DraftMessage | None:
        """By the ID as the file has it, which may lack its bit 31."""
        return self.messages.get(number) or self.messages.get(number | EXTENDED)

    def referred(self, statement: Statement, number: int, name: str) -> tuple[DraftMessage, list[str]] | None:
        """Message and signals that a statement refers to; None, with a warning, if they are not there."""
        message = self.message(number)
        names = message.aliases.get(name, []) if message else []
        if message and names:
            return message, names
        if number not in self.left_out:
            missing = f"{message.name} has no signal {name}" if message else f"there is no message {number}"
            self.warn(statement.line, f"{statement.keyword} left out: {missing}")
        return None

    def written(self, tail: Sequence[str]) -> str:
        """The DBC, with the lines of `tail` at its end."""
        formats = ",".join(f'"{name}"' for name in FRAME_FORMATS)
        lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: Vector__XXX"]
        attributes = [
            'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 3600000;',
            f'BA_DEF_ BO_ "VFrameFormat" ENUM {formats};',
            'BA_DEF_DEF_ "GenMsgCycleTime" 0;',
            'BA_DEF_DEF_ "VFrameFormat" "StandardCAN";',
        ]
        for message in self.messages.values():
            lines.append(f"BO_ {message.frame_id} {message.name}: {message.length} Vector__XXX")
            lines += [
                f" SG_ {signal.name} {signal.mux} : {signal.start}|{signal.length}{signal.rest} Vector__XXX"
                for signal in message.signals
            ]
            if message.cycle_ms:
                attributes.append(f'BA_ "GenMsgCycleTime" BO_ {message.frame_id} {message.cycle_ms};')
            if message.frame_format in FRAME_FORMATS and message.frame_format != "reserved":
                index = FRAME_FORMATS.index(message.frame_format)
                attributes.append(f'BA_ "VFrameFormat" BO_ {message.frame_id} {index};')
        return "\n".join([*lines, *attributes, *tail, ""])


def word(name: str) -> str:
    """A name that the grammar takes."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if plain[0].isdigit():
        plain = f"_{plain}"
    return f"{plain}_" if plain in KEYWORDS else plain


def unique(name: str, taken: Container[str]) -> str:
    """The name, or with the first number at its end that makes it one that is not taken."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def plain_string(text: str) -> str:
    """A string without what would end or escape it."""
    return text.replace('\\"', "'").replace("\\", "/")


def excerpt(text: str) -> str:
    """A statement's beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT_MAX else f"{line[: _EXCERPT_MAX - 3]}..."
