"""Episodes: what a detector finds unusual, from the first second to the last.

Rules
- An episode opens at the first second whose score is beyond the limit. It ends where it was last seen to be beyond it, once
  `quiet_s` seconds of the stream have gone by without that, or once another stream begins.
- Its peak is the value at the most extreme score; the first of equals. Its signal is the one that it opened with.
- A second that was not scored is quiet.
- All that an episode carries from block to block is in its row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOREST = (
    "forest:"  # detectors that judge several signals at once: one episode at a time, whichever signal leads
)

Name = tuple[str, str]  # of a detector, and of a signal where it judges each by itself


def name_of(detector: str, signal: str) -> Name:
    return detector, "" if detector.startswith(FOREST) else signal


@dataclass(frozen=True, slots=True)
class Hit:
    """A score beyond its limit. `confidence`: None where the detector has none."""

    detector: str
    signal: str
    tick: int
    value: float  # physical; of several signals, their score
    score: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """Hits with little between them, as far as it is known."""

    detector: str
    signal: str
    stream_no: int
    first_tick: int
    last_tick: int  # seen beyond the limit
    peak: float
    score: float  # at the peak
    confidence: float | None = None
    ended: bool = False

    @property
    def name(self) -> Name:
        return name_of(self.detector, self.signal)


class Episodes:
    """Those of one stream that are open."""

    def __init__(self, stream_no: int, quiet_ticks: int, going_on: Iterable[Episode] = ()) -> None:
        self._stream_no = stream_no
        self._quiet_ticks = quiet_ticks
        self.open: dict[Name, Episode] = {episode.name: episode for episode in going_on}

    def advance(self, ticks: Iterable[int], hits: Iterable[Hit]) -> list[Episode]:
        """The episodes that these seconds opened, changed or ended, as they stand after them. Hits in order of time."""
        changed: dict[tuple[Name, int], Episode] = {}
        by_tick: dict[int, list[Hit]] = {}
        for hit in hits:
            by_tick.setdefault(hit.tick, []).append(hit)
        if not by_tick and not self.open:
            return []
        for tick in ticks:
            for after in (*self._ended_before(tick), *map(self._hit, by_tick.get(tick, ()))):
                changed[after.name, after.first_tick] = after
        return list(changed.values())

    def _ended_before(self, tick: int) -> Iterator[Episode]:
        gone = [one for one in self.open.values() if tick - one.last_tick > self._quiet_ticks]
        for episode in gone:
            del self.open[episode.name]
            yield replace(episode, ended=True)

    def _hit(self, hit: Hit) -> Episode:
        before = self.open.get(name_of(hit.detector, hit.signal))
        if before is None:
            after = Episode(
                hit.detector,
                hit.signal,
                self._stream_no,
                hit.tick,
                hit.tick,
                hit.value,
                hit.score,
                hit.confidence,
            )
        elif abs(hit.score) > abs(before.score):
            after = replace(
                before,
                last_tick=hit.tick,
                peak=hit.value,
                score=hit.score,
                confidence=hit.confidence,
            )
        else:
            after = replace(before, last_tick=hit.tick)
        self.open[after.name] = after
        return after
