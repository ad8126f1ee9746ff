"""What the benchmarks' tables have in common; each benchmark prints its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WIDTH_MIN = 140  # where there is no terminal
LOG_WIDTH_MAX = 32


def write_json(path: Path | None, document: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def short(number: float) -> str:
    """Three digits or more."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def console() -> Console:
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH_MIN)
