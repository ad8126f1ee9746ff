"""DBC files as they are in the world: repaired, loaded, and what was repaired or left out is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cantools.database.can import Message


class DbcError(ValueError):
    """A DBC that cannot be used at all; one line: file, line if known, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Dbc:
    """A loaded DBC. `warnings` has one line for each thing that was repaired or left out."""

    path: str
    messages: tuple[Message, ...]
    warnings: tuple[str, ...] = ()


def load(path: str | Path) -> Dbc:
    """Load a DBC, repairing what can be repaired. Raises DbcError."""
    raise NotImplementedError
