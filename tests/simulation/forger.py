"""Forges blocks: bytes that decode, and fit their one byte of digest, but stand for other records than were sampled.

One in 256 damaged blocks does. What finds it is the digest of its whole group, which comes with whatever follows the group.
So that it can forge any block, the forger decodes along; where it lost the thread, it waits for the next keyframe.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from codec.errors import CodecError
from codec.stream import Clock, StreamFacts
from codec.stream_decoder import StreamDecoder
from tests.simulation import car

if TYPE_CHECKING:
    import random

    from codec.records import Records
    from protos import telemetry_pb2 as pb

BODIES_MAX = 6  # that are tried; each is dear


class Forger:
    """`rng`: the seed's."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._decoders: dict[bytes, StreamDecoder] = {}  # by stream_id

    def forged(self, info: pb.StreamInfo, seq: int, content: bytes, *, wanted: bool) -> bytes | None:
        """In the place of that block, which is the next of its stream here; None: not this one. Called with every block."""
        decoder = self._decoders.get(info.stream_id) or _decoder(info)
        before = _copied(decoder)
        try:
            original = decoder.decode(seq, content).records
        except CodecError:
            self._decoders.pop(info.stream_id, None)
            return None
        self._decoders[info.stream_id] = decoder
        return self._other(before, seq, content, original) if wanted else None

    def _other(self, decoder: StreamDecoder, seq: int, content: bytes, original: Records) -> bytes | None:
        for _ in range(BODIES_MAX):
            body = flipped(self._rng, content)
            for digest in range(256):
                changed = body[:1] + bytes((digest,)) + body[2:]
                try:
                    records = _copied(decoder).decode(seq, changed).records
                except CodecError as error:
                    if "digest" not in str(error):
                        break  # whatever its digest
                    continue
                same_ticks = (records.first_tick, len(records)) == (original.first_tick, len(original))
                if same_ticks and not records.equals(original):
                    return changed
                break
        return None


def flipped(rng: random.Random, content: bytes) -> bytes:
    """With one bit changed."""
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _copied(decoder: StreamDecoder) -> StreamDecoder:
    """A decoder replaces what it remembers and never writes to it."""
    made = copy.copy(decoder)
    made._coding = copy.copy(decoder._coding)
    return made


def _decoder(info: pb.StreamInfo) -> StreamDecoder:
    schemas = (car.plan(rate_hz, variant).schema for rate_hz in (1, 2) for variant in (0, 1))
    (schema,) = (schema for schema in schemas if schema.hash == info.schema_hash)
    clock = Clock(info.clock_offset_ns, info.clock_synchronised)
    facts = StreamFacts(
        info.stream_id, info.stream_no, info.origin_tick, clock, info.guards_hash, info.prior_hash
    )
    return StreamDecoder(schema, facts)
