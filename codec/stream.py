"""Streams: records in, blocks out, and back.

Rules
- Everything is a function of (schema, facts, guards, prior, records, keyframe yes or no). The same blocks come out on
  every machine, and their decoder ends in the same state as their encoder, to the bit.
- A keyframe resets all state; a block that is none builds on the one before it. Nothing else may come between.
- Every block proves itself: one byte of a digest over stream, seq, header, ticks, availability, counts and predictor
  state; the keyframe that follows carries four bytes of the digest of the whole group before it.
- A block that cannot be decoded changes nothing: the decoder works on copies and assigns them at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.block import AS_BEFORE, BLOCK_VERSION, Header, Keyframe, parse_header, render_header, with_digest
from codec.columns import code_columns, reset_state
from codec.digest import Digest
from codec.errors import DamagedBlock, UnknownBlock
from codec.guards import GuardSet, schema_intervals
from codec.layout import (
    BODY_BYTES_MIN,
    BODY_BYTES_PER_VALUE,
    CONTEXTS,
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
    new_workspace,
)
from codec.patterns import mark_changes
from codec.priors import Prior, built_in
from codec.range_coder import POSITION, SLACK_BYTES, STATUS, finish_encoding, start_decoding, start_encoding
from codec.records import Availability, Records
from codec.residuals import LAST, MODEL, ORDER, STATE_SIZE, WEIGHTS
from codec.schema import Kind, Schema, physical

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK_RECORDS_MAX = 4096  # 80 s at 50 Hz
BLOCK_VALUES_MAX = (
    400_000  # bounds what a reader allocates; at ten bytes each, the worst there is, below 4 MiB
)
GROUP_VALUES_MAX = 16_000_000  # from a keyframe to the next: what a reader that starts anew has to go through
TICK_MAX = 1 << 62  # ticks and their differences stay inside int64

__all__ = ["BLOCK_RECORDS_MAX", "BLOCK_VERSION", "GROUP_VALUES_MAX", "Clock", "DecodedBlock", "EncodedBlock", "Keyframe",
           "StreamDecoder", "StreamEncoder", "StreamFacts", "block_records_max", "is_keyframe"]  # fmt: skip


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


class _Coding:
    """What encoder and decoder have in common: the state that goes from block to block."""

    def __init__(self, schema: Schema, facts: StreamFacts, parameters: np.ndarray) -> None:
        self.schema = schema
        self.facts = facts
        self.parameters = parameters
        signals = len(schema.signals)
        self.contexts = np.zeros((signals, CONTEXTS, 3), np.uint16)
        self.states = np.zeros((signals, STATE_SIZE), np.int64)
        self.workspace = new_workspace(512)
        self.column_digests = np.zeros((signals, 2), np.uint64)
        self.digest = Digest(facts.stream_id, 0)
        self.end_tick = facts.origin_tick
        self.last_count = 0
        self.record_count = 0
        self.group_values = 0  # since the last keyframe, that included

    @property
    def group_digest(self) -> int:
        """u32 over everything since the last keyframe, that included."""
        return self.digest.value

    def restart(self, prior: Prior) -> None:
        self.contexts[:] = prior.contexts
        for state in self.states:
            reset_state(state)
        self.states[:, WEIGHTS : WEIGHTS + ORDER] = prior.weights

    def run(
        self, coder: np.ndarray, buffer: np.ndarray, records: Records, guards: np.ndarray, changes: np.ndarray
    ) -> None:
        if len(records) > self.workspace.records:
            self.workspace = new_workspace(len(records))
        space = self.workspace
        code_columns(
            coder, buffer, self.contexts, self.states, self.parameters, guards,
            records.counts, records.states, changes, len(records), space, self.column_digests,
        )  # fmt: skip


class StreamEncoder:
    """Encodes one stream. `next_seq` and `record_count` let a stream be finished that an earlier run began."""

    def __init__(
        self, schema: Schema, facts: StreamFacts, *, guards: GuardSet | None = None, prior: Prior | None = None,
        next_seq: int = 0, record_count: int = 0, previous_digest: int = 0, models: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.guards = guards or GuardSet()
        self._prior = prior or built_in()
        self._coding = _Coding(schema, facts, model_parameters(schema, models))
        self._coding.record_count = record_count
        self._coding.digest.value = previous_digest  # of the group before, which an earlier run encoded
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
        return self._coding.group_digest

    @property
    def contexts(self) -> np.ndarray:
        """uint16[m, CONTEXTS, 3] as they are after the last block; for training."""
        return self._coding.contexts

    @property
    def column_states(self) -> np.ndarray:
        """int64[m, STATE_SIZE] as they are after the last block; for training."""
        return self._coding.states

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
        if keyframe:
            coding.restart(self._prior)
            coding.digest = Digest(self.facts.stream_id, self.next_seq)
            coding.group_values = 0
        copy = Records(records.first_tick, records.counts.astype(np.int64, order="C"), records.states.copy())
        buffer = np.zeros(BODY_BYTES_MIN + BODY_BYTES_PER_VALUE * records.counts.size, np.uint8)
        coder = coding.workspace.coder
        start_encoding(coder)
        coding.run(coder, buffer, copy, self._intervals, self._changes(copy))
        size = int(finish_encoding(coder, buffer))
        assert coder[STATUS] == 0, int(coder[STATUS])
        head = render_header(header, 0)
        coding.digest.add(self.next_seq, records.first_tick, count, head, coding.column_digests)
        content = with_digest(head, coding.digest.byte) + buffer[:size].tobytes()
        coding.end_tick = records.end_tick
        coding.last_count = len(records)
        coding.record_count += count
        coding.group_values += copy.counts.size
        self._keyframe_due = False
        self.next_seq += 1
        models = tuple(MODEL_NAMES[k] for k in coding.states[:, MODEL].tolist())
        return EncodedBlock(
            self.next_seq - 1, content, keyframe, records.first_tick, count, coding.record_count, models
        )

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
                previous_digest=coding.group_digest if self.next_seq else 0,
                named=named,
                facts_offset_ns=facts.clock.offset_ns,
            ),
        )

    @property
    def _prior_hash(self) -> bytes:
        return b"" if self._prior is built_in() else self._prior.hash

    def _place_guards(self) -> None:
        parameters = self._coding.parameters
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

    def _changes(self, records: Records) -> np.ndarray:
        """uint8[n, m]: which values of pattern columns have to be sent."""
        changes = np.zeros(records.counts.shape, np.uint8)
        for column, intervals in self._physical_intervals.items():
            signal = self.schema.signals[column]
            rows = np.flatnonzero(records.states[:, column] == Availability.AVAILABLE)
            values = records.counts[rows, column]
            last = self._coding.states[column, LAST]
            marks = np.zeros(len(rows), np.uint8)
            mark_changes(
                values, physical(signal, values), len(rows), signal.threshold, intervals, 0, len(intervals),
                last, physical(signal, np.array([last]))[0], marks,
            )  # fmt: skip
            changes[rows, column] = marks
        return changes


class StreamDecoder:
    """Decodes one stream, from any of its keyframes on."""

    def __init__(
        self, schema: Schema, facts: StreamFacts, *, priors: Mapping[bytes, Prior] | None = None
    ) -> None:
        self._coding = _Coding(schema, facts, model_parameters(schema))
        self._priors = priors or {}
        self._next_seq: int | None = None
        self._no_guards = np.zeros((0, 2), np.int64)

    @property
    def group_digest(self) -> int:
        return self._coding.group_digest

    @property
    def end_tick(self) -> int:
        return self._coding.end_tick

    def decode(self, seq: int, content: bytes) -> DecodedBlock:
        """The records of block `seq`: the one after the last decoded, or a keyframe.

        Raises DamagedBlock for bytes that are no such block, UnknownBlock for a version or prior that is not here. The
        decoder is then as it was before.
        """
        coding, facts = self._coding, self._coding.facts
        header, digest_byte, body_at = parse_header(
            content, facts.clock.offset_ns, facts.guards_hash, facts.prior_hash
        )
        count = coding.last_count if header.record_count == AS_BEFORE else header.record_count
        keyframe = header.keyframe
        signals = len(coding.schema.signals)
        group_values = count * signals + (0 if keyframe else coding.group_values)
        if count > block_records_max(signals) or group_values > GROUP_VALUES_MAX:
            raise DamagedBlock(
                f"block {seq} claims {count} records of {signals} signals, more than are allowed"
            )
        prior = None
        if keyframe is None:
            if self._next_seq != seq:
                raise DamagedBlock(f"block {seq} builds on block {seq - 1}, which was not decoded before it")
            first_tick = coding.end_tick + header.start
        else:
            prior = built_in() if keyframe.prior_hash == b"" else self._priors.get(keyframe.prior_hash)
            if prior is None or prior.contexts.shape[0] not in (1, signals):
                raise UnknownBlock(
                    f"block {seq} starts from a prior that is not here", ("prior", keyframe.prior_hash)
                )
            first_tick = facts.origin_tick + header.start
        if not -TICK_MAX <= first_tick < TICK_MAX:
            raise DamagedBlock(f"block {seq} begins at tick {first_tick}, which no clock reaches")
        before = (coding.contexts.copy(), coding.states.copy(), coding.digest.copy())
        if prior is not None:
            coding.restart(prior)
            coding.digest = Digest(facts.stream_id, seq)
        try:
            records = self._body(content, body_at, first_tick, count)
            coding.digest.add(
                seq, first_tick, count, with_digest(content[:body_at], 0), coding.column_digests
            )
            if coding.digest.byte != digest_byte:
                raise DamagedBlock(f"block {seq} does not match its digest")
        except DamagedBlock:
            coding.contexts, coding.states, coding.digest = before
            raise
        coding.end_tick = records.end_tick
        coding.last_count = len(records)
        coding.group_values = group_values
        self._next_seq = seq + 1
        return DecodedBlock(seq, records, keyframe)

    def _body(self, content: bytes, body_at: int, first_tick: int, count: int) -> Records:
        coding = self._coding
        shape = (count, len(coding.schema.signals))
        records = Records(first_tick, np.zeros(shape, np.int64), np.zeros(shape, np.uint8))
        body = np.frombuffer(content, np.uint8)[body_at:].copy()
        coder = coding.workspace.coder
        start_decoding(coder, body)
        coding.run(coder, body, records, self._no_guards, records.states)
        if coder[STATUS] or coder[POSITION] > len(body) + SLACK_BYTES:
            raise DamagedBlock("a block that ends before its records do, or holds what no encoder writes")
        return records
