"""Text formats that loggers write and python-can does not read: one pure function from a line to a frame each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import can

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTIFIER_MAX = 0x1FFFFFFF
STANDARD_MAX = 0x7FF

# candump for people, and what battery emulators print: (12.34) can0 123 [2] 01 02
_BRACKETS = re.compile(r"\((-?\d+\.\d+)\)\s+(\S+)\s+([0-9A-Fa-f]{1,8})\s+\[(\d+)\]((?:\s+[0-9A-Fa-f]{2})*)")
# SavvyCAN's CSV: microseconds,ID,extended,Rx,bus,length,D1,D2 ...
_SAVVY_HEADER = re.compile(r"Time Stamp,ID,Extended,(Dir,)?Bus,LEN", re.IGNORECASE)
# Loggers on race cars: milliseconds, x, identifier and data, all hexadecimal
_HEXADECIMAL = re.compile(r"([0-9A-Fa-f]{8})x([0-9A-Fa-f]{8})((?:[0-9A-Fa-f]{2}){0,8})")
_RECEIVED_ON = re.compile(r"[RT]X(\d+)")


def brackets(line: str) -> can.Message | None:
    """One line of `candump` without -L, or None if it is none."""
    found = _BRACKETS.fullmatch(line.strip())
    if not found:
        return None
    seconds, channel, identifier, length, data = found.groups()
    content = bytes.fromhex(data)
    port = _RECEIVED_ON.fullmatch(channel)
    if len(content) != int(length):
        return None
    return _message(
        float(seconds), identifier, len(identifier) > 3, content, port.group(1) if port else channel
    )


def savvy(line: str) -> can.Message | None:
    """One row of SavvyCAN's CSV, or None if it is none (as its header)."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) < 6 or not fields[0].lstrip("-").isdigit():
        return None
    if fields[3].lower() not in ("rx", "tx"):
        fields.insert(3, "Rx")  # older files have no direction
    try:
        length = int(fields[5])
        content = bytes(int(field, 16) for field in fields[6 : 6 + length])
        if len(content) != length:
            return None
        return _message(
            int(fields[0]) / 1e6, fields[1], fields[2].lower() in ("true", "1"), content, fields[4]
        )
    except (ValueError, IndexError):
        return None


def hexadecimal(line: str) -> can.Message | None:
    """One line of milliseconds, identifier and data in hexadecimal digits, or None if it is none."""
    found = _HEXADECIMAL.fullmatch(line.strip())
    if not found:
        return None
    millis, identifier, data = found.groups()
    return _message(int(millis, 16) / 1000, identifier, True, bytes.fromhex(data), "0")


def _message(
    seconds: float, identifier: str, extended: bool, content: bytes, channel: str
) -> can.Message | None:
    number = int(identifier, 16)
    if number > IDENTIFIER_MAX or len(content) > 64:
        return None
    return can.Message(
        timestamp=seconds,
        arbitration_id=number,
        is_extended_id=extended or number > STANDARD_MAX,
        is_fd=len(content) > 8,
        data=content,
        channel=channel,
    )


def sniff(sample: str) -> tuple[str, Callable[[str], can.Message | None] | None] | None:
    """What the beginning of a text is: (python-can's suffix, None), or (name, function for a line), or None."""
    for line in sample.splitlines():
        for pattern, kind in _SIGNS:
            if pattern.match(line):
                return kind
    return None


_SIGNS: tuple[tuple[re.Pattern[str], tuple[str, Callable[[str], can.Message | None] | None]], ...] = (
    (re.compile(r"\(-?\d+(\.\d+)?\)\s+\S+\s+[0-9A-Fa-f]{1,8}#"), (".log", None)),
    (_SAVVY_HEADER, ("SavvyCAN CSV", savvy)),
    (re.compile(r"timestamp,arbitration_id,", re.IGNORECASE), (".csv", None)),
    (re.compile(r";\$(FILEVERSION|STARTTIME)|\s*\d+\)\s+\d+"), (".trc", None)),
    (
        re.compile(r"date\s+\w{3}\s|base\s+(hex|dec)\s|\s*\d+\.\d+\s+(\d+\s+[0-9A-Fa-f]+x?|CANFD)\s"),
        (".asc", None),
    ),
    (_BRACKETS, ("candump with brackets", brackets)),
    (_HEXADECIMAL, ("hexadecimal lines", hexadecimal)),
)
