"""How the spread of the cells changes from day to day: a line through minutes of it, apart from what the load does to it.

A weighted least-squares fit of spread = a + b t + c |I|. Weights halve in HALF_LIFE_DAYS, so that a pack that was balanced, or
exchanged, is a new one after some weeks. Minutes are not independent of one another, so the standard error is a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_LIFE_DAYS = 30.0
MINUTES_MIN = 10  # also how many there are between two estimates
DAYS_MIN = 1.0  # between the first and the last: minutes of one drive tell of its load, not of days
_DAY_NS = 86_400e9


@dataclass(frozen=True, slots=True)
class Trend:
    """Weighted sums over minutes: of the products of 1, t (days since `origin_ns`), |I| (A) and the spread (mV)."""

    origin_ns: int
    last_ns: int
    count: int = 0
    sums: tuple[float, ...] = (0.0,) * 10  # 1, t, i, y, tt, ti, ty, ii, iy, yy

    def to_json(self) -> list[Any]:
        return [self.origin_ns, self.last_ns, self.count, self.sums]

    @classmethod
    def from_json(cls, document: list[Any]) -> Trend:
        origin_ns, last_ns, count, sums = document
        return cls(origin_ns, last_ns, count, tuple(sums))


def noted(trend: Trend | None, wall_ns: int, current_a: float, spread_mv: float) -> Trend:
    """With one minute more. Of a clock that was set back, the minute counts as of now."""
    trend = trend or Trend(wall_ns, wall_ns)
    now = max(wall_ns, trend.last_ns)
    kept = 0.5 ** ((now - trend.last_ns) / _DAY_NS / HALF_LIFE_DAYS)
    x = (1.0, (now - trend.origin_ns) / _DAY_NS, current_a, spread_mv)
    products = [x[a] * x[b] for a in range(4) for b in range(a, 4)]
    sums = tuple(kept * old + new for old, new in zip(trend.sums, products, strict=True))
    return replace(trend, last_ns=now, count=trend.count + 1, sums=sums)


def slope(trend: Trend) -> tuple[float, float] | None:
    """MV a day and its standard error; None where the minutes do not tell."""
    if trend.count < MINUTES_MIN or trend.last_ns - trend.origin_ns < DAYS_MIN * _DAY_NS:
        return None
    one, t, i, y, tt, ti, ty, ii, iy, yy = trend.sums
    # Around the means, so that thousands of days do not drown the spread within them.
    matrix = np.array([[tt - t * t / one, ti - t * i / one], [ti - t * i / one, ii - i * i / one]])
    right = np.array([ty - t * y / one, iy - i * y / one])
    if matrix[1, 1] <= 1e-9 * max(ii, 1.0):
        matrix, right = matrix[:1, :1], right[:1]
    if matrix[0, 0] <= 1e-12 * max(tt, 1e-9) or one <= len(right) + 1:
        return None
    scale = np.sqrt(np.diag(matrix))
    fitted = matrix / np.outer(scale, scale)
    if float(np.linalg.det(fitted)) < 1e-6:
        return None
    return _solved(fitted, right / scale, yy - y * y / one, one - len(right) - 1, float(scale[0]))


def _solved(
    matrix: NDArray[np.float64], right: NDArray[np.float64], total: float, freedom: float, scale: float
) -> tuple[float, float]:
    inverse = np.linalg.inv(matrix)
    solution = inverse @ right
    residual = max(total - float(right @ solution), 0.0) / freedom
    return float(solution[0]) / scale, math.sqrt(residual * float(inverse[0, 0])) / scale
