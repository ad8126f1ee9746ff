"""A stored block beside the records that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.guards import limit_interval
from codec.records import Availability, Records
from tests.simulation import car

if TYPE_CHECKING:
    from codec.guards import GuardSet
    from tests.simulation.truth import Run

GUARDS = {rules.guards().hash: rules.guards() for rules in car.RULES}


@dataclass(slots=True)
class Block:
    """A stored block as it decodes, and the records that it stands for."""

    stream_no: int
    stream_id: bytes
    seq: int
    records: Records
    guards_hash: bytes
    run: Run
    at: int  # in the run
    skip: int  # of its first records: another outbox brought them
    keyframe: bool
    claimed: bool = False  # ticks that a block after it has

    @property
    def sampled(self) -> Records:
        stop = self.at + len(self.records)
        return Records(
            self.records.first_tick, self.run.counts[self.at : stop], self.run.states[self.at : stop]
        )


def difference(block: Block) -> str:
    """How a block is not what was sampled, or an empty string."""
    sampled, stored = block.sampled, block.records
    if not np.array_equal(sampled.states, stored.states):
        return "availability differs"
    errors = np.abs(sampled.counts - stored.counts).max(axis=0)
    if (errors > block.run.limits).any():
        return f"errors of {errors.tolist()} counts, allowed are {block.run.limits.tolist()}"
    if block.guards_hash and block.guards_hash not in GUARDS:
        return f"guards {block.guards_hash.hex()} are nobody's"
    if block.guards_hash and (guard := crossed(block, GUARDS[block.guards_hash])):
        return f"a value lies on the wrong side of {guard}"
    return ""


def crossed(block: Block, guards: GuardSet) -> str:
    schema = block.run.schema
    for guard in guards.guards:
        if guard.signal in schema.names:
            column = schema.index(guard.signal)
            signal = schema.signals[column]
            interval = limit_interval(signal, guard.operator, guard.limit)
            known = block.sampled.states[:, column] == Availability.AVAILABLE
            differs = interval.holds(signal, block.sampled.counts[:, column]) != interval.holds(
                signal, block.records.counts[:, column]
            )
            if (differs & known).any():
                return f"{guard.signal} {guard.operator} {guard.limit}"
    return ""
