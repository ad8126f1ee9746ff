"""A forest on the measurements of one schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collector.detectors.episodes import FOREST, Hit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collector.detectors.forest import Feature, Forest
    from collector.detectors.window import Measured, Seconds, Window


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where f features stand among the measurements of a schema."""

    columns: NDArray[np.int64]
    factors: NDArray[np.float64]
    offsets: NDArray[np.float64]
    smooth_s: int

    def values(self, window: Window, taken: Seconds) -> NDArray[np.float64]:
        """Physical values [k, f] of seconds that the window has not taken in yet; NaN where one is missing."""
        return window.means(taken, self.columns, self.smooth_s) * self.factors + self.offsets


@dataclass(frozen=True, slots=True)
class BoundForest:
    forest: Forest
    inputs: Inputs

    def hits(self, window: Window, taken: Seconds, confidence: float) -> list[Hit]:
        values = self.inputs.values(window, taken)
        rows = np.flatnonzero(~np.isnan(values).any(axis=1))
        if not len(rows):
            return []
        judged = self.forest.judge(values[rows])
        name, signals = FOREST + self.forest.id, self.forest.signals
        return [
            Hit(
                name,
                signals[judged.leading[at]],
                taken.ticks[rows[at]],
                float(judged.score[at]),
                float(judged.score[at]),
                float(judged.confidence[at]),
            )
            for at in np.flatnonzero(judged.confidence >= confidence)
        ]


def inputs_of(features: Sequence[Feature], smooth_s: int, measured: Measured) -> Inputs | None:
    """None where a feature is missing, no measurement, on a circle, or has another unit: what was learnt is of other things."""
    columns = []
    for feature in features:
        if feature.signal not in measured.names:
            return None
        column = measured.names.index(feature.signal)
        signal = measured.schema.signals[int(measured.columns[column])]
        if signal.unit != feature.unit or signal.circular:
            return None
        columns.append(column)
    at = np.array(columns, np.int64)
    return Inputs(at, measured.factors[at], measured.offsets[at], smooth_s)
