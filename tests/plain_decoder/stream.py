"""Sections 4, 7, 10, 11 and 12 of docs/wire-format.md: a reader of blocks in plain Python, slow and short.

It imports neither the codec nor numpy or numba, so what it reads it reads because the document says so.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.plain_decoder.columns import read_columns
from tests.plain_decoder.document import CONTEXTS
from tests.plain_decoder.models import State
from tests.plain_decoder.range_decoder import RangeDecoder
from tests.plain_decoder.words import Damaged, Facts, Unknown, columns_of, unzigzag, varint

KEYFRAME, SKIP, NAMED, SAME = 0x10, 0x20, 0x40, 0x80
U64 = (1 << 64) - 1


class Prior(NamedTuple):
    name: bytes
    contexts: list[list[list[int]]]  # [row][context][fast, slow, uses]
    weights: list[list[int]]

    @classmethod
    def parse(cls, name: bytes, body: bytes, known: dict[bytes, Prior]) -> Prior:
        """Section 11, of the uncompressed bytes."""
        magic, base, rows, contexts, n, w = struct.unpack_from("<4s16sIIII", body)
        assert (magic, contexts) == (b"DRP1", CONTEXTS)
        if base == bytes(16):
            triples, weights = [[32768, 32768, 0]] * (rows * contexts), [0] * (rows * 16)
        else:
            triples, weights = known[base].contexts[0] * rows, known[base].weights[0] * rows
        at = 36
        arrays = []
        for count, size in ((n, 4), (n, 2), (n, 1), (w, 4), (w, 4)):
            planes = body[at : at + count * size]
            arrays.append([int.from_bytes(planes[k::count], "little") for k in range(count)])
            at += count * size
        assert at == len(body)
        place = -1
        for gap, estimate, uses in zip(*arrays[:3], strict=True):
            place += gap + 1
            triples[place] = [estimate, estimate, uses]
        place = -1
        for gap, weight in zip(*arrays[3:], strict=True):
            place += gap + 1
            weights[place] = weight - (weight >> 31 << 32)
        return cls(
            name,
            [triples[k : k + contexts] for k in range(0, len(triples), contexts)],
            [weights[k : k + 16] for k in range(0, len(weights), 16)],
        )


class Header(NamedTuple):
    """`start`: ticks from the origin (keyframe), or from the end of the block before."""

    size: int
    start: int
    records: int  # 0: as many as before
    keyframe: bool
    first_record: int = 0
    clock_offset_ns: int = 0
    clock_synchronised: bool = False
    previous_digest: int = 0
    guards_hash: bytes = b""
    prior_hash: bytes = b""


class Block(NamedTuple):
    first_tick: int
    states: list[list[int]]  # [signal][record]
    counts: list[list[int]]
    header: Header


def parse_header(content: bytes, facts: Facts) -> Header:
    if len(content) < 2:
        raise Damaged("ends in its header")
    flags = content[0] & 0xF0
    if content[0] & 0x0F != 1:
        raise Unknown("version")
    if flags & NAMED if not flags & KEYFRAME else flags & (SKIP | SAME):
        raise Damaged("flags that do not go together")
    records, at = (0, 2) if flags & SAME else varint(content, 2)
    if (records == 0 and not flags & SAME) or records > 4096:
        raise Damaged(f"{records} records")
    if not flags & KEYFRAME:
        start, at = varint(content, at) if flags & SKIP else (0, at)
        return Header(at, start, records, keyframe=False)
    start, at = varint(content, at)
    missed, at = varint(content, at)
    clock, at = varint(content, at)
    digest, at = int.from_bytes(content[at : at + 4], "little"), at + 4
    names = [facts.guards_hash, facts.prior_hash]
    if flags & NAMED:
        for k in range(2):
            size = content[at] if at < len(content) else -1
            if size not in (0, 16):
                raise Damaged("a hash of another length")
            names[k], at = content[at + 1 : at + 1 + size], at + 1 + size
    offset = facts.clock_offset_ns + 1000 * unzigzag(clock >> 1)
    first_record = start - unzigzag(missed)
    if at > len(content) or first_record < 0 or abs(offset) >= 1 << 63:
        raise Damaged("an impossible header")
    return Header(at, start, records, True, first_record, offset, clock & 1 == 1, digest, *names)


@dataclass
class _State:
    columns: list[State]
    contexts: list[list[list[int]]]  # [column][context][fast, slow, uses]
    next_seq: int
    end_tick: int
    records: int
    digest: int
    group_values: int

    def copy(self) -> _State:
        return replace(self, columns=[own.copy() for own in self.columns], contexts=_copied(self.contexts))


def _copied(contexts: list[list[list[int]]]) -> list[list[list[int]]]:
    return [[context[:] for context in row] for row in contexts]


class PlainDecoder:
    def __init__(self, schema: bytes, facts: Facts, priors: dict[bytes, Prior]) -> None:
        self.columns = columns_of(schema)
        self.facts = facts
        self.priors = priors
        self.state: _State | None = None

    @property
    def group_digest(self) -> int:
        return self.state.digest if self.state else 0

    def decode(self, seq: int, content: bytes) -> Block:
        header = parse_header(content, self.facts)
        if header.keyframe:
            state = self._keyframe(seq, header)
        elif self.state is None or self.state.next_seq != seq:
            raise Damaged("the block before was not read")
        else:
            state = self.state.copy()
        first_tick = state.end_tick + header.start
        if not -(1 << 62) <= first_tick < 1 << 62:
            raise Damaged("a tick out of range")
        count = header.records or state.records
        state.group_values += count * len(self.columns)
        if count * len(self.columns) > 400_000 or state.group_values > 16_000_000:
            raise Damaged("more values than are allowed")
        coder = RangeDecoder(content[header.size :])
        states, counts = read_columns(coder, self.columns, state.columns, state.contexts, count)
        sums = b"".join(map(_column_digest, state.columns, states, counts))
        if coder.at > len(content) - header.size + 4:
            raise Damaged("ends before its records do")
        place = struct.pack("<QqI", seq, first_tick, count)
        head = content[:1] + b"\0" + content[2 : header.size]
        state.digest = zlib.crc32(sums, zlib.crc32(place + head, state.digest))
        if state.digest & 0xFF != content[1]:
            raise Damaged("another digest")
        state.next_seq, state.end_tick, state.records = seq + 1, first_tick + count, count
        self.state = state
        return Block(first_tick, states, counts, header)

    def _keyframe(self, seq: int, header: Header) -> _State:
        prior = self.priors.get(header.prior_hash)
        if prior is None or len(prior.contexts) not in (1, len(self.columns)):
            raise Unknown("prior")
        rows = [0 if len(prior.contexts) == 1 else k for k in range(len(self.columns))]
        return _State(
            columns=[State(list(prior.weights[row]), pooled=len(prior.weights) == 1) for row in rows],
            contexts=_copied([prior.contexts[row] for row in rows]),
            next_seq=seq,
            end_tick=self.facts.origin_tick,
            records=0,
            group_values=0,
            digest=zlib.crc32(self.facts.stream_id + seq.to_bytes(8, "little")),
        )


def _column_digest(own: State, states: list[int], counts: list[int]) -> bytes:
    total, weighted = 0, len(states)
    for state, value in zip(states, counts, strict=True):
        total += state << 60 if state else value
        weighted += total
    return struct.pack("<QQ", (total + own.level + own.trend) & U64, weighted & U64)
