"""What a scheme is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.values import Values
    from codec.records import Records
    from codec.schema import Schema


@dataclass(frozen=True, slots=True)
class Scheme:
    """`encode` makes one or more contents of each block; `decode` makes the values of all blocks of all contents."""

    name: str
    encode: Callable[[Schema, Sequence[Records]], list[bytes]]
    decode: Callable[[Schema, Sequence[bytes]], Values]
    uses_thresholds: bool = True  # otherwise its bytes are the same under any
    uses_blocks: bool = True  # otherwise its bytes are the same at any block length
    tells_availability: bool = True
    blocks_max: int | None = (
        None  # blocks that stand alone and take long: so many are measured, evenly spread
    )
