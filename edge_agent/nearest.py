"""The name that was probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTED_MAX = 12


def nearest(wrong: str, names: Iterable[str], *, prefix: str = "") -> str:
    """`; did you mean X?`, or what there is where nothing is near."""
    spelled = {name.lower(): name for name in names}
    near = difflib.get_close_matches(wrong.lower(), spelled, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {shown(spelled[near[0]], prefix)}?"
    if not spelled:
        return ""
    listed = sorted(shown(name, prefix) for name in spelled.values())
    more = f" and {len(listed) - LISTED_MAX} more" if len(listed) > LISTED_MAX else ""
    return f"; there are {', '.join(listed[:LISTED_MAX])}{more}"


def shown(name: str, prefix: str) -> str:
    """As it is written: a variable, where it has a prefix."""
    return f"{prefix}{name.upper()}" if prefix else name
