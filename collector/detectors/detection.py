"""What the detectors make of a stream: seconds in, episodes out. Pure, and the same however records come in blocks.

A detector is a part of `Detection.take`: it turns scored seconds into hits. What it carries from one second to the next is the
window, or a row of `anomalies`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from collector.detectors.bound import BoundForest, inputs_of
from collector.detectors.episodes import FOREST, Episode, Episodes, Hit
from collector.detectors.settings import DetectorSettings, DetectorSettingsError
from collector.detectors.window import Window, measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from codec.records import Records
    from codec.schema import Schema
    from collector.detectors.forest import Forest
    from collector.detectors.window import Firsts, Measured, Seconds

ZSCORE, ROBUST = "zscore", "robust"


@dataclass(frozen=True, slots=True)
class Detectors:
    """Those that are in force."""

    settings: DetectorSettings = field(default_factory=DetectorSettings)
    forests: tuple[Forest, ...] = ()

    def __post_init__(self) -> None:
        for forest in self.forests:
            if forest.header.smooth_s > self.settings.window_s:
                raise DetectorSettingsError(
                    f"window_s: {self.settings.window_s}: model {forest.id} takes means of {forest.header.smooth_s} s"
                )
        if len({forest.id for forest in self.forests}) != len(self.forests):
            raise DetectorSettingsError("models: two files hold the same model")

    @property
    def names(self) -> frozenset[str]:
        on = {ZSCORE: self.settings.zscore, ROBUST: self.settings.robust}
        return frozenset([name for name in on if on[name]] + [FOREST + forest.id for forest in self.forests])

    def measured(self, schema: Schema) -> Measured:
        """What they score of a schema."""
        return measured(schema, self.settings.ignore, robust=self.settings.robust)


class Detection:
    """Of one stream."""

    def __init__(
        self, detectors: Detectors, schema: Schema, stream_no: int, going_on: Iterable[Episode] = ()
    ) -> None:
        settings = self._settings = detectors.settings
        self.stream_no = stream_no
        self._measured = detectors.measured(schema)
        self.window = Window(self._measured, settings.window_s)
        self._limits = np.array(
            [settings.limits.get(name, settings.limit) for name in self._measured.names], np.float64
        )
        self._forests = [
            BoundForest(forest, inputs)
            for forest in detectors.forests
            if (inputs := inputs_of(forest.header.features, forest.header.smooth_s, self._measured))
            is not None
        ]
        self._episodes = Episodes(stream_no, settings.quiet_s * schema.rate_hz, going_on)

    def first_second(self, tick: int) -> int:
        """The oldest second in the window of this tick's."""
        return tick // self._measured.schema.rate_hz - self._settings.window_s

    def take(self, records: Records) -> list[Episode]:
        """The episodes that these records opened, changed or ended. Ticks grow from call to call."""
        return self.take_firsts(self._measured.firsts_of(records)) if len(records) else []

    def take_firsts(self, firsts: Firsts) -> list[Episode]:
        """The same, of what `Measured.firsts` has of the records."""
        taken = firsts.after(self.window.last_second)
        if not taken.ticks:
            return []
        settings = self._settings
        judged = [forest.hits(self.window, taken, settings.confidence) for forest in self._forests]
        scores = self.window.score(taken, settings.samples_min, robust=settings.robust)
        hits: list[Hit] = []
        for name, on, values in (
            (ZSCORE, settings.zscore, scores.z),
            (ROBUST, settings.robust, scores.robust),
        ):
            if on:
                hits += self._beyond(name, taken, values)
        return self._episodes.advance(taken.ticks, itertools.chain(hits, *judged))

    def _beyond(self, name: str, taken: Seconds, scores: NDArray[np.float64]) -> Iterator[Hit]:
        rows, columns = (np.abs(scores) > self._limits).nonzero()
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            value = self._measured.physical(column, float(taken.values[row, column]))
            yield Hit(name, self._measured.names[column], taken.ticks[row], value, float(scores[row, column]))
