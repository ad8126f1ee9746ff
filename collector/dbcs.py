"""Signals that DBCs describe, where the libraries are installed that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.extras import how_to_install

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class DbcsUnread(ValueError):
    """A DBC cannot be read, or there is nothing to read it with; the message says what to do."""


def signals_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Cantools' signals, under the names that they have in a schema, of one bus and of several. Raises DbcsUnread."""
    try:
        from decoder import dbc
    except ImportError as error:
        raise DbcsUnread(f"--dbc reads DBCs, and {error.name} is missing: {how_to_install('logs')}") from None
    try:
        messages = [message for path in paths for message in dbc.load(path).messages]
    except dbc.DbcError as error:
        raise DbcsUnread(str(error)) from None
    return {
        name: signal
        for message in messages
        for signal in message.signals
        for name in (signal.name, f"{message.name}.{signal.name}")
    }
