"""Seeded noise that is the same to the bit on every machine and with every numpy.

numpy promises a stable stream for its bit generators only, not for its distributions (NEP 19). So samples are made
here of raw 64-bit words, in integers: the sum of four uniform 16-bit numbers is close to a normal distribution,
and never beyond 3.5 standard deviations.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUM_MEAN = 4 * 65535 / 2
_SUM_DEVIATION = math.sqrt(4 * (65536**2 - 1) / 12)


class Noise:
    """One stream of samples for each (seed, name). The first n samples do not depend on how many follow."""

    def __init__(self, seed: int, name: str) -> None:
        self._source = np.random.PCG64([seed, zlib.crc32(name.encode())])

    def normal(self, count: int) -> NDArray[np.float64]:
        """float64[count], mean 0, standard deviation 1."""
        words = np.asarray(self._source.random_raw(count), dtype="<u8")
        total = words.view("<u2").reshape(count, 4).sum(axis=1, dtype=np.int64).astype(np.float64)
        return np.asarray((total - _SUM_MEAN) / _SUM_DEVIATION)

    def uniform(self, count: int) -> NDArray[np.float64]:
        """float64[count] in [0, 1)."""
        words = np.asarray(self._source.random_raw(count), dtype=np.uint64)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def wander(samples: NDArray[np.float64], correlation_steps: float, deviation: float) -> list[float]:
    """A slow random walk that is pulled back to 0 (first-order autoregression) of white samples, as Python floats."""
    keep = 1.0 - 1.0 / correlation_steps
    push = deviation * math.sqrt(1.0 - keep * keep)
    value = 0.0
    walk = []
    for sample in samples.tolist():
        value = keep * value + push * sample
        walk.append(value)
    return walk
