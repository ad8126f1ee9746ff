"""Rows of records and minutes, as blocks come, are replaced, and end.

Rules
- Rows: so many a second, and every record from some seconds before a fault opens or ends until some after. Those before are read
  from the stored blocks, where some may be rows already.
- Minutes (see `minutes`): one, the last that there is something of, is being filled.
- Where blocks were stored wrong, rows and minutes of their ticks are made again of all that is stored, in the same transaction:
  a block that claimed more records than it had stood in the place of those after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.ingest import rows
from collector.ingest.active import SEQ_MAX
from collector.ingest.materialise import first_of_steps
from collector.ingest.minutes import MINUTE_S, Minutes, minute_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from codec.records import Records
    from collector.ingest.active import ActiveStream
    from collector.ingest.changes import Ledger
    from collector.ingest.materialise import Materialise
    from collector.ingest.minutes import Summary
    from collector.ingest.outbox import Outbox
    from collector.ingest.taken import Surveyed
    from collector.rules import FaultSpan


# A block that was stored wrong and began so many ticks too early, or fewer, took the place of others; one that began earlier stood
# where nothing was.
EARLY_MAX = 1 << 20


class Materialised:
    """Of one transaction."""

    def __init__(self, ledger: Ledger, settings: Materialise) -> None:
        self._ledger = ledger
        self._settings = settings
        self._replaced: list[range] = []  # ticks for which a block was stored wrong, or is now

    def take(
        self,
        outbox: Outbox,
        stream: ActiveStream,
        surveyed: Surveyed,
        spans: Sequence[FaultSpan],
        *,
        late: bool,
        continues: bool,
    ) -> None:
        """Records that are new, and the faults that opened, changed or ended in them."""
        records = surveyed.records
        until = self._full_rate_until(outbox, stream, records, spans, late=late)
        indices = self._indices(stream, records, continues=continues)
        full = range(min(len(records), until - records.first_tick)) if until is not None else range(0)
        chosen = sorted({*indices, *full}) if full else indices
        self._ledger.changes.telemetry += rows.telemetry(
            outbox.key.vehicle, outbox.id, stream, records, chosen, late
        )
        first = minute_of(records.first_tick, stream.schema)
        minutes = outbox.minutes
        if minutes is None or minutes.stream_no != stream.stream_no:
            minutes = outbox.minutes = self._begun(outbox, stream, records.first_tick)
        if minutes.in_store and minutes.tick == first:
            self._forget(outbox, stream, first)
            minutes.in_store = False
        for summaries in minutes.take(records, surveyed.survey):
            self._write(outbox, stream, summaries)

    def forget(self, outbox: Outbox, stream: ActiveStream, ticks: range, claimed: Iterable[range]) -> None:
        """Rows and minutes of ticks that blocks claimed, and whose records come now. Of later ticks there are none."""
        self._drop(outbox, stream, ticks)
        for tick in self._minutes_of(stream, claimed):
            if tick + MINUTE_S * stream.schema.rate_hz > ticks.start:
                self._forget(outbox, stream, tick)
        outbox.minutes = None

    def replace(self, outbox: Outbox, stream: ActiveStream, records: Records, was: range) -> None:
        """A block that was stored for the ticks `was`, with other values or for others."""
        now = range(records.first_tick, records.end_tick)
        # One that began too early took the rows of those before it.
        early = was and 0 < now.start - was.start <= EARLY_MAX
        ticks = [range(was.start, max(was.stop, now.stop))] if early else [one for one in (was, now) if one]
        for one in ticks:
            self._drop(outbox, stream, one)
        self._replaced += ticks

    def write_replaced(self, outbox: Outbox, stream: ActiveStream) -> None:
        """Rows and minutes of all blocks that were replaced."""
        ranges, self._replaced = self._replaced, []
        if not ranges:
            return
        wanted = self._minutes_of(stream, ranges)
        for tick in wanted:
            self._forget(outbox, stream, tick)
        outbox.minutes = None
        minutes = Minutes(stream.schema, stream.stream_no)
        for records in stream.recent(self._ledger, outbox.id, min(wanted), None, all_of_it=True):
            indices = [
                index
                for index in self._indices(stream, records, continues=True)
                if any(records.first_tick + index in ticks for ticks in ranges)
            ]
            self._ledger.changes.telemetry_missing += rows.telemetry(
                outbox.key.vehicle, outbox.id, stream, records, indices, late=True
            )
            for summaries in minutes.take(records):
                self._put(outbox, stream, (one for one in summaries if one.tick in wanted))
        self._put(outbox, stream, (one for one in minutes.so_far() if one.tick in wanted))

    def write_minute(self, outbox: Outbox) -> bool:
        """The minute that is being filled, as far as it is. Whether there is one."""
        end_tick = outbox.progress.end_tick
        stream = outbox.wanted_stream(self._ledger) if end_tick is not None else None
        if stream is None or end_tick is None:
            return False
        minutes = outbox.minutes
        if minutes is None or minutes.stream_no != stream.stream_no:
            minutes = outbox.minutes = self._begun(outbox, stream, end_tick, all_of_it=True)
        self._write(outbox, stream, minutes.so_far())
        minutes.in_store = True
        return True

    def _drop(self, outbox: Outbox, stream: ActiveStream, ticks: range) -> None:
        place = {"of_outbox": outbox.id, "of_stream_no": stream.stream_no}
        self._ledger.changes.telemetry_gone.append(
            {**place, "of_first_tick": ticks.start, "of_end_tick": ticks.stop}
        )

    def _minutes_of(self, stream: ActiveStream, ranges: Iterable[range]) -> list[int]:
        size = MINUTE_S * stream.schema.rate_hz
        minutes = (range(minute_of(ticks.start, stream.schema), ticks.stop, size) for ticks in ranges)
        return sorted({tick for of_range in minutes for tick in of_range})

    def _indices(self, stream: ActiveStream, records: Records, *, continues: bool) -> list[int]:
        return first_of_steps(
            records, stream.schema.period_ns, stream.offset_ns, self._settings.step_ns, continues=continues
        )

    def _full_rate_until(
        self,
        outbox: Outbox,
        stream: ActiveStream,
        records: Records,
        spans: Sequence[FaultSpan],
        *,
        late: bool,
    ) -> int | None:
        """Tick before which every record of the stream is a row. Adds what lies before these records."""
        rate_hz, settings = stream.schema.rate_hz, self._settings
        before, after = round(settings.before_s * rate_hz), round(settings.after_s * rate_hz)
        stream_no, until = outbox.full_rate
        if until is not None and (stream_no != stream.stream_no or until - records.first_tick > after):
            until = None  # of another stream, whose ticks may count from another boot
        places = list(_places(spans, stream.stream_no, records)) if before + after else []
        if not places:
            return until
        first = min(places) - before
        if first < records.first_tick and (until is None or until < records.first_tick):
            self._add_before(outbox, stream, first, records.first_tick, late=late)
        end = max(places) + after + 1
        until = end if until is None else max(until, end)
        outbox.full_rate = stream.stream_no, until
        self._ledger.changes.full_rate[outbox.id] = {"of_id": outbox.id, "full_rate_until": until}
        return until

    def _add_before(
        self, outbox: Outbox, stream: ActiveStream, first: int, end_tick: int, *, late: bool
    ) -> None:
        for past in stream.recent(self._ledger, outbox.id, first, end_tick):
            indices = range(max(0, first - past.first_tick), len(past))
            self._ledger.changes.telemetry_missing += rows.telemetry(
                outbox.key.vehicle, outbox.id, stream, past, indices, late
            )

    def _begun(
        self, outbox: Outbox, stream: ActiveStream, end_tick: int, *, all_of_it: bool = False
    ) -> Minutes:
        """The minute that is being filled before this tick, of what is stored before it."""
        starts_here = not all_of_it and stream.description.facts.origin_tick >= end_tick
        end_seq = SEQ_MAX if all_of_it else stream.next_seq - 1
        own_end = None if starts_here else self._ledger.own_end(outbox.id, stream.stream_no, end_seq)
        minutes = Minutes(stream.schema, stream.stream_no, from_start=own_end is None)
        if own_end is not None:
            end_tick = min(end_tick, own_end)
            first = minute_of(end_tick - 1, stream.schema)
            for past in stream.recent(self._ledger, outbox.id, first, end_tick, all_of_it=all_of_it):
                at = min(len(past), max(0, first - past.first_tick))
                for _ in minutes.take(past.slice(at, len(past))):
                    pass  # all of it is of one minute
        return minutes

    def _write(self, outbox: Outbox, stream: ActiveStream, summaries: Sequence[Summary]) -> None:
        """A minute as it is now."""
        if summaries:
            self._forget(outbox, stream, summaries[0].tick)
        self._put(outbox, stream, summaries)

    def _forget(self, outbox: Outbox, stream: ActiveStream, tick: int) -> None:
        """What there may be of a minute, in the store or on its way there."""
        changes = self._ledger.changes
        changes.rollups_gone += rows.rollups_gone(outbox.key.vehicle, outbox.id, stream, tick)
        for name in stream.schema.names:
            changes.rollups.pop((outbox.id, stream.stream_no, tick, name), None)

    def _put(self, outbox: Outbox, stream: ActiveStream, summaries: Iterable[Summary]) -> None:
        for summary in summaries:
            place = outbox.id, stream.stream_no, summary.tick, summary.signal
            self._ledger.changes.rollups[place] = rows.rollup(outbox.key.vehicle, outbox.id, stream, summary)


def _places(spans: Iterable[FaultSpan], stream_no: int, records: Records) -> Iterable[int]:
    """Ticks of the stream at which a fault opened in these records, or is now known to have ended."""
    for span in spans:
        if span.stream_no == stream_no and span.detected_tick >= records.first_tick:
            yield span.detected_tick
        if span.last_tick is not None and span.last_stream_no == stream_no:
            yield span.last_tick
