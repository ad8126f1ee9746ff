"""A test vector: what an encoder is given, the blocks that it makes of it, and the records that come back.

One JSON file each, so that a decoder in any language can be tested with them. Keys:
schema              canonical JSON as text; schema_hash: its name
stream              what StreamInfo says: stream_id, origin_tick, clock_offset_ns, clock_synchronised, guards_hash, prior_hash
prior               "built_in", or the name of a file beside this one; prior_hash: its name
models              for the encoder alone: the model that it is made to use, by signal
blocks              in order of seq from 0:
  first_tick, keyframe, clock, guards      what the encoder is told ("guards" where a new set comes into force)
  sampled, states                          column by column
  content                                  the block, in hex
  decoded                                  the counts that come back, column by column
  group_digest                             after the block

64-bit numbers are beyond what some JSON readers keep exact: counts outside +-2^53 stand as text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.guards import GuardSet
from codec.priors import Prior, built_in
from codec.records import Records
from codec.schema import Schema
from codec.stream import Clock, StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder

HERE = Path(__file__).resolve().parent
_EXACT = 1 << 53
_NUMBERS = re.compile(r"\[[-\d\s,\"]*\]")  # a column: a line of the file


@dataclass(frozen=True, slots=True)
class Input:
    """What one block is made of."""

    records: Records
    keyframe: bool = False
    clock: Clock | None = None
    guards: GuardSet | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    name: str
    schema: Schema
    facts: StreamFacts
    prior_file: str
    models: dict[str, str]
    inputs: tuple[Input, ...]
    outputs: tuple[dict[str, Any], ...] = ()  # content, decoded, group_digest

    @property
    def prior(self) -> Prior:
        return (
            built_in()
            if self.prior_file == "built_in"
            else Prior.from_bytes((HERE / self.prior_file).read_bytes(), len(self.schema.signals))
        )


def run(vector: Vector) -> tuple[dict[str, Any], ...]:
    """Encodes the inputs and decodes what comes of them, with new coders: the outputs as a file holds them."""
    prior = vector.prior
    encoder = StreamEncoder(vector.schema, vector.facts, prior=prior, models=vector.models)
    decoder = StreamDecoder(vector.schema, vector.facts, find_prior={prior.hash: prior}.get)
    outputs = []
    for given in vector.inputs:
        if given.guards is not None:
            encoder.set_guards(given.guards)
        block = encoder.encode(given.records, keyframe=given.keyframe, clock=given.clock)
        decoded = decoder.decode(block.seq, block.content)
        assert decoder.group_digest == encoder.group_digest
        assert np.array_equal(decoded.records.states, given.records.states)
        assert decoded.records.first_tick == given.records.first_tick
        outputs.append(
            {
                "content": block.content.hex(),
                "decoded": _columns(decoded.records.counts),
                "group_digest": encoder.group_digest,
            }
        )
    return tuple(outputs)


def _columns(counts: np.ndarray) -> list[list[int | str]]:
    return [[x if abs(x) <= _EXACT else str(x) for x in column] for column in counts.T.tolist()]


def save(vector: Vector) -> None:
    blocks = []
    for given, output in zip(vector.inputs, vector.outputs, strict=True):
        block: dict[str, Any] = {"first_tick": given.records.first_tick, "keyframe": given.keyframe}
        if given.clock:
            block["clock"] = [given.clock.offset_ns, given.clock.synchronised]
        if given.guards:
            block["guards"] = given.guards.to_bytes().decode()
        block |= {"sampled": _columns(given.records.counts), "states": given.records.states.T.tolist()}
        blocks.append(block | output)
    facts = vector.facts
    document = {
        "schema": vector.schema.to_bytes().decode(),
        "schema_hash": vector.schema.hash.hex(),
        "stream": {
            "stream_id": facts.stream_id.hex(),
            "origin_tick": facts.origin_tick,
            "clock_offset_ns": str(facts.clock.offset_ns),
            "clock_synchronised": facts.clock.synchronised,
            "guards_hash": facts.guards_hash.hex(),
            "prior_hash": facts.prior_hash.hex(),
        },
        "prior": vector.prior_file,
        "prior_hash": vector.prior.hash.hex(),
        "models": vector.models,
        "blocks": blocks,
    }
    (HERE / f"{vector.name}.json").write_text(
        _NUMBERS.sub(_on_one_line, json.dumps(document, indent=1)) + "\n"
    )


def _on_one_line(column: re.Match[str]) -> str:
    return "".join(column[0].split())


def load(name: str) -> Vector:
    document = json.loads((HERE / f"{name}.json").read_text())
    stream = document["stream"]
    facts = StreamFacts(
        bytes.fromhex(stream["stream_id"]),
        0,
        stream["origin_tick"],
        Clock(int(stream["clock_offset_ns"]), stream["clock_synchronised"]),
        bytes.fromhex(stream["guards_hash"]),
        bytes.fromhex(stream["prior_hash"]),
    )
    outputs = ("content", "decoded", "group_digest")
    vector = Vector(
        name,
        Schema.from_bytes(document["schema"].encode()),
        facts,
        document["prior"],
        document["models"],
        tuple(_input(block) for block in document["blocks"]),
        tuple({key: block[key] for key in outputs} for block in document["blocks"]),
    )
    assert vector.schema.hash.hex() == document["schema_hash"]
    assert vector.prior.hash.hex() == document["prior_hash"], (
        f"{name} was made with another prior: make vectors"
    )
    return vector


def _input(block: dict[str, Any]) -> Input:
    counts = np.array([[int(x) for x in column] for column in block["sampled"]], np.int64).T
    states = np.array(block["states"], np.uint8).T
    return Input(
        Records(block["first_tick"], np.ascontiguousarray(counts), np.ascontiguousarray(states)),
        block["keyframe"],
        Clock(*block["clock"]) if "clock" in block else None,
        GuardSet.from_bytes(block["guards"].encode()) if "guards" in block else None,
    )


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.json"))
