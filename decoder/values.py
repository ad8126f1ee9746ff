"""Bulk decoding: every value of every frame, as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from decoder.frames import Frames
    from decoder.plan import Bus


@dataclass(frozen=True, slots=True)
class Values:
    """n values in the order of their frames: frame int32[n], signal int32[n] (index into `names`), value float64[n]."""

    frame: NDArray[np.int32]
    signal: NDArray[np.int32]
    value: NDArray[np.float64]
    names: tuple[str, ...]


class BulkDecoder:
    """Tables of all signals of some buses; as `default_choices` names them."""

    names: tuple[str, ...]
    warnings: tuple[str, ...]

    def __init__(self, buses: Sequence[Bus]) -> None:
        raise NotImplementedError

    def decode_values(self, frames: Frames) -> Values:
        """Physical values, NaN where the sender says 'not available'."""
        raise NotImplementedError
