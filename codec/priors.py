"""Priors: what a keyframe starts from. Contexts that have seen such signals, and weights that fitted them.

Rules
- A prior is content-addressed: blocks name it by its hash, both sides keep it while any block needs it. The empty
  hash names the built-in prior of the block's version.
- A prior has one row for every column of a schema, or a single row that serves every column (the built-in ones).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import numpy as np
import zstandard

from codec.contexts import packed
from codec.errors import DamagedBlock
from codec.layout import CONTEXTS
from codec.range_coder import HIGHEST, LOWEST, USES_MAX, new_contexts
from codec.residuals import ORDER
from codec.schema import HASH_BYTES, SIGNALS_MAX

_MAGIC = b"DRP1"
_HEAD = struct.Struct("<4sII")
_LEVEL = 19
WEIGHT_MAX = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """contexts uint16[rows, CONTEXTS, 3] and filter weights int64[rows, ORDER]; rows = 1 or one per signal."""

    contexts: np.ndarray
    weights: np.ndarray
    hash: bytes = field(init=False)
    cells: np.ndarray = field(init=False)  # int64[rows, CONTEXTS]: the contexts as kernels take them

    def __post_init__(self) -> None:
        assert self.contexts.shape[1:] == (CONTEXTS, 3), self.contexts.shape
        assert self.weights.shape == (self.contexts.shape[0], ORDER), self.weights.shape
        object.__setattr__(self, "cells", packed(self.contexts))
        object.__setattr__(self, "hash", hashlib.sha256(self._body()).digest()[:HASH_BYTES])

    def _body(self) -> bytes:
        rows = self.contexts.shape[0]
        return (
            _HEAD.pack(_MAGIC, rows, CONTEXTS)
            + self.contexts.astype("<u2").tobytes()
            + self.weights.astype("<i8").tobytes()
        )

    def to_bytes(self) -> bytes:
        return zstandard.ZstdCompressor(level=_LEVEL).compress(self._body())

    @classmethod
    def from_bytes(cls, content: bytes) -> Prior:
        """Inverse of `to_bytes`. Raises DamagedBlock for anything else."""
        size_max = _HEAD.size + SIGNALS_MAX * (CONTEXTS * 6 + ORDER * 8)
        try:
            if not 0 <= zstandard.frame_content_size(content) <= size_max:
                raise DamagedBlock("a prior of an impossible size")
            body = zstandard.ZstdDecompressor().decompress(content)
            magic, rows, contexts = _HEAD.unpack_from(body)
        except (zstandard.ZstdError, struct.error) as error:
            raise DamagedBlock(f"not a prior: {error}") from None
        split = _HEAD.size + rows * contexts * 6
        if magic != _MAGIC or contexts != CONTEXTS or rows < 1 or len(body) != split + rows * ORDER * 8:
            raise DamagedBlock("not a prior of this codec version")
        contexts = np.frombuffer(body, "<u2", rows * CONTEXTS * 3, _HEAD.size).reshape(rows, CONTEXTS, 3)
        weights = np.frombuffer(body, "<i8", rows * ORDER, split).reshape(rows, ORDER)
        probabilities, uses = contexts[..., :2], contexts[..., 2]
        if np.any(probabilities < LOWEST) or np.any(probabilities > HIGHEST) or np.any(uses > USES_MAX):
            raise DamagedBlock("a prior with impossible contexts")
        if np.any(np.abs(weights) > WEIGHT_MAX):
            raise DamagedBlock("a prior with impossible weights")
        return cls(contexts.astype(np.uint16), weights.astype(np.int64))


def untrained() -> Prior:
    """The prior that knows nothing."""
    return Prior(new_contexts((1, CONTEXTS)), np.zeros((1, ORDER), np.int64))


@cache
def built_in() -> Prior:
    """The prior shipped with this version of the codec (`make prior`)."""
    shipped = resources.files("codec") / "built_in.prior"
    return Prior.from_bytes(shipped.read_bytes()) if shipped.is_file() else untrained()
