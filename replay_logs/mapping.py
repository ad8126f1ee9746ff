"""What a table's columns mean: the small TOML file that `replay-logs convert` takes.

    [table]
    separator = ","            # or "whitespace"; default: by what the first line holds
    columns = ["unit", "cycle", "T24"]   # names, where the first line has none
    time = "cycle"             # column; without it rows are `rate_hz` apart
    time_s = 1.0               # seconds in one of it
    rate_hz = 1.0
    start = 2026-01-01T00:00:00Z         # of the first row, or of time 0
    where = {unit = 1}         # rows to take

    [signals.T24]              # name of the signal
    column = "T24"             # default: the name
    unit = "degR"
    scale = 1.0                # physical = column * scale + offset
    offset = 0.0
    resolution = 0.01          # default: as many decimals as the column has
    range = [500.0, 700.0]     # physical; default: what the column has. With it, several tables have one DBC
    message = "Engine"         # default: the table's

A mistake is named with file and key.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_UNIX_S = 1_767_225_600  # 2026-01-01
WHITESPACE = "whitespace"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")  # as DBC files have it


class MappingError(ValueError):
    """A mapping that makes no sense; the message names file and key."""


@dataclass(frozen=True, slots=True)
class Column:
    """One signal, and where it comes from. None: `resolution` as many decimals as the column has, `range` what it has."""

    name: str
    column: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    resolution: float | None = None
    range: tuple[float, float] | None = None
    message: str = "Table"


@dataclass(frozen=True, slots=True)
class TableMapping:
    """Of one table. `separator` None: found out; `columns` empty: named by the first line."""

    signals: tuple[Column, ...]
    separator: str | None = None
    columns: tuple[str, ...] = ()
    time: str | None = None
    time_s: float = 1.0
    rate_hz: float | None = None
    start_unix_s: float = START_UNIX_S
    where: Mapping[str, str] = field(default_factory=dict)


def load_mapping(path: Path) -> TableMapping:
    """Raises MappingError and OSError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise MappingError(f"{path}: not TOML: {error}") from None
    try:
        return parse_mapping(document)
    except MappingError as error:
        raise MappingError(f"{path}: {error}") from None


def parse_mapping(document: Mapping[str, Any]) -> TableMapping:
    """Raises MappingError."""
    _known(document, ("table", "signals"), "")
    table, signals = _table(document, "table"), _table(document, "signals")
    _known(table, ("separator", "columns", "time", "time_s", "rate_hz", "start", "where"), "table.")
    if not signals:
        raise MappingError("[signals.NAME]: name at least one signal")
    columns = _texts(table.get("columns", []), "table.columns")
    time, rate_hz = table.get("time"), table.get("rate_hz")
    if (time is None) == (rate_hz is None):
        raise MappingError("table: give either time (a column) or rate_hz (rows a second)")
    separator = table.get("separator")
    if (
        separator is not None
        and separator != WHITESPACE
        and not (isinstance(separator, str) and len(separator) == 1)
    ):
        raise MappingError(f"table.separator: {separator!r} is neither one character nor {WHITESPACE}")
    where = _table(table, "where", "table.")
    return TableMapping(
        signals=tuple(_signal(name, entry) for name, entry in signals.items()),
        separator=separator,
        columns=columns,
        time=None if time is None else _text(time, "table.time"),
        time_s=_positive(table.get("time_s", 1.0), "table.time_s"),
        rate_hz=None if rate_hz is None else _positive(rate_hz, "table.rate_hz"),
        start_unix_s=_start(table.get("start")),
        where={key: str(value) for key, value in where.items()},
    )


def _signal(name: str, entry: Any) -> Column:
    where = f"signals.{name}."
    if not _NAME.fullmatch(name):
        raise MappingError(f"signals.{name}: a signal's name has letters, digits and _, 32 at most")
    if not isinstance(entry, dict):
        raise MappingError(f"signals.{name}: {entry!r} is no table; write [signals.{name}]")
    _known(entry, tuple(one.name for one in fields(Column) if one.name != "name"), where)
    resolution = entry.get("resolution")
    message = _text(entry.get("message", "Table"), where + "message")
    if not _NAME.fullmatch(message):
        raise MappingError(
            f"{where}message: {message!r}: a message's name has letters, digits and _, 32 at most"
        )
    scale = _number(entry.get("scale", 1.0), where + "scale")
    if scale == 0:
        raise MappingError(f"{where}scale: 0 leaves nothing of the column")
    return Column(
        name=name,
        column=str(entry.get("column", name)),
        unit=_text(entry.get("unit", ""), where + "unit"),
        scale=scale,
        offset=_number(entry.get("offset", 0.0), where + "offset"),
        resolution=None if resolution is None else _positive(resolution, where + "resolution"),
        range=_range(entry.get("range"), where + "range"),
        message=message,
    )


def _known(entry: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise MappingError(
                f"unknown key {where}{key}; "
                + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")
            )


def _table(document: Mapping[str, Any], key: str, where: str = "") -> dict[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise MappingError(f"{where}{key}: {found!r} is no table")
    return found


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or any(character in value for character in '"\n\r\0'):
        raise MappingError(f"{where}: {value!r} is no text of one line without quotes")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(set(map(str, value))) != len(value):
        raise MappingError(f"{where}: {value!r} is no list of different names")
    return tuple(_text(one, where) for one in value)


def _number(value: Any, where: str) -> float:
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise MappingError(f"{where}: {value!r:.80} is no number")
    return number


def _range(value: Any, where: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise MappingError(f"{where}: {value!r} is not [lowest, highest]")
    low, high = (_number(one, where) for one in value)
    if low > high:
        raise MappingError(f"{where}: {low:g} is more than {high:g}")
    return low, high


def _positive(value: Any, where: str) -> float:
    number = _number(value, where)
    if number <= 0:
        raise MappingError(f"{where}: {number:g}: must be more than 0")
    return number


def _start(value: Any) -> float:
    if value is None:
        return START_UNIX_S
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise MappingError(f"table.start: {value!r} is no time; write 2026-01-01T00:00:00Z") from None
    if not isinstance(value, datetime):
        raise MappingError(f"table.start: {value!r} is no time; write 2026-01-01T00:00:00Z")
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    if moment.timestamp() < 0:
        raise MappingError(f"table.start: {value}: logs begin in 1970 or later")
    return moment.timestamp()
