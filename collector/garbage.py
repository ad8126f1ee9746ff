"""How often Python looks for garbage that reference counts do not find.

A full look walks everything that is known of every vehicle: 200 ms for a thousand of them, in which nobody is acknowledged, and a
quarter of the processor time at Python's own thresholds, which nearly all of what ingest makes and drops never needs.
"""

from __future__ import annotations

import asyncio
import gc

# Objects that outlived their makers; looks at these before one at those that survived; and a full look by itself, in effect never.
THRESHOLDS = (50_000, 20, 1000)
LOOK_S = 600.0


def look_seldom() -> None:
    """For the rest of this process. What is loaded now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


async def look_now_and_then() -> None:
    """At all of it, until cancelled: what died old, as a conversation of hours does, is found by nothing else."""
    while True:
        await asyncio.sleep(LOOK_S)
        gc.collect()
