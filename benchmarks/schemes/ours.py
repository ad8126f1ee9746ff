"""Ours: a stream of blocks with a keyframe every 30 s of records, decoded by the decoder that a collector uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.schemes.scheme import Scheme
from benchmarks.values import values_of
from codec.stream import StreamEncoder, StreamFacts, block_records_max
from codec.stream_decoder import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.values import Values
    from codec.priors import Prior
    from codec.records import Records
    from codec.schema import Schema

KEYFRAME_S = 30
STREAM_ID = bytes(range(16))


def deadreckon(origin_tick: int, prior: Prior | None = None) -> Scheme:
    """A stream that begins at a tick, with the built-in prior or with a trained one. Both sides know these."""
    facts = StreamFacts(STREAM_ID, 0, origin_tick, prior_hash=prior.hash if prior else b"")
    priors = {prior.hash: prior} if prior else {}

    def encode(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
        encoder = StreamEncoder(schema, facts, prior=prior)
        contents = []
        group_records = 0
        longest = block_records_max(len(schema.signals))
        for block in (run.slice(at, at + longest) for run in blocks for at in range(0, len(run), longest)):
            keyframe = group_records >= KEYFRAME_S * schema.rate_hz
            group_records = len(block) if keyframe else group_records + len(block)
            contents.append(encoder.encode(block, keyframe=keyframe).content)
        return contents

    def decode(schema: Schema, contents: Sequence[bytes]) -> Values:
        decoder = StreamDecoder(schema, facts, find_prior=priors.get)
        return values_of(
            schema, [decoder.decode(seq, content).records for seq, content in enumerate(contents)]
        )

    return Scheme("deadreckon-trained" if prior else "deadreckon", encode, decode)
