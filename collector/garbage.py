"""How often Python looks for garbage that reference counts do not find.

A full look walks everything that is known of every vehicle: 200 ms for a thousand of them, in which nobody is acknowledged, and a
quarter of the processor time at Python's own thresholds, which nearly all of what ingest makes and drops never needs.
"""

from __future__ import annotations

import gc

THRESHOLDS = (
    50_000,
    20,
    1000,
)  # objects that outlived their makers; and how many looks at the younger ones before one at the older


def look_seldom() -> None:
    """For the rest of this process. What is loaded now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
