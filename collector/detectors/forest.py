"""An Isolation Forest as arrays: its file, its scores, and what their confidence means.

Rules
- A file is a line that says what it is, a line of JSON (the header), the arrays it names, and a SHA-256 of all that. Nothing in
  it is executed, whatever it holds: it is read, or refused with what is wrong.
- Children stand after their parents, so that a walk ends. A sample goes left where its value, as a float32, is not greater.
- The score is scikit-learn's, to the bit: 2 ** -(mean depth / depth expected of so many samples), 0 to 1; more is stranger.
- Features are physical values less their centre, over their scale; each may be the mean of the last `smooth_s` seconds.
- Confidence is the share of the seconds held out of the training (of the same vehicles, later on) that were less strange:
  0.99 means that one healthy second in a hundred is as strange as this one, 1 that none was. It is no probability of a fault.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detectors import kernels
from collector.detectors.kernels import Trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FORMAT = 1
MAGIC = b"deadreckon isolation forest, format %d\n"
FILE_BYTES_MAX = 256 << 20  # ten times a forest of 1000 trees of 256 samples
HEADER_BYTES_MAX = 1 << 20
NAME_CHARACTERS_MAX = 64
_DTYPES = {
    "roots": "<i8", "feature": "<i8", "threshold": "<f8", "left": "<i8", "right": "<i8", "depth": "<f8", "held_out": "<f8",
}  # fmt: skip


class ForestError(ValueError):
    """A model that cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One signal: what it has to be, and how it is scaled."""

    signal: str
    unit: str
    centre: float
    scale: float


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a model."""

    name: str
    version: int
    library: str  # that trained it, with its version
    trained_at: str
    vehicles: tuple[str, ...]
    samples: int  # it was trained on
    expected_depth: float  # of one tree
    smooth_s: int
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= NAME_CHARACTERS_MAX or not self.name.replace("-", "a").isalnum():
            raise ForestError(f"name {self.name!r}: must be letters, digits and dashes")
        if not self.features or len({one.signal for one in self.features}) != len(self.features):
            raise ForestError("its features must be signals, each once")
        numbers = [number for one in self.features for number in (one.centre, one.scale)]
        if not all(map(math.isfinite, numbers)) or any(one.scale <= 0 for one in self.features):
            raise ForestError("centres must be finite and scales more than 0")
        if (
            self.version < 1
            or self.samples < 1
            or self.smooth_s < 1
            or not 0 < self.expected_depth < math.inf
        ):
            raise ForestError("version, samples, smooth_s and expected_depth must be more than 0")


@dataclass(frozen=True, slots=True)
class Judged:
    """Of n samples."""

    score: NDArray[np.float64]
    confidence: NDArray[np.float64]
    leading: NDArray[np.int64]  # feature that is farthest from its centre, in its scale


@dataclass(frozen=True, slots=True)
class Forest:
    """`held_out`: quantiles of the scores of held-out samples, ascending and evenly spaced from 0 to 1."""

    header: Header
    trees: Trees
    held_out: NDArray[np.float64]

    def __post_init__(self) -> None:
        trees, count = self.trees, len(self.trees.left)
        if any(array.ndim != 1 for array in (*trees, self.held_out)) or len(self.held_out) < 2:
            raise ForestError("its arrays are not what they should be")
        if any(len(array) != count for array in trees[1:]) or not len(trees.roots):
            raise ForestError("its arrays differ in length")
        here, leaf = np.arange(count), trees.left == -1
        for child in (trees.left, trees.right):
            if not ((leaf & (child == -1)) | (~leaf & (child > here) & (child < count))).all():
                raise ForestError("a node's children do not stand after it")
        if not ((trees.roots >= 0) & (trees.roots < count)).all():
            raise ForestError("a tree has no root")
        if not (leaf | ((trees.feature >= 0) & (trees.feature < len(self.header.features)))).all():
            raise ForestError("a node asks for a feature that is not there")
        finite = np.isfinite(trees.threshold) & np.isfinite(trees.depth)
        if not finite.all() or not np.isfinite(self.held_out).all() or (np.diff(self.held_out) < 0).any():
            raise ForestError("its numbers are not finite, or its scores not in order")

    @property
    def id(self) -> str:
        return f"{self.header.name}-v{self.header.version}"

    @property
    def sha256(self) -> str:
        """Of its file, as far as it is what says what the model is."""
        return self.to_bytes()[-32:].hex()

    @property
    def signals(self) -> tuple[str, ...]:
        return tuple(one.signal for one in self.header.features)

    def judge(self, values: NDArray[np.float64]) -> Judged:
        """Of physical values float64[n, f], finite, in the order of the features."""
        centre = np.array([one.centre for one in self.header.features])
        scale = np.array([one.scale for one in self.header.features])
        scaled = (values - centre) / scale
        score = scores(self.trees, self.header.expected_depth, scaled)
        even = np.linspace(0.0, 1.0, len(self.held_out))
        confidence = np.interp(score, self.held_out, even)
        confidence[score > self.held_out[-1]] = 1.0
        return Judged(score, confidence, np.abs(scaled).argmax(axis=1))

    def to_bytes(self) -> bytes:
        arrays = self.trees._asdict() | {"held_out": self.held_out}
        described = {name: len(array) for name, array in arrays.items()}
        header = {"header": asdict(self.header), "arrays": described}
        content = MAGIC % FORMAT + json.dumps(header, ensure_ascii=False).encode() + b"\n"
        content += b"".join(arrays[name].astype(dtype).tobytes() for name, dtype in _DTYPES.items())
        return content + hashlib.sha256(content).digest()

    @classmethod
    def from_bytes(cls, content: bytes) -> Forest:
        """Raises ForestError."""
        if len(content) > FILE_BYTES_MAX:
            raise ForestError(f"{len(content)} bytes; at most {FILE_BYTES_MAX}")
        magic, _, rest = content.partition(b"\n")
        if magic + b"\n" != MAGIC % FORMAT:
            known = magic.startswith(MAGIC.partition(b"%")[0])
            raise ForestError(
                f"is a model of another format; this collector reads format {FORMAT}"
                if known
                else "is no model"
            )
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            raise ForestError("is damaged: its checksum does not match")
        line, _, body = rest[:-32].partition(b"\n")
        try:
            document = json.loads(line[:HEADER_BYTES_MAX])
            header = _header(document["header"])
            counts = {name: int(document["arrays"][name]) for name in _DTYPES}
        except ForestError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ForestError(f"has no sound header: {error!r}") from None
        if any(count < 0 for count in counts.values()) or sum(counts.values()) * 8 != len(body):
            raise ForestError("does not hold the arrays that its header names")
        arrays: dict[str, NDArray[Any]] = {}
        at = 0
        for name, dtype in _DTYPES.items():
            arrays[name] = np.frombuffer(body, dtype, counts[name], at).astype(dtype[1:])
            at += 8 * counts[name]
        held_out = arrays.pop("held_out")
        return cls(header, Trees(**arrays), held_out)


def _header(document: dict[str, Any]) -> Header:
    features = tuple(
        Feature(str(one["signal"]), str(one["unit"]), float(one["centre"]), float(one["scale"]))
        for one in document["features"]
    )
    return Header(
        name=str(document["name"]),
        version=int(document["version"]),
        library=str(document["library"]),
        trained_at=str(document["trained_at"]),
        vehicles=tuple(map(str, document["vehicles"])),
        samples=int(document["samples"]),
        expected_depth=float(document["expected_depth"]),
        smooth_s=int(document["smooth_s"]),
        features=features,
    )


def scores(trees: Trees, expected_depth: float, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of scaled values float64[n, f]."""
    depths = np.zeros(len(scaled))
    kernels.isolate(np.ascontiguousarray(scaled.astype(np.float32).astype(np.float64)), trees, depths)
    return np.asarray(2 ** -(depths / (len(trees.roots) * expected_depth)))


def next_version(ids: Sequence[str], name: str) -> int:
    """After the newest of these ids that has this name."""
    versions = [one.rpartition("-v") for one in ids]
    return 1 + max((int(v) for stem, _, v in versions if stem == name and v.isdecimal()), default=0)
