"""Blocks of different vehicles on their way into the store together: decoded and surveyed in one call each.

Rules
- A block is opened when it is the next one of its outbox, and nothing else of that vehicle is done before it is read.
- To read blocks together gives what reading each by itself does: one that is damaged is so alone, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec.errors import DamagedBlock
from codec.stream_decoder import decode_opened
from collector.battery import portions
from collector.survey import Survey, Surveys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from codec.records import Records
    from codec.stream import DecodedBlock
    from codec.stream_decoder import Opened
    from collector.battery import Portion
    from collector.detectors.window import Firsts
    from collector.ingest.active import ActiveStream
    from collector.ingest.outbox import Outbox
    from collector.ingest.readings import Reading
    from collector.items import BatchItem
    from collector.rules import Screened

    _Known = tuple[Survey, Screened, Portion | None, Firsts | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch that is next, and whose header was read. `digest`: what the group before it came to here."""

    outbox: Outbox
    stream: ActiveStream
    item: BatchItem
    digest: int | None
    opened: Opened

    @property
    def values(self) -> int:
        """That it decodes to."""
        return self.opened.records * len(self.stream.schema.signals)


class Surveyed(NamedTuple):
    """Records of one stream, and what is known of them before anything of the stream is."""

    records: Records
    survey: Survey
    screened: Screened
    portion: Portion | None  # None: there is no battery to watch
    firsts: Firsts | None  # None: no detector is in force


class Read(NamedTuple):
    """A block that was decoded."""

    decoded: DecodedBlock
    surveyed: Surveyed


def read_together(waiting: Sequence[Waiting]) -> list[Read | DamagedBlock]:
    """Blocks of as many streams."""
    decoded, together = decode_opened([(one.stream.decoder, one.opened) for one in waiting])
    known: dict[int, _Known] = {}
    for group in together:
        by_reading: dict[Reading, list[int]] = {}
        for row, at in enumerate(group.at):
            if isinstance(decoded[at], DamagedBlock):
                continue
            by_reading.setdefault(waiting[at].stream.reading, []).append(row)
        for reading, rows in by_reading.items():
            counts, states = group.counts, group.states
            if len(rows) < len(group.at):
                counts, states = counts[rows], states[rows]
            first_ticks = [waiting[group.at[row]].opened.first_tick for row in rows]
            places = [group.at[row] for row in rows]
            known |= dict(zip(places, _known(reading, first_ticks, counts, states), strict=True))
    return [
        block if isinstance(block, DamagedBlock) else Read(block, Surveyed(block.records, *known[at]))
        for at, block in enumerate(decoded)
    ]


def surveyed(stream: ActiveStream, records: Records) -> Surveyed:
    """Records by themselves."""
    counts, states = np.ascontiguousarray(records.counts.T), np.ascontiguousarray(records.states.T)
    (known,) = _known(stream.reading, [records.first_tick], counts[np.newaxis], states[np.newaxis])
    return Surveyed(records, *known)


def _known(
    reading: Reading, first_ticks: Sequence[int], counts: NDArray[np.int64], states: NDArray[np.uint8]
) -> Iterator[_Known]:
    """Of b blocks: counts int64[b, m, n], states uint8[b, m, n]."""
    surveys = Surveys(reading.schema, counts, states)
    screened = reading.bound.screen(surveys.lows, surveys.highs)
    nothing = [None] * len(first_ticks)
    electrical, measured = reading.battery.electrical, reading.measured
    return zip(
        map(surveys.of, range(len(first_ticks))),
        screened,
        portions(reading.battery, first_ticks, counts, states) if electrical else nothing,
        measured.firsts(first_ticks, counts, states) if measured else nothing,
        strict=True,
    )
