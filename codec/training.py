"""Training of priors: what the contexts and weights of past drives had become by the end of each keyframe group.

Rules
- A context's prior is the mean of what it had become in the groups that used it; what no group used stays as it was.
- The encoder that is trained starts its groups from the prior of the round before, as it will in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from codec.layout import CONTEXTS
from codec.priors import Prior, untrained
from codec.residuals import ORDER, WEIGHTS
from codec.stream import Clock, StreamEncoder, StreamFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.records import Records
    from codec.schema import Schema

ROUNDS = 3
_FACTS = {"stream_id": bytes(16), "stream_no": 0, "clock": Clock()}


class _Sums:
    """Running means over groups: one row per column, or a single pooled row."""

    def __init__(self, rows: int) -> None:
        self.contexts = np.zeros((rows, CONTEXTS, 2))
        self.uses = np.zeros((rows, CONTEXTS, 1))
        self.weights = np.zeros((rows, ORDER))
        self.filters = np.zeros((rows, 1))

    def add(self, encoder: StreamEncoder, start: Prior) -> None:
        contexts, states = encoder.contexts, encoder.column_states
        used = np.any(contexts != start.contexts, axis=2, keepdims=True)
        adapted = np.any(states[:, WEIGHTS : WEIGHTS + ORDER] != start.weights, axis=1, keepdims=True)
        pooled = self.contexts.shape[0] == 1
        axis = 0 if pooled else ()
        self.contexts += np.sum(contexts * used, axis=axis, dtype=np.float64)
        self.uses += np.sum(used, axis=axis, dtype=np.float64)
        self.weights += np.sum(states[:, WEIGHTS : WEIGHTS + ORDER] * adapted, axis=axis, dtype=np.float64)
        self.filters += np.sum(adapted, axis=axis, dtype=np.float64)

    def prior(self, fallback: Prior) -> Prior:
        contexts = np.where(self.uses > 0, self.contexts / np.maximum(self.uses, 1), fallback.contexts)
        weights = np.where(self.filters > 0, self.weights / np.maximum(self.filters, 1), fallback.weights)
        return Prior(np.rint(contexts).astype(np.uint16), np.rint(weights).astype(np.int64))


def train(
    drives: Sequence[tuple[Schema, Records]],
    *,
    blocks: Sequence[int] = (500,),
    group: int = 1500,
    start: Prior | None = None,
    pooled: bool,
) -> Prior:
    """A prior for streams like these: for any schema if pooled, otherwise for the one that all drives share.

    `group` is how many records a keyframe group has, `blocks` how many a block: every drive is learnt from with each.
    """
    prior = start or untrained()
    for _ in range(ROUNDS):
        sums = _Sums(1 if pooled else len(drives[0][0].signals))
        for block in blocks:
            for schema, records in drives:
                _collect(schema, records, block, group, prior, sums)
        prior = sums.prior(prior)
    return prior


def _collect(schema: Schema, records: Records, block: int, group: int, prior: Prior, sums: _Sums) -> None:
    encoder = StreamEncoder(schema, StreamFacts(origin_tick=records.first_tick, **_FACTS), prior=prior)  # type: ignore[arg-type]
    for first in range(0, len(records), group):
        for at in range(first, min(first + group, len(records)), block):
            encoder.encode(
                records.slice(at, min(at + block, first + group, len(records))), keyframe=at == first
            )
        sums.add(encoder, prior)
