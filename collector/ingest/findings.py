"""What is made of stored records: rows for readers, and what the analyses find in them.

Rules
- Each analysis takes the new records of one block, in their order, with the state that it left behind before, and leaves
  rows and a new state. All of it is written in the transaction that stores the block.
- Nothing of it is truth: it can be made again from the blocks.
- An analysis has its place in `take`, its state in a field of `Outbox`, and its rows in a list of `Changes`. What it needs of the
  records alone is surveyed before, for many blocks at once (`taken`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from collector import battery, diagnosis
from collector.battery.rows import estimate as estimate_row
from collector.detectors.detection import Detection
from collector.diagnosis import Stretch, is_condition, watch
from collector.diagnosis.rows import diagnosis as diagnosis_row
from collector.ingest import rows
from collector.ingest.materialised import Materialised
from collector.ingest.pager import CAME_OUT_WRONG
from collector.rules import evaluate, taken_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from codec.records import Records
    from codec.stream import DecodedBlock
    from collector.battery import Portion
    from collector.detectors.detection import Detectors
    from collector.detectors.episodes import Episode
    from collector.detectors.window import Firsts
    from collector.ingest.active import ActiveStream
    from collector.ingest.analyses import Analyses
    from collector.ingest.changes import Ledger
    from collector.ingest.materialise import Materialise
    from collector.ingest.outbox import Outbox
    from collector.ingest.pager import Pager
    from collector.ingest.taken import Surveyed
    from collector.rules import FaultSpan


class Findings:
    """Of one transaction. `detectors`: those in force."""

    def __init__(
        self,
        ledger: Ledger,
        detectors: Detectors,
        analyses: Analyses,
        pager: Pager,
        materialise: Materialise,
    ) -> None:
        self._ledger = ledger
        self._rows = Materialised(ledger, materialise)
        self._pager = pager
        self._detectors = detectors
        self._catalogue = analyses.catalogue

    def take(
        self, outbox: Outbox, stream: ActiveStream, surveyed: Surveyed, *, late: bool, continues: bool
    ) -> None:
        """Records that are new. `continues`: see `first_of_steps`."""
        records = surveyed.records
        spans = self._faults(outbox, stream, surveyed, late=late)
        of_rules = [span for span in spans if not is_condition(span.code)]
        self._rows.take(outbox, stream, surveyed, of_rules, late=late, continues=continues)
        episodes: list[Episode] = []
        if surveyed.firsts is not None:
            episodes = self._anomalies(outbox, stream, surveyed.firsts, late=late)
        self._diagnoses(outbox, stream, records, spans, episodes, late=late)
        if surveyed.portion is not None:
            self._battery(outbox, stream, surveyed.portion, late=late)

    def left(self, outbox: Outbox) -> bool:
        """The vehicle has left, or the wanted stream is over: nobody knows when there will be more. Whether that wrote rows."""
        return self._rows.write_minute(outbox)

    def replace(self, outbox: Outbox, stream: ActiveStream, decoded: DecodedBlock, was: range) -> None:
        """A block that was stored wrong: analyses have been over its wrong values, so what they found there becomes approximate.

        `was`: the ticks that it was stored for, which may be others.
        """
        outbox.rule_state = outbox.rule_state.without_tail()  # what it carries may be of that block
        records = decoded.records
        if outbox.rule_state.end == (stream.stream_no, was.stop) and records.end_tick < was.stop:
            self._take_back(outbox, stream.stream_no, records.end_tick)
        outbox.detection = None  # to be made again of what is stored now
        self._rows.replace(outbox, stream, records, was)
        first_tick = min(records.first_tick, was.start) if was else records.first_tick
        self.doubt(outbox, stream.stream_no, range(first_tick, max(records.end_tick, was.stop)))

    def overrun(
        self, outbox: Outbox, stream: ActiveStream, first_tick: int, claimed: Sequence[range]
    ) -> None:
        """Blocks claimed these ticks, and what comes now begins at `first_tick`, among them: one had fewer records than it said."""
        self._take_back(outbox, stream.stream_no, first_tick)
        outbox.detection = None
        ticks = range(first_tick, max(one.stop for one in claimed))
        self._rows.forget(outbox, stream, ticks, claimed)
        self.doubt(outbox, stream.stream_no, ticks)

    def _take_back(self, outbox: Outbox, stream_no: int, tick: int) -> None:
        gone, outbox.rule_state = taken_back(stream_no, tick, outbox.rule_state)
        for code, episode in gone:
            if not is_condition(code):
                self._pager.ended(outbox, code, episode, CAME_OUT_WRONG)

    def doubt(self, outbox: Outbox, stream_no: int, ticks: range) -> None:
        """What analyses found in this stretch becomes approximate."""
        place = {"of_outbox": outbox.id, "of_stream_no": stream_no}
        self._ledger.changes.faults_approximate.append(
            {**place, "of_first_tick": ticks.start, "of_end_tick": ticks.stop}
        )

    def replaced(self, outbox: Outbox, stream: ActiveStream) -> None:
        """All blocks that were stored wrong have been given."""
        self._rows.write_replaced(outbox, stream)

    def _faults(
        self, outbox: Outbox, stream: ActiveStream, surveyed: Surveyed, *, late: bool
    ) -> list[FaultSpan]:
        """What rules and conditions of signatures come to; faults are those of rules alone."""
        faults, spans = self._ledger.changes.faults, self._spans(outbox, stream, surveyed)
        of_rules = [span for span in spans if not is_condition(span.code)]
        for span in of_rules:
            row = rows.fault(
                outbox.id,
                outbox.key.vehicle,
                stream,
                span,
                late,
                lambda no, tick: outbox.wall_ns(no, tick, self._ledger),
                certain=outbox.is_certain(span.stream_no, self._ledger),
            )
            key = outbox.id, span.stream_no, span.first_tick, span.code
            if key in faults:  # as if that had been written before
                before = faults[key]
                row["late"] = before["late"]
                if row["evidence"] == rows.AS_BEFORE:
                    row["evidence"] = before["evidence"]
            faults[key] = row
        self._pager.go_on(outbox, of_rules)
        self._pager.found(outbox, of_rules, (stream.stream_no, surveyed.records.first_tick), late=late)
        return spans

    def _spans(self, outbox: Outbox, stream: ActiveStream, surveyed: Surveyed) -> list[FaultSpan]:
        """Records before these are read from the store where they are not here: for windows, and where a fault opens."""
        records, screened = surveyed.records, surveyed.screened
        bound, place = stream.bound, (stream.stream_no, records.first_tick)
        lacks = outbox.rule_state.end == place and outbox.rule_state.lacks_tail(bound)
        if lacks and outbox.rule_state.needs_tail(bound):
            outbox.recall(stream, self._ledger)
            lacks = False
        before = outbox.rule_state
        spans, outbox.rule_state = evaluate(bound, before, stream.stream_no, records, stream.exact, screened)
        if lacks and any(span.evidence for span in spans):
            outbox.rule_state = before
            outbox.recall(stream, self._ledger)
            spans, outbox.rule_state = evaluate(
                bound, outbox.rule_state, stream.stream_no, records, stream.exact, screened
            )
        return spans

    def _anomalies(
        self, outbox: Outbox, stream: ActiveStream, firsts: Firsts, *, late: bool
    ) -> list[Episode]:
        ended: list[Episode] = []
        detection = outbox.detection
        if detection is None or detection.stream_no != stream.stream_no:
            detection, ended = self._recalled(outbox, stream, firsts.tick)
            outbox.detection = detection
        episodes = [*ended, *detection.take_firsts(firsts)]
        if episodes:
            self._note(outbox, episodes, late=late)
        return episodes

    def _recalled(
        self, outbox: Outbox, stream: ActiveStream, first_tick: int
    ) -> tuple[Detection, list[Episode]]:
        """What the detectors knew before that tick: their open episodes, and the window of the stored records.

        And the episodes that do not go on, ended.
        """
        episodes = self._ledger.open_anomalies(outbox.id)
        going_on = [
            one
            for one in episodes
            if one.stream_no == stream.stream_no and one.detector in self._detectors.names
        ]
        detection = Detection(self._detectors, stream.schema, stream.stream_no, going_on)
        second = detection.first_second(first_tick)
        first = second * stream.schema.rate_hz
        for records in stream.recent(self._ledger, outbox.id, first, first_tick):
            detection.window.fill(records, second)
        return detection, [replace(one, ended=True) for one in episodes if one not in going_on]

    def _note(self, outbox: Outbox, episodes: Iterable[Episode], *, late: bool) -> None:
        for episode in episodes:
            row = rows.anomaly(
                outbox.id,
                outbox.key.vehicle,
                episode,
                self._detectors.settings.window_s,
                late,
                lambda no, tick: outbox.wall_ns(no, tick, self._ledger),
                certain=outbox.is_certain(episode.stream_no, self._ledger),
            )
            place = outbox.id, episode.stream_no, episode.first_tick, episode.detector, episode.signal
            self._ledger.changes.anomalies[place] = row

    def _diagnoses(
        self,
        outbox: Outbox,
        stream: ActiveStream,
        records: Records,
        spans: Sequence[FaultSpan],
        episodes: Sequence[Episode],
        *,
        late: bool,
    ) -> None:
        if not spans and not episodes and outbox.diagnosis.empty:
            return
        stretch = Stretch(
            stream.stream_no, stream.schema.period_ns, stream.offset_ns, records.first_tick, records.end_tick
        )
        events = watch.events(
            self._catalogue, outbox.diagnosis, (spans, episodes), outbox.rule_state, stretch
        )
        found, outbox.diagnosis = diagnosis.advance(
            self._catalogue, outbox.diagnosis, stretch, events, watch.told(stream.reading.sources, records)
        )
        for one in found:
            finding = one.finding
            signature = self._catalogue.signature(finding.code)
            assert signature is not None, "findings of other signatures were withdrawn"
            row = diagnosis_row(
                outbox.id,
                outbox.key.vehicle,
                signature,
                one,
                late,
                lambda no, tick: outbox.wall_ns(no, tick, self._ledger),
                certain=outbox.is_certain(finding.stream_no, self._ledger),
            )
            place = (outbox.id, finding.stream_no, finding.tick, finding.code)
            if place in self._ledger.changes.diagnoses:  # as if that had been written before
                row["late"] = self._ledger.changes.diagnoses[place]["late"]
            self._ledger.changes.diagnoses[place] = row

    def _battery(self, outbox: Outbox, stream: ActiveStream, portion: Portion, *, late: bool) -> None:
        def wall_ns(tick: int) -> int:
            return tick * stream.schema.period_ns + stream.offset_ns

        estimates, outbox.battery = battery.advance(
            stream.reading.battery, outbox.battery, stream.stream_no, portion, wall_ns
        )
        self._ledger.changes.battery += [
            estimate_row(outbox.id, outbox.key.vehicle, one, late, wall_ns, certain=stream.synchronised)
            for one in estimates
        ]
