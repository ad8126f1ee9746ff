"""Training of priors: what the contexts and weights of past drives had become by the end of each keyframe group.

Rules
- A context's prior is the mean of what it had become in the groups that used it; what no group used stays as it was.
- How far it is to be trusted follows from how much the groups differ: it is taken as a beta distribution, whose mean and
  variance are the groups' (empirical Bayes, method of moments).
- Whoever coded the groups knows: an encoder that is trained starts them from the prior of the round before, as it will in
  use; a decoder that reads stored blocks ends in the state that their encoder was in, to the bit.
- A prior that has to be sent tells of the contexts alone that save more than they cost, in numbers that pack well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from codec.errors import CodecError
from codec.layout import CONTEXTS
from codec.priors import WEIGHT_MAX, Prior, built_in, make_prior, untrained
from codec.range_coder import HIGHEST, LOWEST
from codec.residuals import ORDER, WEIGHTS
from codec.stream import StreamEncoder, StreamFacts, block_records_max, is_keyframe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from codec.records import Records
    from codec.schema import Schema
    from codec.stream_decoder import StreamDecoder

    Drive = tuple[Schema, Records]
    Array = np.ndarray[Any, np.dtype[Any]]

ROUNDS = 2
USES_COUNTED_MAX = 15  # a group counts no more for having used a context more often
TRUST_MAX = 60
WORTH_BITS = 0.002  # saved in each group: a quarter bit an hour for two bytes once; twice as many contexts save little more
_ADAPTED_USES = 6  # after so many bits, what a context started from matters little
_VARIANCE_MIN = 1e-7
_ESTIMATE_BITS = 3  # that are kept of an estimate's distance from certainty
_TRUSTS = np.array([0, 1, 2, 4, 8, 16, 32, TRUST_MAX])
_WEIGHT_STEP = 1 << 8


class Learnt:
    """What contexts had become, over groups: one row per column, or a single pooled row."""

    def __init__(self, rows: int) -> None:
        self.groups = 0
        self._uses = np.zeros((rows, CONTEXTS))
        self._probability = np.zeros((rows, CONTEXTS))
        self._square = np.zeros((rows, CONTEXTS))
        self._weights = np.zeros((rows, ORDER))
        self._filters = np.zeros((rows, 1))

    def add(self, coded: StreamEncoder | StreamDecoder) -> None:
        """A group, by who has coded the whole of it."""
        contexts, start = coded.contexts, coded.prior
        weights = coded.column_states[:, WEIGHTS : WEIGHTS + ORDER]
        uses = np.minimum(contexts[..., 2].astype(np.float64) - start.contexts[..., 2], USES_COUNTED_MAX)
        probability = contexts[..., :2].sum(axis=-1, dtype=np.float64) / (2 << 16)
        adapted = np.any(weights != start.weights, axis=1, keepdims=True)
        axis = 0 if self._uses.shape[0] == 1 else ()
        self.groups += 1
        self._uses += np.sum(uses, axis=axis)
        self._probability += np.sum(uses * probability, axis=axis)
        self._square += np.sum(uses * probability**2, axis=axis)
        self._weights += np.sum(weights * adapted, axis=axis, dtype=np.float64)
        self._filters += np.sum(adapted, axis=axis, dtype=np.float64)

    def prior(self, fallback: Prior) -> Prior:
        """All that was learnt. What no group used is the fallback's."""
        contexts, weights = self._arrays(fallback)
        return make_prior(contexts, weights)

    def worthwhile(self) -> Prior:
        """What is worth sending, as changes of the built-in prior."""
        base = built_in()
        contexts, weights = self._arrays(base)
        mean, before = contexts[..., 0] / (1 << 16), base.contexts[..., 0] / (1 << 16)
        divergence = mean * np.log2(mean / before) + (1 - mean) * np.log2((1 - mean) / (1 - before))
        uses = np.minimum(self._uses / max(self.groups, 1), _ADAPTED_USES)
        estimates, trust = _coarse(contexts[..., 0]), _nearest_trust(contexts[..., 2])
        contexts = np.where(
            (uses * divergence > WORTH_BITS)[..., None],
            np.stack([estimates, estimates, trust], axis=-1),
            base.contexts,
        )
        usual = 4 * self._filters > self.groups
        weights = np.where(usual, np.rint(weights / _WEIGHT_STEP) * _WEIGHT_STEP, base.weights)
        return make_prior(contexts.astype(np.uint16), weights.astype(np.int64), base)

    def _arrays(self, fallback: Prior) -> tuple[np.ndarray, np.ndarray]:
        uses = np.maximum(self._uses, 1)
        mean = self._probability / uses
        variance = np.maximum(self._square / uses - mean**2, _VARIANCE_MIN)
        trust = np.clip(mean * (1 - mean) / variance - 1, 0, TRUST_MAX)
        estimate = np.clip(mean * (1 << 16), LOWEST, HIGHEST)
        learnt = np.rint(np.stack([estimate, estimate, trust], axis=-1))
        contexts = np.where(self._uses[..., None] > 0, learnt, fallback.contexts)
        weights = np.where(self._filters > 0, self._weights / np.maximum(self._filters, 1), fallback.weights)
        weights = np.clip(np.rint(weights), -WEIGHT_MAX, WEIGHT_MAX)
        return contexts.astype(np.uint16), weights.astype(np.int64)


def _coarse(estimates: Array) -> Array:
    """The same, with few significant bits in how far they lie from the nearer end."""
    certain_0 = estimates > 1 << 15
    distance = np.where(certain_0, (1 << 16) - estimates.astype(np.int64), estimates)
    step = 1 << np.maximum(np.floor(np.log2(distance)).astype(np.int64) + 1 - _ESTIMATE_BITS, 0)
    distance = (distance + step // 2) // step * step
    coarse: Array = np.clip(np.where(certain_0, (1 << 16) - distance, distance), LOWEST, HIGHEST)
    return coarse


def _nearest_trust(trust: Array) -> Array:
    """The nearest of _TRUSTS, by ratio."""
    middles = np.sqrt((_TRUSTS[1:] + 1.0) * (_TRUSTS[:-1] + 1.0)) - 1
    return _TRUSTS.take(np.searchsorted(middles, trust))


def train(drives: Sequence[Drive], *, blocks: Sequence[int] = (500,), group: int = 1500) -> Prior:
    """A prior for the schema that these drives share: what a collector learns that stored them, see `learn`.

    `group` is how many records a keyframe group has, `blocks` how many a block: every drive is learnt from with each.
    """
    learnt = Learnt(len(drives[0][0].signals))
    _collect(drives, blocks, group, built_in(), learnt)
    return learnt.worthwhile()


def train_built_in(drives: Sequence[Drive], *, blocks: Sequence[int], group: int = 1500) -> Prior:
    """One row for any schema, from drives of many."""
    prior = untrained()
    for _ in range(ROUNDS):
        learnt = Learnt(1)
        _collect(drives, blocks, group, prior, learnt)
        prior = learnt.prior(prior)
    return prior


def learn(learnt: Learnt, decoder: StreamDecoder, blocks: Iterable[tuple[int, bytes]]) -> None:
    """From blocks (seq, content) of one stream in order. A group counts as far as it can be decoded."""
    begun = False
    for seq, content in blocks:
        if begun and is_keyframe(content):
            learnt.add(decoder)
            begun = False
        try:
            decoder.decode(seq, content)
        except CodecError:
            continue
        begun = True
    if begun:
        learnt.add(decoder)


def _collect(
    drives: Sequence[Drive], blocks: Sequence[int], group: int, prior: Prior, learnt: Learnt
) -> None:
    for block in blocks:
        for schema, records in drives:
            size = min(block, block_records_max(len(schema.signals)))
            facts = StreamFacts(bytes(16), 0, records.first_tick)
            encoder = StreamEncoder(schema, facts, prior=prior)
            for first in range(0, len(records), group):
                last = min(first + group, len(records))
                for at in range(first, last, size):
                    encoder.encode(records.slice(at, min(at + size, last)), keyframe=at == first)
                learnt.add(encoder)
