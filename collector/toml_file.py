"""TOML that people write: read, and each mistake named with where it stands, what it is and what can be written instead.

`error` is the exception of whoever's file it is. A message begins with the file and the place in it:
`webhooks.toml: webhook ops, silence 1, from: ...`.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Error = Callable[[str], ValueError]


def text_of(path: Path, error: Error) -> str:
    """Raises `error`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as trouble:
        raise error(f"{path}: cannot be read: {trouble.strerror}; name another file") from None
    except UnicodeDecodeError as trouble:
        raise error(f"{path}: not UTF-8 at byte {trouble.start}") from None


def document_of(text: str, where: str, error: Error) -> dict[str, Any]:
    """Raises `error`."""
    try:
        return tomllib.loads(text)
    except ValueError as trouble:  # numbers of thousands of digits are no TOMLDecodeError
        raise error(f"{where}: not TOML: {trouble}") from None
    except RecursionError:
        raise error(f"{where}: not TOML: brackets within brackets without end") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest one that is known, as the end of a message; empty: none is near."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The same; where none is near, all there are."""
    return did_you_mean(name, known) or f"; known are {', '.join(known)}"


def shown(value: object) -> str:
    """As it may stand in a message."""
    try:
        return repr(value)
    except ValueError:  # of a whole number, which may be written in hexadecimal, and is not in decimal
        return "a number of thousands of digits"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file. What it lacks is the default; without a default, it must be there. Everything raises `error`."""

    entry: Mapping[str, Any]
    file: str
    error: Error
    place: str = ""  # empty: the file's own

    def wrong(self, key: str, message: str) -> ValueError:
        """To be raised. `key`: at which of them; empty: at the table."""
        return self.error(": ".join(filter(None, (self.file, self._at(key), message))))

    def _at(self, key: str) -> str:
        return ", ".join(filter(None, (self.place, key)))

    def only(self, *known: str) -> None:
        for key in self.entry:
            if key not in known:
                raise self.wrong("", f"unknown key {key!r}{nearest(key, known)}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.entry.get(key, default)
        if value is None or (default is None and value == ""):
            raise self.wrong("", f"{key} is missing")
        if not isinstance(value, str):
            raise self.wrong(key, f"must be a text in quotes, not {shown(value)}")
        return value

    def number(self, key: str, least: float, most: float, default: float | None = None) -> float:
        value = self.entry.get(key, default)
        if value is None:
            raise self.wrong("", f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.wrong(key, f"must be a number from {least:g} to {most:g}, not {shown(value)}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.entry.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, f"must be true or false, not {shown(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(key, f"must be a list of texts in quotes, not {shown(value)}")
        return tuple(value)

    def one_of(self, key: str, known: tuple[str, ...], default: str) -> str:
        value = self.text(key, default)
        if value not in known:
            raise self.wrong(key, f"{shown(value)} is none of {', '.join(known)}")
        return value

    def some_of(self, key: str, known: tuple[str, ...], default: frozenset[str]) -> frozenset[str]:
        if key not in self.entry:
            return default
        values = self.texts(key)
        for value in values:
            if value not in known:
                raise self.wrong(key, f"{shown(value)} is none of {', '.join(known)}")
        if not values:
            raise self.wrong(key, "is empty; leave it out for all of them")
        return frozenset(values)

    def tables(self, key: str, most: int, name: str) -> list[Table]:
        """Each a table of its own, called by what stands under `name` in it, or by its number."""
        found = self.entry.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self.wrong("", f"write each {key} as a table, with two brackets")
        if len(found) > most:
            raise self.wrong("", f"{len(found)} of {key}; at most {most}")
        return [
            Table(one, self.file, self.error, self._at(f"{key} {one.get(name, number)}"))
            for number, one in enumerate(found, 1)
        ]
