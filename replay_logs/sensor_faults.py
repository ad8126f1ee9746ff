"""Sensors that fail: what they report instead of the truth, and from when to when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPIKE_EVERY_S, SPIKE_S = 30.0, 2.0  # a loose contact


@dataclass(frozen=True, slots=True)
class SensorFault:
    """Of one signal, from start_s up to end_s.

    stuck: the value it had at start_s. drift: `size` units a second away from the truth. spike: `size` units off, for SPIKE_S every
    SPIKE_EVERY_S.
    """

    signal: str
    kind: Literal["stuck", "drift", "spike"]
    start_s: float
    end_s: float
    size: float = 0.0


def reported(
    values: NDArray[np.float64], signal: str, times_s: NDArray[np.float64], faults: Sequence[SensorFault]
) -> NDArray[np.float64]:
    """What a sensor makes of its values at ascending times."""
    for fault in faults:
        if fault.signal != signal:
            continue
        first, end = np.searchsorted(times_s, (fault.start_s, fault.end_s))
        if first == end:
            continue
        values = values.copy()
        since_s = times_s[first:end] - fault.start_s
        match fault.kind:
            case "stuck":
                values[first:end] = values[first]
            case "drift":
                values[first:end] += fault.size * since_s
            case "spike":
                values[first:end] += np.where(since_s % SPIKE_EVERY_S < SPIKE_S, fault.size, 0.0)
            case _:
                assert_never(fault.kind)
    return values
