"""The name that was probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LISTED_MAX = 12


def nearest(wrong: str, names: Iterable[str], *, show: Callable[[str], str] = str) -> str:
    """`; did you mean X?`, or what there is where nothing is near."""
    spelled = {name.lower(): name for name in names}
    near = difflib.get_close_matches(wrong.lower(), spelled, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {show(spelled[near[0]])}?"
    if not spelled:
        return ""
    listed = sorted(show(name) for name in spelled.values())
    more = f" and {len(listed) - LISTED_MAX} more" if len(listed) > LISTED_MAX else ""
    return f"; there are {', '.join(listed[:LISTED_MAX])}{more}"
