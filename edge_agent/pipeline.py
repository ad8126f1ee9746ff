"""The pipeline: sampled records in, commits out. One instance is one stream.

Rules
- It decides by ticks alone: the same records give the same blocks, however they are cut and whenever they come.
- A block ends when it is as long as mode and stretch say, when the next record is not the next tick, when a guard has crossed
  (see `crossings`), and where the next keyframe is due: no group is longer than the force-resync.
- Every `loss_max` records of the block being filled go to the journal, the stream's first at once. So at most
  `loss_max` records are nowhere but here.
- What it returns has to become durable in that order; it never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from codec.journal import pack_records
from codec.records import Records, concatenate
from codec.stream import BLOCK_RECORDS_MAX, Clock, StreamEncoder, StreamFacts, block_records_max
from edge_agent.crossings import Crossings
from edge_agent.rows import BatchRow, Commit, JournalRow, StreamEnd, StreamRow

if TYPE_CHECKING:
    from codec.guards import GuardSet
    from codec.priors import Prior
    from codec.schema import Schema


class Mode(Enum):
    """Who waits for blocks."""

    OFFLINE = "offline"
    ONLINE = "online"
    WATCHED = "watched"


@dataclass(frozen=True, slots=True)
class BlockTicks:
    """Lengths in records."""

    offline: int
    online: int
    watched: int
    keyframe: int
    loss_max: int

    @classmethod
    def of_seconds(
        cls,
        rate_hz: int,
        *,
        offline_s: float,
        online_s: float,
        watched_s: float,
        keyframe_s: float,
        loss_max_s: float,
    ) -> BlockTicks:
        lengths = (offline_s, online_s, watched_s, keyframe_s, loss_max_s)
        offline, online, watched, keyframe, loss_max = (
            max(1, int(seconds * rate_hz + 1e-9)) for seconds in lengths
        )
        most = BLOCK_RECORDS_MAX
        return cls(min(offline, most), min(online, most), min(watched, most), keyframe, min(loss_max, most))

    def of_mode(self, mode: Mode) -> int:
        return {Mode.OFFLINE: self.offline, Mode.ONLINE: self.online, Mode.WATCHED: self.watched}[mode]


@dataclass(frozen=True, slots=True)
class StreamName:
    """What a stream is called before it has records."""

    stream_no: int
    stream_id: bytes
    boot_id: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The latest record, for a heartbeat."""

    stream_no: int
    tick: int  # relative to the stream's origin
    record: bytes  # a keyframe block of its own
    guards_hash: bytes
    guard_states: bytes  # of that set; see `Crossings`
    guard_lasted: bytes


class Pipeline:
    """Fills, journals and encodes the blocks of one stream."""

    def __init__(
        self,
        schema: Schema,
        name: StreamName,
        ticks: BlockTicks,
        *,
        guards: GuardSet,
        prior: Prior | None = None,
        mode: Mode = Mode.OFFLINE,
        stretch: int = 1,
        side_log: bool = False,
    ) -> None:
        self.schema = schema
        self.name = name
        self.mode = mode
        self.stretch = stretch  # blocks are so many times as long as the mode says
        self.clock = Clock()  # as last told
        self.record_count = 0  # taken in
        self.encoded_count = 0  # in blocks
        self.block_bytes = 0
        self._ticks = ticks
        self._longest = block_records_max(len(schema.signals))
        self._guards = guards
        self._prior = prior  # None: the built-in one
        self._crossings = Crossings(schema, guards)
        self._side_log = side_log
        self._encoder: StreamEncoder | None = None
        self._filling: list[Records] = []  # consecutive
        self._filled = 0
        self._journaled = 0  # of the filling block, from its start
        self._crossed = False  # a guard, in the filling block
        self._group_seq = 0
        self._group_tick = 0
        self._keyframe_asked = False
        self._latest: Records | None = None

    @property
    def uncommitted(self) -> int:
        """Records that only this object holds."""
        return self._filled - self._journaled

    @property
    def room(self) -> int:
        """How many records it may be given before what it returns has to be written."""
        return max(1, self._ticks.loss_max - self.uncommitted)

    @property
    def begun(self) -> bool:
        return self._encoder is not None

    @property
    def guards(self) -> GuardSet:
        """The set in force from the next block on."""
        return self._guards

    @property
    def prior(self) -> Prior | None:
        """What keyframes start from; None: the built-in one."""
        return self._prior

    @property
    def prior_hash(self) -> bytes:
        """Of the prior that keyframes start from; empty: the built-in one."""
        return self._prior.hash if self._prior else b""

    @property
    def filling(self) -> Records | None:
        """The records of the block being filled."""
        return next(iter(concatenate(self._filling)), None)

    @property
    def end_tick(self) -> int | None:
        return self._latest.end_tick if self._latest else None

    def ask_keyframe(self) -> None:
        """The next block builds on none before it."""
        self._keyframe_asked = True

    def set_guards(self, guards: GuardSet) -> None:
        """In force from the next block. What crosses is judged anew."""
        if guards.hash == self._guards.hash:
            return
        self._guards = guards
        self._crossings = Crossings(self.schema, guards)

    def add(self, records: Records, clock: Clock) -> Commit:
        """Take consecutive records, later than all before. `clock` is what a keyframe would say of the time."""
        if len(records) == 0:
            return Commit()
        # What was stored before the clock was set gets its times from the first keyframe that knows better.
        self._keyframe_asked |= clock.synchronised and not self.clock.synchronised
        self.clock = clock
        commit = Commit()
        begins = self._encoder is None
        stream = self._begin(records.first_tick, clock) if begins else None
        if self._filled and self._latest and self._latest.end_tick != records.first_tick:
            commit = commit.then(self._close(clock))
        cuts = self._crossings.scan(records)
        done = 0
        while done < len(records):
            tick = records.first_tick + done
            room = self._block_room(tick)
            crossing = next((cut - tick + 1 for cut in cuts if cut >= tick), len(records) + 1)
            taken = min(room, crossing, len(records) - done)
            self._take(records.slice(done, done + taken))
            done += taken
            if taken == crossing:
                self._crossed = True
            if taken in (room, crossing):
                commit = commit.then(self._close(clock))
        if begins or self.uncommitted >= self._ticks.loss_max:
            commit = commit.then(self._journal())
        return commit if stream is None else Commit(stream=stream).then(commit)

    def flush(self, clock: Clock) -> Commit:
        """End the block being filled: the bus is silent, or the agent ends."""
        return self._close(clock) if self._filled else Commit()

    def snapshot(self) -> Snapshot | None:
        """Now, as far as it is sampled."""
        if self._encoder is None or self._latest is None:
            return None
        facts = self._encoder.facts
        encoder = StreamEncoder(self.schema, facts, guards=self._guards, prior=self._prior)
        block = encoder.encode(self._latest, clock=self.clock)
        relative = self._latest.first_tick - facts.origin_tick
        return Snapshot(
            facts.stream_no,
            relative,
            block.content,
            self._guards.hash,
            self._crossings.states(),
            self._crossings.lasted(),
        )

    def _begin(self, origin_tick: int, clock: Clock) -> StreamRow:
        name = self.name
        facts = StreamFacts(
            name.stream_id, name.stream_no, origin_tick, clock, self._guards.hash, self.prior_hash
        )
        self._encoder = StreamEncoder(self.schema, facts, guards=self._guards, prior=self._prior)
        return StreamRow(facts, name.boot_id, self.schema.hash)

    def _block_room(self, tick: int) -> int:
        """Records that the block may still take, the first of them at `tick`."""
        length = min(self._ticks.of_mode(self.mode) * self.stretch, self._longest) - self._filled
        first_tick = tick - self._filled
        if not self._keyframe_due(first_tick):
            length = min(length, self._group_tick + self._ticks.keyframe - tick)
        return max(1, length)

    def _keyframe_due(self, first_tick: int) -> bool:
        assert self._encoder is not None
        return (
            self._encoder.next_seq == 0
            or self._keyframe_asked
            or first_tick - self._group_tick >= self._ticks.keyframe
            or self._encoder.guards.hash != self._guards.hash
        )

    def _take(self, records: Records) -> None:
        if not self._filled:
            self._filling = []
        self._filling.append(records)
        self._filled += len(records)
        self.record_count += len(records)
        self._latest = records.slice(len(records) - 1, len(records))

    def _close(self, clock: Clock) -> Commit:
        assert self._encoder is not None
        (records,) = concatenate(self._filling)
        keyframe = self._keyframe_due(records.first_tick)
        self._encoder.set_guards(self._guards)
        block = self._encoder.encode(records, keyframe=keyframe, clock=clock if keyframe else None)
        if block.keyframe:
            self._group_seq, self._group_tick = block.seq, block.first_tick
        stream_no = self.name.stream_no
        batch = BatchRow(
            stream_no, block.seq, self._group_seq, block.first_tick, block.record_count, block.end_record,
            self._crossed, block.content,
        )  # fmt: skip
        end = StreamEnd(
            stream_no, self._encoder.next_seq, block.end_record, records.end_tick, self._encoder.group_digest,
            self._guards.hash,
        )  # fmt: skip
        side_log = self._side(records.slice(self._journaled, len(records)))
        self._filling, self._filled, self._journaled = [], 0, 0
        self._crossed = self._keyframe_asked = False
        self.encoded_count += len(records)
        self.block_bytes += len(block.content)
        return Commit(batches=(batch,), end=end, side_log=side_log)

    def _journal(self) -> Commit:
        if not self.uncommitted:
            return Commit()
        (records,) = concatenate(self._filling)
        fresh = records.slice(self._journaled, self._filled)
        row = JournalRow(self.name.stream_no, fresh.first_tick, len(fresh), pack_records(fresh))
        self._filling, self._journaled = [records], self._filled
        return Commit(journal=(row,), side_log=self._side(fresh))

    def _side(self, records: Records) -> tuple[tuple[int, bytes], ...]:
        return ((self.name.stream_no, pack_records(records)),) if self._side_log and len(records) else ()
