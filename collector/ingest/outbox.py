"""What the collector knows of one vehicle's outbox: the store's row, and what can be made of the store again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from codec.stream import Clock
from collector.ingest import rows
from collector.ingest.active import ActiveStream
from collector.ingest.changes import SavedOutbox
from collector.ingest.labels import corrected, relabelled
from collector.ingest.paging import Paging
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.stream import Keyframe
    from collector.detectors.detection import Detection
    from collector.ingest.changes import Ledger
    from collector.ingest.labels import Label
    from collector.ingest.minutes import Minutes
    from collector.ingest.paging import Place
    from collector.ingest.progress import Repair
    from collector.ingest.readings import OwnRules, Readings
    from collector.ingest.twins import Elsewhere
    from collector.items import Description, OutboxKey

TICK_MIN = -(1 << 62)  # before any
REVIEWS_MAX = 8  # asked for at once, with some kilobytes each; what was asked for before these stays doubtful


class Outbox:
    """State between two transactions. It is dropped, and loaded again, whenever one does not commit."""

    def __init__(self, key: OutboxKey, saved: SavedOutbox, readings: Readings) -> None:
        self.key = key
        self.id = saved.id
        self.revision = saved.revision
        self.progress = saved.progress
        self.rule_state = saved.rule_state
        self.battery = saved.battery
        self.diagnosis = saved.diagnosis
        self.descriptions: dict[int, Description] = {}  # by stream_no, of the wanted stream and the next one
        self.stream: ActiveStream | None = None  # the wanted one, once a batch of it came
        self._elsewhere: Elsewhere | None = None  # what others have of it, once that was asked
        self.repair: Repair | None = None  # of the wanted block
        self.reviews: deque[Repair] = deque(maxlen=REVIEWS_MAX)  # of groups that came out wrong
        self.priors_gone: set[bytes] = set()  # that the vehicle, when it was asked, had lost
        self.paging = Paging(saved.id)
        self.gap_end: Place = (0, TICK_MIN)  # of the last gap that the vehicle told of
        self._live: ActiveStream | None = None  # that heartbeats are of
        self.detection: Detection | None = (
            None  # of the stream of the last batch; none: to be made of the store
        )
        self.minutes: Minutes | None = None  # the same
        # Tick before which every record is a row, with the number of its stream.
        self.full_rate = saved.progress.wanted.stream_no, saved.full_rate_until
        self.model = saved.model
        self._readings = readings
        self.own: OwnRules = readings.own_rules(key.vehicle, self.model)

    @classmethod
    def load(cls, key: OutboxKey, ledger: Ledger, readings: Readings, now: str) -> Outbox:
        """From the store, made there where it is new."""
        outbox = cls(key, ledger.open_outbox(key, now), readings)
        outbox.paging = ledger.paging(outbox.id)
        wanted = outbox.progress.wanted
        if wanted.seq and outbox.progress.group_seq is None:
            tick = ledger.gap_end(outbox.id, wanted.stream_no, wanted.seq - 1)
            outbox.gap_end = wanted.stream_no, TICK_MIN if tick is None else tick
        outbox.learn(ledger)
        return outbox

    @property
    def signals(self) -> int:
        """Of what is in memory of its streams: what it costs goes by them."""
        return 1 if self.stream is None else len(self.stream.schema.signals)

    def saved(self) -> SavedOutbox:
        return SavedOutbox(
            self.id,
            self.revision,
            self.progress,
            self.rule_state,
            battery=self.battery,
            diagnosis=self.diagnosis,
        )

    @property
    def position(self) -> Place:
        """Everything before it is stored, or in a gap: (stream_no, tick)."""
        end_tick = self.progress.end_tick
        stored = self.progress.wanted.stream_no, TICK_MIN if end_tick is None else end_tick
        return max(stored, self.gap_end)

    def gap_end_of(self, stream_no: int) -> int:
        """Where the last gap of that stream ends that the vehicle told of."""
        return self.gap_end[1] if self.gap_end[0] == stream_no else TICK_MIN

    @property
    def asked_again(self) -> list[Repair]:
        return [*self.reviews, self.repair] if self.repair else list(self.reviews)

    def forget_repairs(self) -> None:
        """What an earlier conversation asked for will not come on this one."""
        self.repair = None
        self.reviews.clear()

    def learn(self, ledger: Ledger) -> None:
        """What is known of the wanted stream and the next one."""
        wanted = self.progress.wanted.stream_no
        self.forget_elsewhere()
        known = ((number, self.description(number, ledger)) for number in (wanted, wanted + 1))
        self.descriptions = {number: description for number, description in known if description is not None}

    def description(self, stream_no: int, ledger: Ledger) -> Description | None:
        """None where it was never described."""
        return self.descriptions.get(stream_no) or ledger.description(self.id, self.key, stream_no)

    def wanted_stream(self, ledger: Ledger) -> ActiveStream | None:
        """The stream whose next batch is wanted, as far as it is stored; None where it was never described."""
        if self.stream is None:
            self.stream = self.activate(self.progress.wanted.stream_no, ledger)
            if self.stream is not None:
                self.stream.rebuild(self.progress, ledger, self.id)
        return self.stream

    def elsewhere(self, ledger: Ledger) -> Elsewhere:
        """What other outboxes of the vehicle have of the wanted stream."""
        if self._elsewhere is None:
            described = self.descriptions.get(self.progress.wanted.stream_no)
            stream_id = described.facts.stream_id if described else b""
            self._elsewhere = ledger.elsewhere(self.id, self.key.vehicle, stream_id)
        return self._elsewhere

    def forget_elsewhere(self) -> None:
        """Another outbox has more of a stream than it had."""
        self._elsewhere = None

    def any_stream(self, stream_no: int, ledger: Ledger) -> ActiveStream | None:
        """A stream to read by its schema and label; None where it was never described."""
        here = self.stream
        return here if here is not None and here.stream_no == stream_no else self.activate(stream_no, ledger)

    def live_stream(self, stream_no: int, ledger: Ledger) -> ActiveStream | None:
        """The stream that heartbeats are of; it may lie far beyond the wanted one. None where it was never described."""
        if self._live is None or self._live.stream_no != stream_no:
            self._live = self.activate(stream_no, ledger)
        return self._live

    def activate(self, stream_no: int, ledger: Ledger) -> ActiveStream | None:
        """The stream with nothing of it decoded; None where it was never described, or its schema is damaged."""
        description = self.description(stream_no, ledger)
        if description is None:
            return None
        content = ledger.blob(pb.BLOB_KIND_SCHEMA, description.schema_hash)
        if content is None:
            return None
        reading = self._readings.of(self.own, content)
        return ActiveStream(description, reading, ledger.label(self.id, stream_no))

    def is_now(self, model: str) -> bool:
        """The vehicle says which model it is. Whether it is another than before: rules may read differently for it."""
        if not model or model == self.model:
            return False
        self.model = model
        self.own = self._readings.own_rules(self.key.vehicle, model)
        self.stream = self._live = None
        return True

    def recall(self, stream: ActiveStream, ledger: Ledger) -> None:
        """Give the rules the records before the end of their state, where it has them no longer: of the stored blocks."""
        state = self.rule_state
        assert state.end is not None
        end_tick = state.end[1]
        runs = list(stream.recent(ledger, self.id, end_tick - stream.bound.tail_ticks, end_tick))
        self.rule_state = state.with_tail(stream.bound, runs)

    def place_in_time(self, stream: ActiveStream, seq: int, keyframe: Keyframe, ledger: Ledger) -> None:
        """At each keyframe: put the times of a boot right, and of those before it that had none, once they are known."""
        offset_ns = keyframe.clock_offset_ns if keyframe.clock_synchronised else None
        asked = (
            seq > 0 and self.progress.group_seq is not None
        )  # an earlier one was placed by what its boot knows
        if stream.synchronised or (offset_ns is None and asked):
            return
        self._label(stream, relabelled(self._labels(stream, ledger), stream.stream_no, offset_ns), ledger)

    def _labels(self, stream: ActiveStream, ledger: Ledger) -> list[Label]:
        """Up to the newest stream, if it is of the same boot."""
        known = ledger.labels(self.id, max(stream.stream_no, self.progress.wanted.stream_no))
        if any(label.stream_no == stream.stream_no for label in known):
            return known
        return ledger.labels(self.id, stream.stream_no)

    def doubt_time(self, stream: ActiveStream, doubtful: Keyframe | None, ledger: Ledger) -> None:
        """Nobody knows whether what a stored keyframe said was right (None: it cannot be read): the others of its boot are asked.

        None of these says anything: the next one is asked, and times are uncertain until then.
        """
        if doubtful is None or not doubtful.clock_synchronised or not stream.synchronised:
            return
        right = Clock(stream.description.facts.clock.offset_ns, synchronised=False)
        labels = self._labels(stream, ledger)
        boot_id = next(label.boot_id for label in labels if label.stream_no == stream.stream_no)
        of_boot = [label.stream_no for label in labels if label.boot_id == boot_id]
        for stream_no, seq, content in ledger.sound_keyframes(self.id, of_boot):
            active = self.any_stream(stream_no, ledger)
            said = active.keyframe(seq, content, ledger) if active is not None else None
            if said is not None and said.clock_synchronised:
                right = Clock(said.clock_offset_ns)
                break
        self.correct_time(stream, doubtful, right, ledger)

    def correct_time(
        self, stream: ActiveStream, wrong: Keyframe | None, right: Clock, ledger: Ledger
    ) -> None:
        """A keyframe was stored wrong (None: it cannot be read now): put right what its time was taken for."""
        if wrong is not None and wrong.clock_synchronised and stream.synchronised:
            known = self._labels(stream, ledger)
            self._label(stream, corrected(known, stream.stream_no, wrong.clock_offset_ns, right), ledger)

    def _label(self, stream: ActiveStream, changed: Sequence[Label], ledger: Ledger) -> None:
        for label in changed:
            ledger.changes.stream_labels[self.id, label.stream_no] = rows.stream_label(self.id, label)
            if label.end_tick is not None and label.period_ns:
                ledger.changes.times.append(rows.times_of(self.id, label))
            for one in (stream, self.stream, self._live):
                if one is not None and label.stream_no == one.stream_no:
                    one.offset_ns, one.synchronised = label.offset_ns, label.synchronised

    def is_certain(self, stream_no: int, ledger: Ledger) -> bool:
        """Whether the wall times of a stored stream are."""
        active = self.any_stream(stream_no, ledger)
        return active is not None and active.synchronised

    def wall_ns(self, stream_no: int, tick: int, ledger: Ledger) -> int:
        """Wall time of a tick of a stored stream. Where its schema or its row is damaged, by the ticks of the stream that is wanted."""
        active = self.any_stream(stream_no, ledger)
        if active is not None:
            return tick * active.schema.period_ns + active.offset_ns
        wanted = self.activate(self.progress.wanted.stream_no, ledger)
        period_ns = 0 if wanted is None else wanted.schema.period_ns
        return tick * period_ns + ledger.label(self.id, stream_no)[0]
