"""DBC text as it is in the world, repaired into text that follows the grammar.

Rules
- Only what decoding needs is read: messages, signals, value tables, float types, multiplexing, cycle times, frame
  formats, long names and comments. Everything else may be as broken as it likes.
- What refers to a message or signal that is not there is left out.
- Whatever is left out or repaired is said, with its line.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, TypeAlias

from decoder import dbc_references as references
from decoder.dbc_draft import Draft, DraftMessage, DraftSignal, excerpt, plain_string, unique, word
from decoder.dbc_statements import STRING, Statement, statements
from decoder.frames import EXTENDED, FD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STANDARD_ID_MAX = 0x7FF
EXTENDED_ID_MAX = 0x1FFFFFFF
J1939_BYTES = 1785  # the longest message of J1939, in several frames; every other is one frame
SIGNALS_MAX = 2048  # of one message; cantools takes time by their square
MUX_DIGITS_MAX = 18  # of a multiplexor's value, which fits into an int64
_NUMBER = references.NUMBER
_MESSAGE = re.compile(r"BO_\s+(\d{1,10})\s+([^\s:]+)\s*:\s*(\d{1,20})(?!\d)")
_SIGNAL = re.compile(
    r"SG_\s+([^\s:]+)(?:\s+(M|m\d*M?))?\s*:\s*(\d{1,9})\s*\|\s*(\d{1,9})\s*@\s*([01])\s*([-+])\s*"
    rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)(?:\s*\[\s*{_NUMBER}\s*\|\s*{_NUMBER}\s*\])?(?:\s*{STRING})?"
)
_Readers: TypeAlias = "Mapping[str, Callable[[Statement, Draft], list[str]]]"


def repair(text: str) -> tuple[str, list[str]]:
    """A DBC that follows the grammar, and a warning for each thing repaired or left out ("line 7: ...")."""
    draft = Draft()
    found = list(statements(text, draft.warn))
    _read_messages(found, draft)
    references.read_long_names(found, draft)
    tail = _read_references(found, {"SG_MUL_VAL_": references.read_mux}, draft)
    _check_multiplexing(draft)
    readers: _Readers = {
        "VAL_": references.read_choices,
        "SIG_VALTYPE_": references.read_float,
        "CM_": references.read_comment,
    }
    tail += _read_references(found, readers, draft)
    references.read_attributes(found, draft)
    return draft.written(tail), draft.warnings


def _read_references(found: Sequence[Statement], readers: _Readers, draft: Draft) -> list[str]:
    """What refers to messages and signals, as lines that follow the grammar."""
    lines: list[str] = []
    for statement in found:
        reader = readers.get(statement.keyword)
        if reader is not None:
            lines += reader(statement, draft)
    return lines


def _read_messages(found: Sequence[Statement], draft: Draft) -> None:
    message: DraftMessage | None = None
    for statement in found:
        if statement.keyword == "BO_":
            message = _read_message(statement, draft)
        elif statement.keyword == "SG_" and message is not None:
            _read_signal(statement, message, draft)
    names: set[str] = set()
    for message in draft.messages.values():
        name = unique(message.name, names)
        if name != message.name:
            frame_id = message.frame_id & ~EXTENDED
            draft.warnings.append(f"message {message.name} stands twice; 0x{frame_id:X} is called {name}")
            message.name = name
        names.add(name)


def _read_message(statement: Statement, draft: Draft) -> DraftMessage | None:
    match = _MESSAGE.match(statement.text)
    if match is None:
        draft.warn(statement.line, f"not a message, left out with its signals: {excerpt(statement.text)}")
        return None
    number, name = int(match[1]), match[2]
    draft.left_out.add(number)  # until it is taken
    if name == "VECTOR__INDEPENDENT_SIG_MSG":  # where editors keep signals that belong to no message
        return None
    frame_id = number
    if number & EXTENDED and number & ~EXTENDED <= EXTENDED_ID_MAX:
        pass
    elif STANDARD_ID_MAX < number <= EXTENDED_ID_MAX:
        frame_id |= EXTENDED
        draft.warn(
            statement.line, f"message {name}: bit 31 is missing in its 29-bit ID 0x{number:X}; taken as set"
        )
    elif number > STANDARD_ID_MAX:
        draft.warn(statement.line, f"message {name} left out: {number} is no 11-bit or 29-bit ID")
        return None
    if frame_id in draft.messages:
        first = draft.messages[frame_id].name
        draft.warn(
            statement.line,
            f"message {name} left out: its ID 0x{frame_id & ~EXTENDED:X} belongs to {first} already",
        )
        return None
    if word(name) != name:
        draft.warn(statement.line, f"message {name} is no name; called {word(name)}")
    length = int(match[3])
    if length > (J1939_BYTES if frame_id & EXTENDED else FD_BYTES):
        draft.warn(
            statement.line,
            f"message {name}: {length} bytes are more than any message has; taken as {FD_BYTES}",
        )
    draft.left_out.discard(number)
    # Of a message that takes several frames only what the first one carries is of use.
    draft.messages[frame_id] = DraftMessage(frame_id, word(name), min(length, FD_BYTES))
    return draft.messages[frame_id]


def _read_signal(statement: Statement, message: DraftMessage, draft: Draft) -> None:
    match = _SIGNAL.match(statement.text)
    if match is None:
        draft.warn(statement.line, f"not a signal, left out of {message.name}: {excerpt(statement.text)}")
        return
    label, start, length = f"signal {message.name}.{match[1]}", int(match[3]), int(match[4])
    end = (start // 8 * 8 + 7 - start % 8 if match[5] == "0" else start) + length
    given = [match[index] or "0" for index in (7, 8, 9, 10)]
    why = ""
    if length == 0:
        why = "it has no bits"
    elif end > FD_BYTES * 8:
        why = f"it lies beyond the {FD_BYTES} bytes of a frame"
    elif len((match[2] or "").strip("mM")) > MUX_DIGITS_MAX:
        why = "no multiplexor has its value"
    elif not (isfinite(float(given[0])) and isfinite(float(given[1]))):
        why = "its factor or offset is larger than any number"
    elif len(message.signals) >= SIGNALS_MAX:
        why = f"its message has {SIGNALS_MAX} signals already"
    if why:
        draft.warn(statement.line, f"{label} left out: {why}")
        return
    if not (isfinite(float(given[2])) and isfinite(float(given[3]))):
        draft.warn(statement.line, f"{label}: its range is larger than any number; taken as none")
        given[2:] = "0", "0"
    # cantools wants a digit before the point.
    factor, offset, low, high = (re.sub(r"^([-+]?)\.", r"\g<1>0.", number) for number in given)
    if [factor, offset, low, high] != given:
        draft.warn(statement.line, f"{label}: a number without a digit before its point; read as 0.x")
    if float(factor) == 0:
        draft.warn(statement.line, f"{label}: its factor is 0; taken as 1")
        factor = "1"
    if word(match[1]) != match[1]:
        draft.warn(statement.line, f"{label} is no name; called {word(match[1])}")
    name = unique(word(match[1]), {signal.name for signal in message.signals})
    if name != word(match[1]):
        draft.warn(statement.line, f"{label} stands twice; this one is called {name}")
    rest = f'@{match[5]}{match[6]} ({factor},{offset}) [{low}|{high}] "{plain_string(match[11] or "")}"'
    message.aliases[match[1]].append(name)
    message.signals.append(DraftSignal(name, match[2] or "", start, length, rest))


def _check_multiplexing(draft: Draft) -> None:
    """A multiplexed signal whose value is not given is the multiplexor itself, if there is no other, or is left out."""
    for message in draft.messages.values():
        marks = {signal.mux for signal in message.signals} - {""}
        for signal in [signal for signal in message.signals if signal.mux in ("m", "mM")]:
            label = f"signal {message.name}.{signal.name}"
            if len(marks) > 1 and not any(mark.endswith("M") for mark in marks):
                signal.mux = "M"
                marks.add("M")
                draft.warnings.append(f"{label}: taken as the multiplexor of its message (M, not m)")
            else:
                draft.warnings.append(f"{label} left out: its multiplexor value is not given")
                message.drop(signal.name)
        if marks and not any(mark.endswith("M") for mark in marks):
            draft.warnings.append(
                f"message {message.name} has multiplexed signals and no multiplexor; every frame is taken to carry all"
            )
