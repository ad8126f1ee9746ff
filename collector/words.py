"""Numbers of things, as people say them."""

from __future__ import annotations


def counted(number: int, thing: str, things: str = "") -> str:
    """1 fault, 2 faults, 1,200 faults. `things`: where that is not `thing` with an s."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
