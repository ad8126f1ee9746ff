"""The road under a drive: curvature and gradient by distance, and where on Earth that leads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from replay_logs.noise import Noise
    from replay_logs.scenarios import Road

METRES_PER_DEGREE = 111_320.0
_EASING_M = 9  # curvature is spread over this length: nobody turns the wheel in no time
_QUARTER_TURN = math.pi / 2


@dataclass(frozen=True, slots=True)
class Course:
    """Curvature in 1/m, one value a metre, positive to the right; gradient as a function of distance."""

    curvature: list[float]
    climb: float
    hills: float
    phases: tuple[float, float, float]

    def curvature_at(self, distance_m: float) -> float:
        return self.curvature[min(max(int(distance_m), 0), len(self.curvature) - 1)]

    def gradient_at(self, distance_m: float) -> float:
        first, second, third = self.phases
        waves = (
            0.55 * math.sin(distance_m / 173.0 + first)
            + 0.30 * math.sin(distance_m / 71.0 + second)
            + 0.15 * math.sin(distance_m / 29.0 + third)
        )
        return self.climb + self.hills * waves


def plan_course(road: Road, speed_plan: NDArray[np.float64], noise: Noise) -> Course:
    """Bends for a car that follows `speed_plan` (m/s, one a second): none tighter than lateral_max allows there."""
    distance = np.concatenate(([0.0], np.cumsum(speed_plan)))
    length = int(distance[-1]) + 400
    speed = np.interp(np.arange(length), distance[:-1], speed_plan)
    tightest = road.lateral_max_mps2 / np.maximum(speed, 3.0) ** 2
    draws = iter(noise.uniform(4 * length).tolist())
    curvature = _bends(road, length, draws)
    if road.turns_at_stops:
        stopped = np.flatnonzero((speed_plan[1:] > 0.1) & (speed_plan[:-1] <= 0.1))
        for start in stopped:
            if next(draws) < 0.55:
                _turn(
                    curvature,
                    int(distance[start]) + 5,
                    tightest,
                    direction=1.0 if next(draws) < 0.5 else -1.0,
                )
    curvature = np.clip(curvature, -tightest, tightest)
    window = np.hanning(_EASING_M + 2)
    eased = np.convolve(curvature, window / window.sum(), mode="same")
    phases = (next(draws) * math.tau, next(draws) * math.tau, next(draws) * math.tau)
    return Course(eased.tolist(), road.climb, road.hills, phases)


def _bends(road: Road, length: int, draws: Iterator[float]) -> NDArray[np.float64]:
    """Straights and arcs in turn."""
    shortest, widest = road.bend_radius_m
    curvature = np.zeros(length)
    at = 0
    while at < length:
        straight = int((0.3 + next(draws)) * shortest)
        radius = shortest + (widest - shortest) * next(draws)
        arc = max(int(radius * (0.25 + 0.6 * next(draws))), 6)
        sign = 1.0 if next(draws) < 0.5 else -1.0
        curvature[at + straight : at + straight + arc] = sign / radius
        at += straight + arc
    return curvature


def _turn(
    curvature: NDArray[np.float64], start: int, tightest: NDArray[np.float64], *, direction: float
) -> None:
    """A quarter turn at a junction, as tight as 11 m where the speed allows."""
    turned = 0.0
    at = start
    while turned < _QUARTER_TURN and at < len(curvature):
        curvature[at] = direction * min(1.0 / 11.0, tightest[at])
        turned += abs(curvature[at])
        at += 1
