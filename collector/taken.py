"""Blocks of different vehicles on their way into the store together: decoded and surveyed in one call each.

Rules
- A block is opened when it is the next one of its outbox, and nothing else of that vehicle is done before it is read.
- To read blocks together gives what reading each by itself does: one that is damaged is so alone, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from codec.errors import DamagedBlock
from codec.stream_decoder import decode_opened
from collector.survey import Survey, Surveys, survey_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.records import Records
    from codec.stream import DecodedBlock
    from codec.stream_decoder import Opened
    from collector.active import ActiveStream
    from collector.items import BatchItem
    from collector.outbox import Outbox
    from collector.rules import Screened


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
    """Records of one stream, and what is known of all of them."""

    records: Records
    survey: Survey
    screened: Screened


class Read(NamedTuple):
    """A block that was decoded."""

    decoded: DecodedBlock
    surveyed: Surveyed


def read_together(waiting: Sequence[Waiting]) -> list[Read | DamagedBlock]:
    """Blocks of as many streams."""
    decoded, together = decode_opened([(one.stream.decoder, one.opened) for one in waiting])
    known: dict[int, tuple[Survey, Screened]] = {}
    for group in together:
        readings = [waiting[at].stream.reading for at in group.at]
        surveys = Surveys(readings[0].schema, group.counts, group.states)
        screened = {one: one.bound.screen(surveys.lows, surveys.highs) for one in set(readings)}
        for row, (at, reading) in enumerate(zip(group.at, readings, strict=True)):
            known[at] = surveys.of(row), screened[reading][row]
    return [
        block if isinstance(block, DamagedBlock) else Read(block, Surveyed(block.records, *known[at]))
        for at, block in enumerate(decoded)
    ]


def surveyed(stream: ActiveStream, records: Records) -> Surveyed:
    """Records by themselves."""
    survey = survey_of(stream.schema, records)
    (screened,) = stream.bound.screen(survey.lows.reshape(1, -1), survey.highs.reshape(1, -1))
    return Surveyed(records, survey, screened)
