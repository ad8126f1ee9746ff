"""Priors: what a keyframe starts from. Contexts that have seen such signals, and weights that fitted them.

Rules
- A prior is content-addressed: its name is the hash of the bytes that it travels as, which can be checked before they
  are unpacked. Blocks name it, and both sides keep it while any block needs it. The empty name stands for the
  built-in prior of the block's version.
- A prior has one row for every column of a schema, or a single row that serves every column (the built-in one).
- It travels as its differences from the one that it builds on: the built-in prior, or none. Of the thousands of contexts that a
  column has, a few dozen make all the difference.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources

import numpy as np
import zstandard

from codec.contexts import packed
from codec.errors import DamagedBlock
from codec.layout import CONTEXTS
from codec.range_coder import HIGHEST, LOWEST, USES_MAX, new_contexts
from codec.residuals import ORDER
from codec.schema import HASH_BYTES

PRIOR_BYTES_MAX = 256 << 10  # as it travels: far more than any schema's is worth
WEIGHT_MAX = 1 << 24
_BODY_BYTES_MAX = 1 << 20
_MAGIC = b"DRP1"
_HEAD = struct.Struct(
    f"<4s{HASH_BYTES}sIIII"
)  # magic, base, rows, contexts, changed contexts, changed weights
_ARRAYS = ("<u4", "<u2", "u1", "<u4", "<i4")  # gaps, estimates and uses of contexts; gaps and weights
_NONE = bytes(HASH_BYTES)
_ZSTD_LEVEL = 19
_KEPT = 16  # unpacked: the streams of a fleet share theirs


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """contexts uint16[rows, CONTEXTS, 3] and filter weights int64[rows, ORDER]; rows = 1 or one per signal.

    `content` is what it travels as, and what `hash` names. `make_prior` makes both.
    """

    contexts: np.ndarray
    weights: np.ndarray
    content: bytes
    hash: bytes = field(init=False)
    cells: np.ndarray = field(init=False)  # int64[rows, CONTEXTS]: the contexts as kernels take them

    def __post_init__(self) -> None:
        assert self.contexts.shape[1:] == (CONTEXTS, 3), self.contexts.shape
        assert self.weights.shape == (self.contexts.shape[0], ORDER), self.weights.shape
        object.__setattr__(self, "cells", packed(self.contexts))
        object.__setattr__(self, "hash", prior_hash(self.content))

    @staticmethod
    def from_bytes(content: bytes, signals: int) -> Prior:
        """What travels as `content`, for a schema of so many signals. Raises DamagedBlock for what is no such prior.

        Its arrays are shared: they must not be written.
        """
        if len(content) > PRIOR_BYTES_MAX:
            raise DamagedBlock(f"a prior of {len(content)} bytes; at most {PRIOR_BYTES_MAX}")
        return _parsed(bytes(content), signals)


def prior_hash(content: bytes) -> bytes:
    """The name of the prior that travels as this."""
    return hashlib.sha256(content).digest()[:HASH_BYTES]


def make_prior(contexts: np.ndarray, weights: np.ndarray, base: Prior | None = None) -> Prior:
    """Of arrays as in `Prior`; the two estimates of a context are equal. `base` has one row; None: nothing is known."""
    before, fitted = _rows_of(base)
    changed = np.flatnonzero(np.any(contexts != before, axis=-1))
    refitted = np.flatnonzero(weights != fitted)
    estimates, slow, uses = contexts.reshape(-1, 3)[changed].T
    assert np.array_equal(estimates, slow)
    name = _NONE if base is None else base.hash
    arrays = (_gaps(changed), estimates, uses, _gaps(refitted), weights.reshape(-1)[refitted])
    body = _HEAD.pack(_MAGIC, name, contexts.shape[0], CONTEXTS, len(changed), len(refitted))
    body += b"".join(_planes(array, kind) for array, kind in zip(arrays, _ARRAYS, strict=True))
    content = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
    return Prior(contexts.astype(np.uint16), weights.astype(np.int64), content)


def untrained() -> Prior:
    """The prior that knows nothing."""
    return make_prior(*_rows_of(None))


@cache
def built_in() -> Prior:
    """The prior shipped with this version of the codec (`make prior`)."""
    shipped = resources.files("codec") / "built_in.prior"
    return Prior.from_bytes(shipped.read_bytes(), 1) if shipped.is_file() else untrained()


@lru_cache(_KEPT)
def _parsed(content: bytes, signals: int) -> Prior:
    body = _unpacked(content)
    if len(body) < _HEAD.size:
        raise DamagedBlock("a prior that ends in its header")
    magic, name, rows, width, changes, refits = _HEAD.unpack_from(body)
    if magic != _MAGIC or width != CONTEXTS:
        raise DamagedBlock("not a prior of this codec version")
    if rows not in (1, signals):
        raise DamagedBlock(f"a prior for {rows} signals, where there are {signals}")
    gaps, estimates, uses, weight_gaps, fitted = _arrays(body, (changes, changes, changes, refits, refits))
    changed, refitted = _places(gaps, rows * CONTEXTS), _places(weight_gaps, rows * ORDER)
    if np.any(estimates < LOWEST) or np.any(estimates > HIGHEST) or np.any(uses > USES_MAX):
        raise DamagedBlock("a prior with impossible contexts")
    if np.any(np.abs(fitted) > WEIGHT_MAX):
        raise DamagedBlock("a prior with impossible weights")
    base = None if name == _NONE else built_in()
    if base is not None and base.hash != name:
        raise DamagedBlock(f"a prior that builds on {name.hex()}, which is not here")
    contexts, weights = (np.repeat(row, rows, axis=0) for row in _rows_of(base))
    contexts.reshape(-1, 3)[changed] = np.stack([estimates, estimates, uses], axis=-1)
    weights.reshape(-1)[refitted] = fitted
    return Prior(contexts, weights, content)


def _unpacked(content: bytes) -> bytes:
    try:
        if not 0 <= zstandard.frame_content_size(content) <= _BODY_BYTES_MAX:
            raise DamagedBlock("a prior of an impossible size")
        return zstandard.ZstdDecompressor().decompress(content)
    except zstandard.ZstdError as error:
        raise DamagedBlock(f"not a prior: {error}") from None


def _rows_of(base: Prior | None) -> tuple[np.ndarray, np.ndarray]:
    """Contexts and weights, one row each."""
    if base is None:
        return new_contexts((1, CONTEXTS)), np.zeros((1, ORDER), np.int64)
    assert base.contexts.shape[0] == 1
    return base.contexts, base.weights


def _gaps(places: np.ndarray) -> np.ndarray:
    """How many lie between each place and the one before it."""
    return np.diff(places, prepend=-1) - 1


def _places(gaps: np.ndarray, count: int) -> np.ndarray:
    places = np.cumsum(gaps + 1) - 1
    if len(places) and places[-1] >= count:
        raise DamagedBlock("a prior that changes what is not there")
    return places


def _planes(numbers: np.ndarray, kind: str) -> bytes:
    """The lowest byte of every number, then the next one of every number ...: like with like packs well."""
    array = np.ascontiguousarray(numbers, kind)
    return array.view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def _arrays(body: bytes, counts: tuple[int, ...]) -> list[np.ndarray]:
    """int64 each: what `_planes` laid out after the head."""
    sizes = [count * np.dtype(kind).itemsize for count, kind in zip(counts, _ARRAYS, strict=True)]
    if len(body) != _HEAD.size + sum(sizes):
        raise DamagedBlock("a prior that is longer or shorter than it says")
    found, at = [], _HEAD.size
    for count, size, kind in zip(counts, sizes, _ARRAYS, strict=True):
        planes = np.frombuffer(body, np.uint8)[at : at + size].reshape(np.dtype(kind).itemsize, count)
        found.append(planes.T.copy().reshape(-1).view(kind).astype(np.int64))
        at += size
    return found
