"""DBC text as it is in the world, repaired into text that follows the grammar.

Rules
- Only what decoding needs is read: messages, signals, value tables, float types, multiplexing, cycle times, frame
  formats, long names and comments. Everything else may be as broken as it likes.
- A statement begins with its keyword at the start of a line or after a semicolon. So a missing semicolon, a quote that
  was never closed or a line of nonsense costs one statement, never the file.
- What refers to a message or signal that is not there is left out; what is left out or repaired is said, with its line.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

EXTENDED = 1 << 31
STANDARD_ID_MAX = 0x7FF
EXTENDED_ID_MAX = 0x1FFFFFFF
DATA_BITS_MAX = 64 * 8
MUX_VALUES_MAX = 4096  # values of one multiplexed signal; cantools holds a table for each

_KEYWORDS = (
    "BA_DEF_DEF_REL_ BA_DEF_DEF_ BA_DEF_REL_ BA_DEF_SGTYPE_ BA_DEF_ BA_REL_ BA_SGTYPE_ BA_ BO_TX_BU_ BO_ BS_ BU_BO_REL_ "
    "BU_EV_REL_ BU_SG_REL_ BU_ CAT_DEF_ CAT_ CM_ ENVVAR_DATA_ EV_DATA_ EV_ FILTER NS_DESC_ NS_ SGTYPE_VAL_ SGTYPE_ "
    "SG_MUL_VAL_ SG_ SIGTYPE_VALTYPE_ SIG_GROUP_ SIG_TYPE_REF_ SIG_VALTYPE_ VAL_TABLE_ VAL_ VERSION"
).split()
_START = re.compile(rf"\s*({'|'.join(_KEYWORDS)})(?=[\s:\";]|$)")
# Beyond doubt a statement, though a string seems to be open: somebody forgot a quote.
_SURE_START = re.compile(r'\s*(BO_\s+\d+\s+\w+\s*:|SG_\s+\S+.*:\s*\d+\|\d+@|CM_\s+[SB][GO]_\s+\d+|VAL_\s+\d+\s+\w+\s+-?\d+\s+")')
_STRING = r'"((?:\\"|[^"])*)"'
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_MESSAGE = re.compile(r"BO_\s+(\d+)\s+([^\s:]+)\s*:\s*(\d+)")
_SIGNAL = re.compile(
    r"SG_\s+([^\s:]+)(?:\s+(M|m\d*M?))?\s*:\s*(\d+)\s*\|\s*(\d+)\s*@\s*([01])\s*([-+])\s*"
    rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)(?:\s*\[\s*{_NUMBER}\s*\|\s*{_NUMBER}\s*\])?(?:\s*{_STRING})?"
)
_CHOICES = re.compile(r"VAL_\s+(\d+)\s+([^\s;]+)\s")
_CHOICE = re.compile(rf"{_NUMBER}\s*{_STRING}")
_FLOAT = re.compile(r"SIG_VALTYPE_\s+(\d+)\s+([^\s:;]+)\s*:?\s*(\d+)")
_MUX = re.compile(r"SG_MUL_VAL_\s+(\d+)\s+(\S+)\s+(\S+)\s+(.*)", re.DOTALL)
_MUX_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
_DEFINITION = re.compile(rf"BA_DEF_\s+(?:\w+_\s+)?{_STRING}\s*\w+\s*(.*)", re.DOTALL)
_DEFAULT = re.compile(rf"BA_DEF_DEF_\s+{_STRING}\s*(?:{_STRING}|{_NUMBER})")
_ATTRIBUTE = re.compile(rf"BA_\s+{_STRING}\s*(?:(BO_|SG_)\s+(\d+)\s+(?:([^\s\"]+)\s+)?)?(?:{_STRING}|{_NUMBER})\s*;?\s*$")
_COMMENT = re.compile(rf"CM_\s+(?:(BO_|SG_)\s+(\d+)\s+(?:([^\s\"]+)\s+)?)?{_STRING}", re.DOTALL)
_OTHER_COMMENT = re.compile(r'CM_\s+(?:"|BU_|EV_)')
_FRAME_FORMATS = ("StandardCAN", "ExtendedCAN", "reserved", "J1939PG", *["reserved"] * 10, "StandardCAN_FD", "ExtendedCAN_FD")


@dataclass(slots=True)
class _Signal:
    name: str
    mux: str  # "", "M", "m3" or "m3M"
    start: int
    length: int
    rest: str  # from the byte order to the unit, as cantools wants it


@dataclass(slots=True)
class _Message:
    frame_id: int
    name: str
    length: int
    signals: list[_Signal] = field(default_factory=list)
    aliases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # name in the file -> names here
    cycle_ms: int = 0
    frame_format: str = ""


@dataclass(frozen=True, slots=True)
class _Statement:
    line: int
    keyword: str
    text: str


@dataclass(slots=True)
class _Reading:
    messages: dict[int, _Message] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    left_out_ids: set[int] = field(default_factory=set)

    def warn(self, line: int, text: str) -> None:
        self.warnings.append(f"line {line}: {text}")


_Readers: TypeAlias = "Mapping[str, Callable[[_Statement, _Reading], list[str]]]"


def repair(text: str) -> tuple[str, list[str]]:
    """A DBC that follows the grammar, and a warning for each thing repaired or left out ("line 7: ...")."""
    reading = _Reading()
    statements = list(_statements(text, reading))
    _read_messages(statements, reading)
    _read_long_names(statements, reading)
    tail = _read_references(statements, {"SG_MUL_VAL_": _read_mux}, reading)
    _check_multiplexing(reading)
    others = {"VAL_": _read_choices, "SIG_VALTYPE_": _read_float, "CM_": _read_comment}
    tail += _read_references(statements, others, reading)
    _read_attributes(statements, reading)
    return _write(reading, tail), reading.warnings


def _statements(text: str, reading: _Reading) -> Iterator[_Statement]:
    """Cut the text where statements begin."""
    collected: list[str] = []
    first_line, keyword, string_is_open = 0, "", False
    for number, line in enumerate(text.splitlines(), 1):
        start = _START.match(line)
        if start and string_is_open:
            if not _SURE_START.match(line):
                start = None
            else:
                reading.warn(first_line, f"a quote of this {keyword} is never closed; closed it at the end of line {number - 1}")
                collected.append('"')
        if start:
            yield from _split(first_line, keyword, "\n".join(collected))
            collected, first_line, keyword, string_is_open = [], number, start.group(1), False
        collected.append(line)
        string_is_open ^= (line.count('"') - line.count('\\"')) % 2 == 1
    yield from _split(first_line, keyword, "\n".join(collected))


def _split(line: int, keyword: str, text: str) -> Iterator[_Statement]:
    """One statement as a rule; more where several stand on one line."""
    if not keyword or len(text.strip()) <= len(keyword):
        return  # what stands before the first keyword, and the list below NS_
    begin = 0
    for piece in re.finditer(rf'{_STRING}|;(?=\s*(?:{"|".join(_KEYWORDS)})\s)', text):
        if piece.group().startswith('"'):
            continue
        yield _Statement(line, keyword, text[begin : piece.start() + 1].strip())
        begin = piece.end()
        following = _START.match(text, begin)
        keyword = following.group(1) if following else keyword
    yield _Statement(line, keyword, text[begin:].strip())


def _read_messages(statements: list[_Statement], reading: _Reading) -> None:
    message: _Message | None = None
    for statement in statements:
        if statement.keyword == "BO_":
            message = _read_message(statement, reading)
        elif statement.keyword == "SG_" and message is not None:
            _read_signal(statement, message, reading)
    names: set[str] = set()
    for message in reading.messages.values():
        unique = _unique(message.name, names)
        if unique != message.name:
            reading.warnings.append(f"message {message.name} stands twice; 0x{message.frame_id & ~EXTENDED:X} is called {unique}")
            message.name = unique
        names.add(unique)


def _read_message(statement: _Statement, reading: _Reading) -> _Message | None:
    match = _MESSAGE.match(statement.text)
    if match is None:
        reading.warn(statement.line, f"not a message, left out with its signals: {_excerpt(statement.text)}")
        return None
    number, name = int(match[1]), match[2]
    frame_id = number
    if name == "VECTOR__INDEPENDENT_SIG_MSG":  # where editors keep signals that belong to no message
        reading.left_out_ids.add(number)
        return None
    if number & EXTENDED:
        impossible = number & ~EXTENDED > EXTENDED_ID_MAX
    else:
        impossible = number > EXTENDED_ID_MAX
    if impossible:
        reading.warn(statement.line, f"message {name} left out: {number} is no 11-bit or 29-bit ID")
    elif not number & EXTENDED and number > STANDARD_ID_MAX:
        frame_id |= EXTENDED
        reading.warn(statement.line, f"message {name}: 0x{number:X} is a 29-bit ID, though its bit 31 does not say so; taken as one")
    if not impossible and frame_id in reading.messages:
        first = reading.messages[frame_id].name
        reading.warn(statement.line, f"message {name} left out: its ID 0x{frame_id & ~EXTENDED:X} belongs to {first} already")
        impossible = True
    if impossible:
        reading.left_out_ids.add(number)
        return None
    message = _Message(frame_id, _word(name, statement.line, "message", reading), int(match[3]))
    reading.messages[frame_id] = message
    return message


def _read_signal(statement: _Statement, message: _Message, reading: _Reading) -> None:
    match = _SIGNAL.match(statement.text)
    if match is None:
        reading.warn(statement.line, f"not a signal, left out of {message.name}: {_excerpt(statement.text)}")
        return
    name, mux, start, length = match[1], match[2] or "", int(match[3]), int(match[4])
    big_endian = match[5] == "0"
    end = (start // 8 * 8 + 7 - start % 8 if big_endian else start) + length
    if length == 0 or end > DATA_BITS_MAX:
        why = "has no bits" if length == 0 else "lies beyond the 64 bytes of a frame"
        reading.warn(statement.line, f"signal {message.name}.{name} left out: it {why}")
        return
    factor, offset, low, high = (_number(match[index] or "0") for index in (7, 8, 9, 10))
    if (factor, offset, low, high) != tuple(match[index] or "0" for index in (7, 8, 9, 10)):
        reading.warn(statement.line, f"signal {message.name}.{name}: numbers without a digit before the point; read as 0.x")
    if float(factor) == 0:
        reading.warn(statement.line, f"signal {message.name}.{name}: its factor is 0; taken as 1")
        factor = "1"
    unit = _plain(match[11] or "")
    rest = f'@{match[5]}{match[6]} ({factor},{offset}) [{low}|{high}] "{unit}"'
    word = _word(name, statement.line, f"signal {message.name}.", reading)
    unique = _unique(word, {signal.name for signal in message.signals})
    if unique != word:
        reading.warn(statement.line, f"signal {message.name}.{word} stands twice; this one is called {unique}")
    message.aliases[name].append(unique)
    message.signals.append(_Signal(unique, mux, start, length, rest))


def _read_long_names(statements: list[_Statement], reading: _Reading) -> None:
    """Names longer than 32 characters, which the format keeps in an attribute."""
    for statement in statements:
        match = _ATTRIBUTE.match(statement.text) if statement.keyword == "BA_" else None
        if match is None or match[1] not in ("SystemSignalLongSymbol", "SystemMessageLongSymbol") or not match[5]:
            continue
        message = _message(reading, int(match[3] or -1))
        long_name = re.sub(r"\W", "_", match[5], flags=re.ASCII)
        if message is None:
            continue
        if match[2] == "BO_":
            message.name = _unique(long_name, {other.name for other in reading.messages.values() if other is not message})
            continue
        names = message.aliases.get(match[4] or "", [])
        for index, short in enumerate(names):
            taken = {signal.name for signal in message.signals if signal.name != short}
            names[index] = _unique(long_name, taken)
            for signal in message.signals:
                signal.name = names[index] if signal.name == short else signal.name


def _read_references(statements: list[_Statement], readers: _Readers, reading: _Reading) -> list[str]:
    """What refers to messages and signals, as lines that follow the grammar."""
    tail: list[str] = []
    for statement in statements:
        reader = readers.get(statement.keyword)
        if reader is not None:
            tail += reader(statement, reading)
    return tail


def _read_choices(statement: _Statement, reading: _Reading) -> list[str]:
    match = _CHOICES.match(statement.text)
    if match is None:
        return []  # of an environment variable, or empty
    names, message = _signals(statement, reading, "VAL_", int(match[1]), match[2])
    pairs = _CHOICE.findall(statement.text, match.end())
    left = _CHOICE.sub("", statement.text[match.end() :]).strip(" ;\r\n\t")
    if left and names:
        reading.warn(statement.line, f"value table of {match[2]}: not read: {_excerpt(left)}")
    whole = [(int(float(number)), _plain(word)) for number, word in pairs]
    table = " ".join(f'{number} "{word}"' for number, word in whole)
    return [f"VAL_ {message} {name} {table} ;" for name in names] if table else []


def _read_float(statement: _Statement, reading: _Reading) -> list[str]:
    match = _FLOAT.match(statement.text)
    if match is None:
        reading.warn(statement.line, f"left out: {_excerpt(statement.text)}")
        return []
    names, frame_id = _signals(statement, reading, "SIG_VALTYPE_", int(match[1]), match[2])
    if match[3] not in ("1", "2"):
        return []
    lines = []
    for name in names:
        length = next(signal.length for signal in reading.messages[frame_id].signals if signal.name == name)
        if length in (16, 32, 64):
            lines.append(f"SIG_VALTYPE_ {frame_id} {name} : {match[3]};")
        else:
            reading.warn(statement.line, f"signal {name} cannot be a float of {length} bits; taken as an integer")
    return lines


def _read_mux(statement: _Statement, reading: _Reading) -> list[str]:
    match = _MUX.match(statement.text)
    ranges = [(int(low), int(high)) for low, high in _MUX_RANGE.findall(match[4])] if match else []
    if match is None or not ranges:
        reading.warn(statement.line, f"left out: {_excerpt(statement.text)}")
        return []
    names, frame_id = _signals(statement, reading, "SG_MUL_VAL_", int(match[1]), match[2])
    switches, _ = _signals(statement, reading, "SG_MUL_VAL_", int(match[1]), match[3]) if names else ([], 0)
    if not switches:
        return []
    bits = next(signal.length for signal in reading.messages[frame_id].signals if signal.name == switches[0])
    ranges = [(low, min(high, (1 << bits) - 1)) for low, high in ranges if low < 1 << bits]
    if sum(high - low + 1 for low, high in ranges) > MUX_VALUES_MAX:
        reading.warn(statement.line, f"signal {match[2]}: more than {MUX_VALUES_MAX} multiplexor values; left out")
        message = reading.messages[frame_id]
        message.signals = [signal for signal in message.signals if signal.name not in names]
        return []
    for signal in reading.messages[frame_id].signals:
        if signal.name in names and ranges and signal.mux[:1] == "m" and not signal.mux[1:2].isdigit():
            signal.mux = f"m{ranges[0][0]}{signal.mux[1:]}"
    listed = ", ".join(f"{low}-{high}" for low, high in ranges)
    return [f"SG_MUL_VAL_ {frame_id} {name} {switches[0]} {listed};" for name in names] if listed else []


def _check_multiplexing(reading: _Reading) -> None:
    for message in reading.messages.values():
        marks = {signal.mux for signal in message.signals}
        for signal in [signal for signal in message.signals if signal.mux in ("m", "mM")]:
            if not any(mark.endswith("M") for mark in marks) and len(marks - {""}) > 1:
                signal.mux = "M"
                marks.add("M")
                reading.warnings.append(f"signal {message.name}.{signal.name}: taken as the multiplexor of its message (M, not m)")
                continue
            reading.warnings.append(f"signal {message.name}.{signal.name} left out: its multiplexor value is not given")
            message.signals.remove(signal)
            for names in message.aliases.values():
                names[:] = [name for name in names if name != signal.name]
        if marks - {""} and not any(mark.endswith("M") for mark in marks):
            reading.warnings.append(
                f"message {message.name} has multiplexed signals and no multiplexor; every frame is taken to carry all of them"
            )


def _read_comment(statement: _Statement, reading: _Reading) -> list[str]:
    match = _COMMENT.match(statement.text)
    if match is None:
        if not _OTHER_COMMENT.match(statement.text):
            reading.warn(statement.line, f"comment without its kind or name, left out: {_excerpt(statement.text)}")
        return []
    if match[1] is None:
        return []
    message = _message(reading, int(match[2]))
    if message is None or (match[1] == "SG_" and match[3] is None):
        if message is not None:
            reading.warn(statement.line, f"comment without its signal, left out: {_excerpt(statement.text)}")
        return []
    content = _plain(match[4])
    if match[1] == "BO_":
        return [f'CM_ BO_ {message.frame_id} "{content}";']
    return [f'CM_ SG_ {message.frame_id} {name} "{content}";' for name in message.aliases.get(match[3], [])]


def _read_attributes(statements: list[_Statement], reading: _Reading) -> None:
    """Cycle times and frame formats, with the defaults of the file."""
    formats = list(_FRAME_FORMATS)
    defaults = {"GenMsgCycleTime": "0", "VFrameFormat": ""}
    found: dict[str, dict[int, str]] = {"GenMsgCycleTime": {}, "VFrameFormat": {}}
    protocol = ""
    for statement in statements:
        match statement.keyword:
            case "BA_DEF_" if (match := _DEFINITION.match(statement.text)) and match[1] == "VFrameFormat":
                formats = re.findall(_STRING, match[2]) or formats
            case "BA_DEF_DEF_" if (match := _DEFAULT.match(statement.text)) and match[1] in (*defaults, "ProtocolType"):
                value = match[2] or match[3] or ""
                protocol = value if match[1] == "ProtocolType" and not protocol else protocol
                defaults[match[1]] = value
            case "BA_" if match := _ATTRIBUTE.match(statement.text):
                if match[1] in found and match[2] == "BO_" and (message := _message(reading, int(match[3]))):
                    found[match[1]][message.frame_id] = match[5] or match[6] or ""
                elif match[1] == "ProtocolType" and match[2] is None:
                    protocol = match[5] or match[6] or protocol
    for frame_id, message in reading.messages.items():
        cycle = found["GenMsgCycleTime"].get(frame_id, defaults["GenMsgCycleTime"])
        message.cycle_ms = max(0, round(float(cycle))) if re.fullmatch(_NUMBER, cycle) else 0
        name = found["VFrameFormat"].get(frame_id, defaults["VFrameFormat"])
        if name.isdigit():
            name = formats[int(name)] if int(name) < len(formats) else ""
        if not name and protocol.upper() == "J1939" and frame_id & EXTENDED:
            name = "J1939PG"
        message.frame_format = name


def _write(reading: _Reading, tail: list[str]) -> str:
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: Vector__XXX"]
    attributes = [
        'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 3600000;',
        f'BA_DEF_ BO_ "VFrameFormat" ENUM {",".join(f""""{name}" """.strip() for name in _FRAME_FORMATS)};',
        'BA_DEF_DEF_ "GenMsgCycleTime" 0;',
        'BA_DEF_DEF_ "VFrameFormat" "StandardCAN";',
    ]
    for message in reading.messages.values():
        lines.append(f"BO_ {message.frame_id} {message.name}: {message.length} Vector__XXX")
        lines += [f" SG_ {s.name} {s.mux} : {s.start}|{s.length}{s.rest} Vector__XXX" for s in message.signals]
        if message.cycle_ms:
            attributes.append(f'BA_ "GenMsgCycleTime" BO_ {message.frame_id} {message.cycle_ms};')
        if message.frame_format in _FRAME_FORMATS and message.frame_format != "reserved":
            attributes.append(f'BA_ "VFrameFormat" BO_ {message.frame_id} {_FRAME_FORMATS.index(message.frame_format)};')
    return "\n".join([*lines, *attributes, *tail, ""])


def _signals(statement: _Statement, reading: _Reading, what: str, number: int, name: str) -> tuple[list[str], int]:
    """Names here of the signals that a statement refers to, and their message's ID."""
    message = _message(reading, number)
    names = message.aliases.get(name, []) if message else []
    if not names and number not in reading.left_out_ids:
        target = message.name if message else f"message {number}"
        reading.warn(statement.line, f"{what} left out: {target} has no signal {name}" if message else f"{what} left out: there is no {target}")
    return names, message.frame_id if message else 0


def _message(reading: _Reading, number: int) -> _Message | None:
    return reading.messages.get(number) or reading.messages.get(number | EXTENDED)


def _word(name: str, line: int, what: str, reading: _Reading) -> str:
    """A name that the grammar takes."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    if word[0].isdigit():
        word = f"_{word}"
    if word in _KEYWORDS:
        word = f"{word}_"
    if word != name:
        label = f"{what}{name}" if what.endswith(".") else f"{what} {name}"
        reading.warn(line, f"{label} is no name; called {word}")
    return word


def _unique(name: str, taken: set[str]) -> str:
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    return unique


def _number(text: str) -> str:
    """cantools wants a digit before the point."""
    return re.sub(r"^([-+]?)\.", r"\g<1>0.", text)


def _plain(text: str) -> str:
    """A string without what would end or escape it."""
    return text.replace('\\"', "'").replace("\\", "/")


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
