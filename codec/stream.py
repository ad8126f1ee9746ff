"""Streams: records in, blocks out, and back.

Rules
- Everything is a function of (schema, facts, guards, prior, records, keyframe yes or no). The same blocks come out on
  every machine, and their decoder ends in the same state as their encoder, to the bit.
- A keyframe resets all state; a block that is none builds on the one before it. Nothing else may come between.
- Every block proves itself: one byte of a digest over stream, seq, header, ticks, availability, counts and predictor
  state; the keyframe that follows carries four bytes of the digest of the whole group before it.
- A block that cannot be decoded changes nothing: what a stream remembers is replaced at the end, never written to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from codec.block import AS_BEFORE, BLOCK_VERSION, Header, Keyframe, render_header, with_digest
from codec.columns import encode_columns
from codec.digest import after_block, group_start
from codec.guards import GuardSet, schema_intervals
from codec.layout import (
    BODY_BYTES_MIN,
    BODY_BYTES_PER_VALUE,
    ERROR_MAX,
    FORCED,
    GRID,
    GUARD_START,
    GUARD_STOP,
    KIND,
    MODEL_NAMES,
    PARAMETERS,
    PATTERN,
    SCALED,
    STEP,
    TURN,
    Start,
    column_states,
    contexts_of,
    give_back,
    take_workspace,
)
from codec.patterns import mark_changes
from codec.priors import Prior, built_in
from codec.range_coder import SIZE, STATUS_TOO_LARGE
from codec.records import Availability, Records
from codec.residuals import LAST, MODEL
from codec.schema import SCALED_BITS_MAX, Kind, Schema, physical

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK_RECORDS_MAX = 4096  # 80 s at 50 Hz
BLOCK_VALUES_MAX = (
    400_000  # bounds what a reader allocates; at ten bytes each, the worst there is, below 4 MiB
)
GROUP_VALUES_MAX = 16_000_000  # from a keyframe to the next: what a reader that starts anew has to go through
TICK_MAX = 1 << 62  # ticks and their differences stay inside int64

__all__ = ["BLOCK_RECORDS_MAX", "BLOCK_VERSION", "GROUP_VALUES_MAX", "Clock", "DecodedBlock", "EncodedBlock", "Keyframe",
           "StreamEncoder", "StreamFacts", "block_records_max", "is_keyframe"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clock:
    """What the wall clock showed: wall_ns = tick * period_ns + offset_ns."""

    offset_ns: int = 0
    synchronised: bool = True


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What both sides know of a stream before its first block."""

    stream_id: bytes
    stream_no: int
    origin_tick: int
    clock: Clock = Clock()
    guards_hash: bytes = b""
    prior_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    seq: int
    content: bytes
    keyframe: bool
    first_tick: int
    record_count: int
    end_record: int  # records of the stream up to the end of this block
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodedBlock:
    seq: int
    records: Records
    keyframe: Keyframe | None


def block_records_max(signal_count: int) -> int:
    """How many records a block of so many signals holds at most."""
    return max(1, min(BLOCK_RECORDS_MAX, BLOCK_VALUES_MAX // max(signal_count, 1)))


NOTHING = np.empty(0, np.int64)  # what a stream remembers before a keyframe


def is_keyframe(content: bytes) -> bool:
    """Whether a block can be decoded with no state before it. False for what is no block."""
    return bool(content) and content[0] & 0x1F == (BLOCK_VERSION | 0x10)


def model_parameters(schema: Schema, models: Mapping[str, str] | None = None) -> np.ndarray:
    """int64[m, PARAMETERS] without guards. `models` forces a model (see MODEL_NAMES) on a signal by name."""
    table = np.zeros((len(schema.signals), PARAMETERS), np.int64)
    for row, signal in zip(table, schema.signals, strict=True):
        row[KIND] = SCALED if signal.kind is Kind.SCALED else PATTERN
        row[ERROR_MAX] = signal.max_error_counts
        row[STEP] = signal.step_counts
        row[GRID] = max(1, signal.step_counts // 3)
        row[TURN] = signal.turn_counts
        row[FORCED] = MODEL_NAMES.index(models[signal.name]) if models and signal.name in models else -1
    return table


class Coding:
    """What encoder and decoder have in common: the state that goes from block to block."""

    __slots__ = ("digest", "end_tick", "facts", "group_values", "last_count", "memory", "prior", "record_count",
                 "schema", "start")  # fmt: skip

    def __init__(self, schema: Schema, facts: StreamFacts, start: Start) -> None:
        self.schema = schema
        self.facts = facts
        self.prior = built_in()  # that the group starts from
        self.start = start  # of that prior
        self.memory = NOTHING  # see columns.py
        self.digest = 0  # u32 over everything since the last keyframe, that included
        self.end_tick = facts.origin_tick
        self.last_count = 0
        self.record_count = 0
        self.group_values = 0  # since the last keyframe, that included


class StreamEncoder:
    """Encodes one stream. `next_seq` and `record_count` let a stream be finished that an earlier run began."""

    def __init__(
        self, schema: Schema, facts: StreamFacts, *, guards: GuardSet | None = None, prior: Prior | None = None,
        next_seq: int = 0, record_count: int = 0, previous_digest: int = 0, models: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.guards = guards or GuardSet()
        self._prior = prior or built_in()
        self._coding = Coding(schema, facts, start_of(built_in(), model_parameters(schema, models)))
        self._coding.record_count = record_count
        self._coding.digest = previous_digest  # of the group before, which an earlier run encoded
        self._clock = facts.clock
        self._keyframe_due = True
        self.next_seq = next_seq
        self._place_guards()

    @property
    def schema(self) -> Schema:
        return self._coding.schema

    @property
    def facts(self) -> StreamFacts:
        return self._coding.facts

    @property
    def record_count(self) -> int:
        return self._coding.record_count

    @property
    def group_digest(self) -> int:
        return self._coding.digest

    @property
    def prior(self) -> Prior:
        """What the last keyframe started from; for training."""
        return self._coding.prior

    @property
    def contexts(self) -> np.ndarray:
        """uint16[m, CONTEXTS, 3] as they are after the last block; for training."""
        return contexts_of(self._coding.memory, self._coding.prior.cells, len(self.schema.signals))

    @property
    def column_states(self) -> np.ndarray:
        """int64[m, STATE_SIZE] as they are after the last block; for training."""
        return column_states(self._coding.memory, len(self.schema.signals))

    def set_guards(self, guards: GuardSet) -> None:
        """In force from the next block, which becomes a keyframe that names them."""
        if guards.hash != self.guards.hash:
            self.guards = guards
            self._keyframe_due = True
            self._place_guards()

    def set_prior(self, prior: Prior) -> None:
        """Keyframes start from it from the next block on, which becomes one."""
        if prior.hash != self._prior.hash:
            self._prior = prior
            self._keyframe_due = True

    def encode(self, records: Records, *, keyframe: bool = False, clock: Clock | None = None) -> EncodedBlock:
        """The next block of the stream. `records`: 1 to `block_records_max`, later than those before.

        After the call the encoder's state is the decoder's after the same block.
        """
        count = len(records)
        coding = self._coding
        assert 1 <= count <= block_records_max(len(self.schema.signals)), count
        assert records.first_tick >= coding.end_tick, (records.first_tick, coding.end_tick)
        self._clock = clock or self._clock
        group_is_full = coding.group_values + records.counts.size > GROUP_VALUES_MAX
        keyframe = keyframe or self._keyframe_due or group_is_full
        header = self._header(records, keyframe=keyframe)
        head = render_header(header, 0)
        prior, memory = (self._prior, NOTHING) if keyframe else (coding.prior, coding.memory)
        start = coding.start if prior is coding.prior else start_of(prior, coding.start.parameters)
        counts, states = records.counts.T.astype(np.int64, order="C"), records.states.T.copy()
        space = take_workspace(count, len(counts), BODY_BYTES_MIN + BODY_BYTES_PER_VALUE * counts.size)
        changes = self._changes(counts, states, memory)
        filled = encode_columns(start, memory, self._intervals, counts, states, changes, space)
        if filled < 0:
            self._refuse(records, -filled)
        before = group_start(self.facts.stream_id, self.next_seq) if keyframe else coding.digest
        digests = space.digests[: len(counts)]
        coding.digest = after_block(before, self.next_seq, records.first_tick, count, head, digests)
        content = with_digest(head, coding.digest & 0xFF) + space.buffer[: space.coder[SIZE]].tobytes()
        coding.prior, coding.start = prior, start
        coding.memory = space.memory[:filled].copy()
        give_back(space)
        coding.end_tick = records.end_tick
        coding.last_count = count
        coding.record_count += count
        coding.group_values = counts.size + (0 if keyframe else coding.group_values)
        self._keyframe_due = False
        self.next_seq += 1
        models = tuple(MODEL_NAMES[k] for k in self.column_states[:, MODEL].tolist())
        return EncodedBlock(
            self.next_seq - 1, content, keyframe, records.first_tick, count, coding.record_count, models
        )

    def _refuse(self, records: Records, status: int) -> NoReturn:
        assert status == STATUS_TOO_LARGE, status
        limit = 1 << SCALED_BITS_MAX
        for signal, counts in zip(self.schema.signals, records.counts.T, strict=True):
            if signal.kind is Kind.SCALED and (counts.max() > limit or counts.min() < -limit):
                raise ValueError(
                    f"signal {signal.name}: counts of more than {SCALED_BITS_MAX} bits; give it a wide kind, or clip them"
                )
        raise AssertionError(status)

    def _header(self, records: Records, *, keyframe: bool) -> Header:
        coding, facts = self._coding, self.facts
        if not keyframe:
            count = AS_BEFORE if len(records) == coding.last_count else len(records)
            return Header(records.first_tick - coding.end_tick, count, None)
        named = self.guards.hash != facts.guards_hash or self._prior_hash != facts.prior_hash
        return Header(
            records.first_tick - facts.origin_tick,
            len(records),
            Keyframe(
                clock_offset_ns=self._clock.offset_ns,
                clock_synchronised=self._clock.synchronised,
                guards_hash=self.guards.hash,
                prior_hash=self._prior_hash,
                first_record=coding.record_count,
                previous_digest=coding.digest if self.next_seq else 0,
                named=named,
                facts_offset_ns=facts.clock.offset_ns,
            ),
        )

    @property
    def _prior_hash(self) -> bytes:
        # By its name: threads that ask for the built-in one at the same moment may each have their own.
        return b"" if self._prior.hash == built_in().hash else self._prior.hash

    def _place_guards(self) -> None:
        parameters = self._coding.start.parameters
        rows: list[tuple[int, int]] = []
        self._physical_intervals: dict[int, np.ndarray] = {}
        for column, intervals in enumerate(schema_intervals(self.schema, self.guards)):
            parameters[column, GUARD_START] = len(rows)
            if self.schema.signals[column].kind is Kind.SCALED:
                rows.extend((int(i.low), int(i.high)) for i in intervals)
            else:
                bounds = np.array([(i.low, i.high) for i in intervals], np.float64)
                self._physical_intervals[column] = bounds.reshape(-1, 2)
            parameters[column, GUARD_STOP] = len(rows)
        self._intervals = np.array(rows, np.int64).reshape(-1, 2)

    def _changes(self, counts: np.ndarray, states: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """uint8[m, n]: which values of pattern columns have to be sent."""
        held = column_states(memory, len(counts))[:, LAST]
        changes = np.zeros(counts.shape, np.uint8)
        for column, intervals in self._physical_intervals.items():
            signal = self.schema.signals[column]
            rows = np.flatnonzero(states[column] == Availability.AVAILABLE)
            values = counts[column, rows]
            last = held[column]
            marks = np.zeros(len(rows), np.uint8)
            mark_changes(
                values, physical(signal, values), len(rows), signal.threshold, intervals, 0, len(intervals),
                last, physical(signal, np.array([last]))[0], marks,
            )  # fmt: skip
            changes[column, rows] = marks
        return changes


def start_of(prior: Prior, parameters: np.ndarray) -> Start:
    return Start(prior.cells, prior.weights, parameters)
