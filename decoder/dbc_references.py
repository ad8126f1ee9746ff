"""What a DBC says about its messages and signals further down: value tables, float types, multiplexing, attributes.

Readers take a statement and the draft, and give back lines that follow the grammar.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from decoder.dbc_draft import FRAME_FORMATS, Draft, excerpt, plain_string, unique, word
from decoder.dbc_statements import STRING, Statement
from decoder.frames import EXTENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

# Possessive: a number of a million digits is read once, not tried at every length.
NUMBER = r"([-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?)"
MUX_VALUES_MAX = 4096  # of one multiplexed signal; cantools holds a table for each
CYCLE_MS_MAX = 3_600_000
INT64_END = 1 << 63
_ID = r"(\d{1,10})"
_CHOICES = re.compile(rf"VAL_\s+{_ID}\s+([^\s;]+)\s")
_CHOICE = re.compile(rf"(?<!\d){NUMBER}\s*{STRING}")
_FLOAT = re.compile(rf"SIG_VALTYPE_\s+{_ID}\s+([^\s:;]+)\s*:?\s*(\d+)")
_MUX = re.compile(rf"SG_MUL_VAL_\s+{_ID}\s+(\S+)\s+(\S+)\s+(.*)", re.DOTALL)
_MUX_RANGE = re.compile(r"\b(\d{1,20})\s*-\s*(\d{1,20})\b")
_DEFINITION = re.compile(rf"BA_DEF_\s+(?:\w+_\s+)?{STRING}\s*\w+\s*(.*)", re.DOTALL)
_DEFAULT = re.compile(rf"BA_DEF_DEF_\s+{STRING}\s*(?:{STRING}|{NUMBER})")
_ATTRIBUTE = re.compile(
    rf"BA_\s+{STRING}\s*(?:(BO_|SG_)\s+{_ID}\s+(?:([^\s\"]+)\s+)?)?(?:{STRING}|{NUMBER})\s*;?\s*$"
)
_COMMENT = re.compile(rf"CM_\s+(?:(BO_|SG_)\s+{_ID}\s+(?:([^\s\"]+)\s+)?)?{STRING}", re.DOTALL)
_OTHER_COMMENT = re.compile(r'CM_\s+(?:"|BU_|EV_)')


def read_choices(statement: Statement, draft: Draft) -> list[str]:
    match = _CHOICES.match(statement.text)
    if match is None:
        return []  # of an environment variable, or empty
    referred = draft.referred(statement, int(match[1]), match[2])
    if referred is None:
        return []
    message, names = referred
    rest = statement.text[match.end() :]
    found = [(_whole(number), number, plain_string(label)) for number, label in _CHOICE.findall(rest)]
    pairs = [(count, label) for count, _, label in found if count is not None]
    unread = _CHOICE.sub("", rest).strip(" ;\r\n\t") or " ".join(
        f'{number} "{label}"' for count, number, label in found if count is None
    )
    if unread:
        draft.warn(statement.line, f"value table of {match[2]}, not read: {excerpt(unread)}")
    table = " ".join(f'{number} "{label}"' for number, label in pairs)
    return [f"VAL_ {message.frame_id} {name} {table} ;" for name in names] if table else []


def _whole(number: str) -> int | None:
    """A raw value of at most 64 bits; None for what is none."""
    digits = number.lstrip("+-")
    if digits.isdigit() and len(digits) < 20:
        return int(number)
    near = float(number)
    return int(near) if -INT64_END <= near < 2 * INT64_END else None


def read_float(statement: Statement, draft: Draft) -> list[str]:
    match = _FLOAT.match(statement.text)
    if match is None:
        draft.warn(statement.line, f"left out: {excerpt(statement.text)}")
        return []
    referred = draft.referred(statement, int(match[1]), match[2])
    if referred is None or match[3] not in ("1", "2"):
        return []  # 0 is an integer, which is what signals are
    message, names = referred
    lines = []
    for name in names:
        length = message.signal(name).length
        if length in (16, 32, 64):
            lines.append(f"SIG_VALTYPE_ {message.frame_id} {name} : {match[3]};")
        else:
            draft.warn(
                statement.line, f"signal {name} cannot be a float of {length} bits; taken as an integer"
            )
    return lines


def read_mux(statement: Statement, draft: Draft) -> list[str]:
    match = _MUX.match(statement.text)
    if match is None or not _MUX_RANGE.search(match[4]):
        draft.warn(statement.line, f"left out: {excerpt(statement.text)}")
        return []
    referred = draft.referred(statement, int(match[1]), match[2])
    switch = draft.referred(statement, int(match[1]), match[3]) if referred else None
    if referred is None or switch is None:
        return []
    message, names = referred
    multiplexor = message.signal(switch[1][0])
    value_max = (1 << multiplexor.length) - 1
    given = [(int(low), int(high)) for low, high in _MUX_RANGE.findall(match[4])]
    ranges = [(low, min(high, value_max)) for low, high in given if low <= value_max]
    if sum(high - low + 1 for low, high in ranges) > MUX_VALUES_MAX or not ranges:
        why = (
            f"more than {MUX_VALUES_MAX} multiplexor values"
            if ranges
            else "no value that its multiplexor can have"
        )
        draft.warn(statement.line, f"signal {match[2]} left out: {why}")
        for name in list(names):
            message.drop(name)
        return []
    for name in names:
        signal = message.signal(name)
        if signal.mux in ("m", "mM"):
            signal.mux = f"m{ranges[0][0]}{signal.mux[1:]}"
    listed = ", ".join(f"{low}-{high}" for low, high in ranges)
    return [f"SG_MUL_VAL_ {message.frame_id} {name} {multiplexor.name} {listed};" for name in names]


def read_comment(statement: Statement, draft: Draft) -> list[str]:
    match = _COMMENT.match(statement.text)
    if match is None or (match[1] == "SG_" and match[3] is None):
        if not _OTHER_COMMENT.match(statement.text):
            draft.warn(statement.line, f"comment on nothing, left out: {excerpt(statement.text)}")
        return []
    message = draft.message(int(match[2])) if match[1] else None
    if message is None:
        return []
    content = plain_string(match[4])
    if match[1] == "BO_":
        return [f'CM_ BO_ {message.frame_id} "{content}";']
    return [f'CM_ SG_ {message.frame_id} {name} "{content}";' for name in message.aliases.get(match[3], [])]


def read_long_names(found: Sequence[Statement], draft: Draft) -> None:
    """Names longer than 32 characters, which the format keeps in an attribute."""
    for statement in found:
        match = _ATTRIBUTE.match(statement.text) if statement.keyword == "BA_" else None
        if match is None or match[1] not in ("SystemSignalLongSymbol", "SystemMessageLongSymbol"):
            continue
        message = draft.message(int(match[3] or -1))
        if message is None or not match[5]:
            continue
        long_name = word(match[5])
        if match[2] == "BO_":
            others = {other.name for other in draft.messages.values() if other is not message}
            message.name = unique(long_name, others)
            continue
        names = message.aliases.get(match[4] or "", [])
        for index, short in enumerate(names):
            names[index] = unique(
                long_name, {signal.name for signal in message.signals if signal.name != short}
            )
            message.signal(short).name = names[index]


def read_attributes(found: Sequence[Statement], draft: Draft) -> None:
    """Cycle times and frame formats, with the defaults of the file."""
    formats = list(FRAME_FORMATS)
    defaults = {"GenMsgCycleTime": "0", "VFrameFormat": "", "ProtocolType": ""}
    given: dict[str, dict[int, str]] = {"GenMsgCycleTime": {}, "VFrameFormat": {}}
    for statement in found:
        if statement.keyword == "BA_DEF_":
            match = _DEFINITION.match(statement.text)
            if match and match[1] == "VFrameFormat":
                formats = re.findall(STRING, match[2]) or formats
        elif statement.keyword == "BA_DEF_DEF_":
            match = _DEFAULT.match(statement.text)
            if match and match[1] in defaults:
                defaults[match[1]] = match[2] or match[3] or defaults[match[1]]
        elif statement.keyword == "BA_" and (match := _ATTRIBUTE.match(statement.text)):
            message = draft.message(int(match[3])) if match[2] == "BO_" else None
            if message and match[1] in given:
                given[match[1]][message.frame_id] = match[5] or match[6] or ""
            elif match[1] == "ProtocolType" and match[2] is None:
                defaults["ProtocolType"] = match[5] or ""
    for frame_id, message in draft.messages.items():
        cycle = given["GenMsgCycleTime"].get(frame_id, defaults["GenMsgCycleTime"])
        given_ms = float(cycle) if re.fullmatch(NUMBER, cycle) else 0.0
        message.cycle_ms = round(min(CYCLE_MS_MAX, max(0.0, given_ms)))
        name = given["VFrameFormat"].get(frame_id, defaults["VFrameFormat"])
        if re.fullmatch(r"[0-9]{1,4}", name):
            name = formats[int(name)] if int(name) < len(formats) else ""
        if not name and frame_id & EXTENDED and defaults["ProtocolType"].upper() == "J1939":
            name = "J1939PG"
        message.frame_format = name
