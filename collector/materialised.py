"""Rows of records and minutes, as blocks come, are replaced, and end.

Rules
- Rows: so many a second, and every record from some seconds before a fault opens or ends until some after. Those before are read
  from the stored blocks, where some may be rows already.
- Minutes (see `minutes`): whatever was stored wrong is made again of all that is stored, in the same transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import rows
from collector.materialise import first_of_steps
from collector.minutes import MINUTE_S, Minutes, minute_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from codec.records import Records
    from collector.active import ActiveStream
    from collector.changes import Ledger
    from collector.materialise import Materialise
    from collector.minutes import Summary
    from collector.outbox import Outbox
    from collector.rules import FaultSpan
    from collector.taken import Surveyed


class Materialised:
    """Of one transaction."""

    def __init__(self, ledger: Ledger, settings: Materialise) -> None:
        self._ledger = ledger
        self._settings = settings
        self._replaced: set[int] = set()  # minutes of which something was stored wrong

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
        minutes = outbox.minutes
        if minutes is None or minutes.stream_no != stream.stream_no:
            minutes = outbox.minutes = self._begun(outbox, stream, records.first_tick)
        if not minutes.is_new and minutes.tick == minute_of(records.first_tick, stream.schema):
            self._forget(outbox, stream, minute_of(records.first_tick, stream.schema))
            minutes.is_new = True
        for summaries, is_new in minutes.take(records, surveyed.survey):
            self._write(outbox, stream, summaries, is_new=is_new)

    def replace(self, outbox: Outbox, stream: ActiveStream, records: Records, was: range) -> None:
        """A block that was stored for the ticks `was`, with other values or for others. Its rows are gone already."""
        indices = self._indices(stream, records, continues=True)
        self._ledger.changes.telemetry += rows.telemetry(
            outbox.key.vehicle, outbox.id, stream, records, indices, late=True
        )
        for ticks in (was, range(records.first_tick, records.end_tick)):
            first = minute_of(ticks.start, stream.schema)
            self._replaced.update(range(first, ticks.stop, MINUTE_S * stream.schema.rate_hz))

    def write_replaced(self, outbox: Outbox, stream: ActiveStream) -> None:
        """The minutes of all blocks that were replaced."""
        if not self._replaced:
            return
        for tick in sorted(self._replaced):
            self._forget(outbox, stream, tick)
        minutes = Minutes(stream.schema, stream.stream_no)
        ended = [
            summary
            for records in stream.recent(self._ledger, outbox.id, min(self._replaced), all_of_it=True)
            for summaries, _ in minutes.take(records)
            for summary in summaries
        ]
        self._put(outbox, stream, [one for one in (*ended, *minutes.so_far()) if one.tick in self._replaced])
        self._replaced.clear()
        outbox.minutes = None

    def write_minute(self, outbox: Outbox) -> bool:
        """The minute that is being filled, as far as it is. Whether there is one."""
        end_tick = outbox.progress.end_tick
        stream = outbox.wanted_stream(self._ledger) if end_tick is not None else None
        if stream is None or end_tick is None:
            return False
        minutes = outbox.minutes
        if minutes is None or minutes.stream_no != stream.stream_no:
            minutes = outbox.minutes = self._begun(outbox, stream, end_tick - 1, all_of_it=True)
        self._write(outbox, stream, minutes.so_far(), is_new=minutes.is_new)
        minutes.is_new = False
        return True

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
            self._add_before(outbox, stream, first, late=late)
        end = max(places) + after + 1
        until = end if until is None else max(until, end)
        outbox.full_rate = stream.stream_no, until
        self._ledger.changes.full_rate[outbox.id] = {"of_id": outbox.id, "full_rate_until": until}
        return until

    def _add_before(self, outbox: Outbox, stream: ActiveStream, first: int, *, late: bool) -> None:
        for past in stream.recent(self._ledger, outbox.id, first):
            indices = range(max(0, first - past.first_tick), len(past))
            self._ledger.changes.telemetry_before += rows.telemetry(
                outbox.key.vehicle, outbox.id, stream, past, indices, late
            )

    def _begun(self, outbox: Outbox, stream: ActiveStream, tick: int, *, all_of_it: bool = False) -> Minutes:
        """The minute of this tick, of what is stored before it."""
        first = minute_of(tick, stream.schema)
        starts_here = not all_of_it and stream.description.facts.origin_tick >= tick
        minutes = Minutes(stream.schema, stream.stream_no, from_start=starts_here)
        if not starts_here:
            for past in stream.recent(self._ledger, outbox.id, first, all_of_it=all_of_it):
                at = max(0, first - past.first_tick)
                for _ in minutes.take(past.slice(at, len(past)) if at < len(past) else past.slice(0, 0)):
                    pass  # of a later minute there is nothing yet
        return minutes

    def _write(
        self, outbox: Outbox, stream: ActiveStream, summaries: Sequence[Summary], *, is_new: bool
    ) -> None:
        if summaries and not is_new:
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
