"""The plain decoder, told of a stream in the codec's words."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import zstandard

from codec.priors import Prior, built_in
from codec.schema import Schema
from codec.stream import StreamFacts
from tests.plain_decoder import stream, words


@cache
def plain_prior(prior: Prior) -> stream.Prior:
    name = sha256(prior.content).digest()[:16]
    known = {} if prior is built_in() else {built_in().hash: plain_prior(built_in())}
    return stream.Prior.parse(name, zstandard.ZstdDecompressor().decompress(prior.content), known)


def plain_decoder(schema: Schema, facts: StreamFacts, *priors: Prior) -> stream.PlainDecoder:
    """One that knows the built-in prior and these."""
    known = {b"": plain_prior(built_in())} | {prior.hash: plain_prior(prior) for prior in priors}
    plain_facts = words.Facts(
        facts.stream_id, facts.origin_tick, facts.clock.offset_ns, facts.guards_hash, facts.prior_hash
    )
    return stream.PlainDecoder(schema.to_bytes(), plain_facts, known)
