"""Blocks in, records out. Rules of `codec.stream`.

A block that cannot be decoded changes nothing: what a stream remembers is replaced at the end, never written to.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec.block import AS_BEFORE, Keyframe, parse_header, with_digest
from codec.columns import decode_columns, decode_together
from codec.digest import after_block, group_start
from codec.errors import CodecError, DamagedBlock, UnknownBlock
from codec.layout import Start, column_states, contexts_of, give_back, take_workspace
from codec.priors import Prior, built_in
from codec.records import Records
from codec.stream import (
    GROUP_VALUES_MAX,
    NOTHING,
    TICK_MAX,
    Coding,
    DecodedBlock,
    StreamFacts,
    block_records_max,
    model_parameters,
    start_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codec.schema import Schema

TOGETHER_VALUES_MAX = 1 << 20  # what one call of a kernel decodes: some megabytes


@lru_cache(256)
def _reader_start(schema: Schema, prior: Prior) -> Start:
    """One for all streams of a schema: a fleet's blocks can be decoded together."""
    return start_of(prior, model_parameters(schema))


class Opened(NamedTuple):
    """A block whose header was read."""

    seq: int
    content: bytes
    body_at: int
    records: int
    first_tick: int
    keyframe: Keyframe | None
    prior: Prior
    start: Start
    memory: np.ndarray  # that it builds on


def _none(_name: bytes) -> None:
    """No prior but the built-in one."""


class Together(NamedTuple):
    """Blocks of one schema and of n records each, as one call of a kernel has decoded them: they lie side by side."""

    at: list[int]  # their places among all; what those hold that were damaged means nothing
    counts: np.ndarray  # int64[b, m, n]
    states: np.ndarray  # uint8[b, m, n]


class StreamDecoder:
    """Decodes one stream, from any of its keyframes on."""

    def __init__(
        self, schema: Schema, facts: StreamFacts, *, find_prior: Callable[[bytes], Prior | None] = _none
    ) -> None:
        """`find_prior` finds the prior of a name, None where it is not here; it may raise DamagedBlock."""
        self._coding = Coding(schema, facts, _reader_start(schema, built_in()))
        self._records_max = block_records_max(len(schema.signals))
        self._find_prior = find_prior
        self._next_seq: int | None = None

    @property
    def group_digest(self) -> int:
        return self._coding.digest

    @property
    def end_tick(self) -> int:
        return self._coding.end_tick

    @property
    def prior(self) -> Prior:
        """What the last keyframe started from; for training, as the next two."""
        return self._coding.prior

    @property
    def contexts(self) -> np.ndarray:
        return contexts_of(self._coding.memory, self._coding.prior.cells, len(self._coding.schema.signals))

    @property
    def column_states(self) -> np.ndarray:
        return column_states(self._coding.memory, len(self._coding.schema.signals))

    def decode(self, seq: int, content: bytes) -> DecodedBlock:
        """The records of block `seq`: the one after the last decoded, or a keyframe.

        Raises DamagedBlock for bytes that are no such block, UnknownBlock for a version or prior that is not here. The
        decoder is then as it was before.
        """
        return self.read(self.open(seq, content))

    def read(self, opened: Opened) -> DecodedBlock:
        """The records of the block that was opened last. Raises DamagedBlock, as `decode`."""
        content = opened.content
        signals, size = len(opened.start.parameters), len(content) - opened.body_at
        counts, states = (
            np.empty((signals, opened.records), np.int64),
            np.empty((signals, opened.records), np.uint8),
        )
        space = take_workspace(opened.records, signals, size)
        space.buffer[:size] = np.frombuffer(content, np.uint8)[opened.body_at :]
        filled = decode_columns(opened.start, opened.memory, counts, states, size, space)
        digests, remembered = space.digests[:signals].copy(), space.memory[: max(filled, 0)].copy()
        give_back(space)
        if filled < 0:
            raise _damaged(opened)
        return self.close(opened, counts, states, digests, remembered)

    def open(self, seq: int, content: bytes) -> Opened:
        """What a block's header says. Raises as `decode`."""
        coding, facts = self._coding, self._coding.facts
        header, _, body_at = parse_header(content, facts.clock.offset_ns, facts.guards_hash, facts.prior_hash)
        count = coding.last_count if header.record_count == AS_BEFORE else header.record_count
        keyframe = header.keyframe
        signals = len(coding.schema.signals)
        group_values = count * signals + (0 if keyframe else coding.group_values)
        if count > self._records_max or group_values > GROUP_VALUES_MAX:
            raise DamagedBlock(
                f"block {seq} claims {count} records of {signals} signals, more than are allowed"
            )
        prior, start, memory = coding.prior, coding.start, coding.memory
        if keyframe is None:
            if self._next_seq != seq:
                raise DamagedBlock(f"block {seq} builds on block {seq - 1}, which was not decoded before it")
            first_tick = coding.end_tick + header.start
        else:
            prior, memory = self._prior_of(seq, keyframe.prior_hash), NOTHING
            start = start if prior is coding.prior else _reader_start(coding.schema, prior)
            first_tick = facts.origin_tick + header.start
        if not -TICK_MAX <= first_tick < TICK_MAX:
            raise DamagedBlock(f"block {seq} begins at tick {first_tick}, which no clock reaches")
        return Opened(seq, content, body_at, count, first_tick, keyframe, prior, start, memory)

    def close(
        self, opened: Opened, counts: np.ndarray, states: np.ndarray, digests: np.ndarray, memory: np.ndarray
    ) -> DecodedBlock:
        """What was read of the body of the block last opened: counts int64[m, n], states uint8[m, n], digests uint64[m, 2], and
        what the stream remembers of it. Raises DamagedBlock where it is not what was written.
        """
        coding, seq, content = self._coding, opened.seq, opened.content
        before = coding.digest if opened.keyframe is None else group_start(coding.facts.stream_id, seq)
        head = with_digest(content[: opened.body_at], 0)
        digest = after_block(before, seq, opened.first_tick, opened.records, head, digests)
        if digest & 0xFF != content[1]:
            raise DamagedBlock(f"block {seq} does not match its digest")
        coding.prior, coding.start, coding.memory = opened.prior, opened.start, memory
        coding.digest = digest
        coding.end_tick = opened.first_tick + opened.records
        coding.last_count = opened.records
        coding.group_values = counts.size + (coding.group_values if opened.keyframe is None else 0)
        self._next_seq = seq + 1
        return DecodedBlock(seq, Records(opened.first_tick, counts.T, states.T), opened.keyframe)

    def _prior_of(self, seq: int, name: bytes) -> Prior:
        found = built_in() if name == b"" else self._find_prior(name)
        if found is None:
            raise UnknownBlock(f"block {seq} starts from a prior that is not here", ("prior", name))
        if found.contexts.shape[0] not in (1, len(self._coding.schema.signals)):
            raise DamagedBlock(f"block {seq} starts from a prior of another schema")
        return found


def decode_all(jobs: Sequence[tuple[StreamDecoder, int, bytes]]) -> list[DecodedBlock | CodecError]:
    """A block of each of many streams: what `decode` of each returns, or would raise.

    Each decoder occurs once. Those of one schema, prior and record count go through one call of a kernel, which saves most of
    what is not decoding.
    """
    found: list[DecodedBlock | CodecError | None] = [None] * len(jobs)
    opened: list[tuple[StreamDecoder, Opened]] = []
    places: list[int] = []
    for at, (decoder, seq, content) in enumerate(jobs):
        try:
            opened.append((decoder, decoder.open(seq, content)))
            places.append(at)
        except CodecError as error:
            found[at] = error
    for at, one in zip(places, decode_opened(opened)[0], strict=True):
        found[at] = one
    assert None not in found
    return found  # type: ignore[return-value]


def decode_opened(
    jobs: Sequence[tuple[StreamDecoder, Opened]],
) -> tuple[list[DecodedBlock | DamagedBlock], list[Together]]:
    """Blocks that were opened, each the last of its decoder: what `decode` returns or would raise, and how they lie together."""
    found: list[DecodedBlock | DamagedBlock | None] = [None] * len(jobs)
    together: list[Together] = []
    alike: dict[tuple[int, int], list[tuple[int, StreamDecoder, Opened]]] = {}
    for at, (decoder, opened) in enumerate(jobs):
        alike.setdefault((id(opened.start), opened.records), []).append((at, decoder, opened))
    for group in alike.values():
        size = max(1, TOGETHER_VALUES_MAX // (group[0][2].records * len(group[0][2].start.parameters)))
        parts = (group[first : first + size] for first in range(0, len(group), size))
        together += [_decode_alike(part, found) for part in parts]
    assert None not in found
    return found, together  # type: ignore[return-value]


def _decode_alike(
    group: list[tuple[int, StreamDecoder, Opened]], found: list[DecodedBlock | DamagedBlock | None]
) -> Together:
    """Blocks of as many streams of one schema and prior, of as many records each, into `found`."""
    start, records = group[0][2].start, group[0][2].records
    signals = len(start.parameters)
    counts = np.empty((len(group) * signals, records), np.int64)
    states, digests = np.empty(counts.shape, np.uint8), np.empty((len(counts), 2), np.uint64)
    # Writable, as numba has it for one code that writes and reads.
    bodies = np.frombuffer(bytearray().join([opened.content for _, _, opened in group]), np.uint8)
    memory = np.concatenate([opened.memory for _, _, opened in group])
    blocks = _places([opened for _, _, opened in group])
    space = take_workspace(records, signals, 0)
    done = 0
    while done < len(group):
        rows = slice(done * signals, None)
        read = decode_together(
            start, blocks[done:], bodies, memory, counts[rows], states[rows], digests[rows], space
        )
        kept = 0
        for at, decoder, opened in group[done : done + read]:
            own, end = slice(done * signals, (done + 1) * signals), int(blocks[done, 4])
            done += 1
            if end < 0:
                found[at] = _damaged(opened)
                continue
            remembered, kept = space.memory[kept:end].copy(), end
            try:
                found[at] = decoder.close(opened, counts[own], states[own], digests[own], remembered)
            except DamagedBlock as error:
                found[at] = error
    give_back(space)
    shape = len(group), signals, records
    return Together([at for at, _, _ in group], counts.reshape(shape), states.reshape(shape))


def _places(group: list[Opened]) -> np.ndarray:
    """The blocks of `decode_together`."""
    blocks = np.empty((len(group), 5), np.int64)
    body = memory = 0
    for row, opened in zip(blocks, group, strict=True):
        row[0], row[1] = body + opened.body_at, body + len(opened.content)
        row[2], row[3] = memory, memory + opened.memory.size
        body, memory = body + len(opened.content), memory + opened.memory.size
    return blocks


def _damaged(opened: Opened) -> DamagedBlock:
    return DamagedBlock(f"block {opened.seq} ends before its records do, or holds what no encoder writes")
