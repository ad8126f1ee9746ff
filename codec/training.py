"""Training of priors: what the contexts and weights of past drives had become by the end of each keyframe group.

Rules
- A context's prior is the mean of what it had become in the groups that used it; what no group used stays as it was.
- How far it is to be trusted follows from how much the groups differ: it is taken as a beta distribution, whose mean and
  variance are the groups' (empirical Bayes, method of moments).
- The encoder that is trained starts its groups from the prior of the round before, as it will in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from codec.layout import CONTEXTS
from codec.priors import WEIGHT_MAX, Prior, untrained
from codec.range_coder import HIGHEST, LOWEST
from codec.residuals import ORDER, WEIGHTS
from codec.stream import Clock, StreamEncoder, StreamFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.records import Records
    from codec.schema import Schema

ROUNDS = 2
USES_COUNTED_MAX = 15  # a group counts no more for having used a context more often
TRUST_MAX = 60
_VARIANCE_MIN = 1e-7
_FACTS = {"stream_id": bytes(16), "stream_no": 0, "clock": Clock()}


class _Sums:
    """What contexts had become, over groups: one row per column, or a single pooled row."""

    def __init__(self, rows: int) -> None:
        self.uses = np.zeros((rows, CONTEXTS))
        self.probability = np.zeros((rows, CONTEXTS))
        self.square = np.zeros((rows, CONTEXTS))
        self.weights = np.zeros((rows, ORDER))
        self.filters = np.zeros((rows, 1))

    def add(self, encoder: StreamEncoder, start: Prior) -> None:
        contexts, weights = encoder.contexts, encoder.column_states[:, WEIGHTS : WEIGHTS + ORDER]
        uses = np.minimum(contexts[..., 2].astype(np.float64) - start.contexts[..., 2], USES_COUNTED_MAX)
        probability = contexts[..., :2].sum(axis=-1, dtype=np.float64) / (2 << 16)
        adapted = np.any(weights != start.weights, axis=1, keepdims=True)
        axis = 0 if self.uses.shape[0] == 1 else ()
        self.uses += np.sum(uses, axis=axis)
        self.probability += np.sum(uses * probability, axis=axis)
        self.square += np.sum(uses * probability**2, axis=axis)
        self.weights += np.sum(weights * adapted, axis=axis, dtype=np.float64)
        self.filters += np.sum(adapted, axis=axis, dtype=np.float64)

    def prior(self, fallback: Prior) -> Prior:
        uses = np.maximum(self.uses, 1)
        mean = self.probability / uses
        variance = np.maximum(self.square / uses - mean**2, _VARIANCE_MIN)
        trust = np.clip(mean * (1 - mean) / variance - 1, 0, TRUST_MAX)
        estimate = np.clip(mean * (1 << 16), LOWEST, HIGHEST)
        learnt = np.rint(np.stack([estimate, estimate, trust], axis=-1))
        contexts = np.where(self.uses[..., None] > 0, learnt, fallback.contexts)
        weights = np.where(self.filters > 0, self.weights / np.maximum(self.filters, 1), fallback.weights)
        weights = np.clip(np.rint(weights), -WEIGHT_MAX, WEIGHT_MAX)
        return Prior(contexts.astype(np.uint16), weights.astype(np.int64))


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
