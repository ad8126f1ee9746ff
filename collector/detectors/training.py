"""Training an Isolation Forest: scikit-learn grows it, and what came of it is arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from collector.detectors.forest import Feature, Forest, Header, scores
from collector.detectors.kernels import Trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TREES = 100
TREE_SAMPLES = (
    256  # of each tree. Source: Liu, Ting, Zhou, Isolation Forest (2008), as is the number of trees
)
SEED = 1
QUANTILES = 1001
SAMPLES_MIN = 100


def fit(
    header: Header,
    training: NDArray[np.float64],
    held_out: NDArray[np.float64],
    *,
    trees: int = TREES,
    tree_samples: int = TREE_SAMPLES,
) -> Forest:
    """A forest of physical values float64[n, f] without NaN. Of the header, library, samples and scaling are filled in here."""
    import sklearn
    from sklearn.ensemble import IsolationForest

    centre, scale = scaling(training)
    scaled = ((training - centre) / scale).astype(np.float32)
    grown = IsolationForest(
        n_estimators=trees, max_samples=min(tree_samples, len(scaled)), random_state=SEED
    ).fit(scaled)
    expected_depth = expected_path(np.array([min(tree_samples, len(scaled))]))[0]
    arrays = as_arrays([one.tree_ for one in grown.estimators_])
    header = replace(
        header,
        library=f"scikit-learn {sklearn.__version__}",
        samples=len(training),
        expected_depth=float(expected_depth),
        features=tuple(
            replace(feature, centre=float(c), scale=float(s))
            for feature, c, s in zip(header.features, centre, scale, strict=True)
        ),
    )
    unseen = scores(arrays, header.expected_depth, (held_out - centre) / scale)
    return Forest(header, arrays, np.quantile(unseen, np.linspace(0, 1, QUANTILES)))


def features(signals: Sequence[tuple[str, str]]) -> tuple[Feature, ...]:
    """Of (signal, unit), not scaled yet."""
    return tuple(Feature(name, unit, 0.0, 1.0) for name, unit in signals)


def scaling(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and scale of each column; what never moves is left as it is."""
    scale = values.std(axis=0)
    return values.mean(axis=0), np.where(scale > 0, scale, 1.0)


def as_arrays(trees: Sequence[object]) -> Trees:
    """Of scikit-learn's trees."""
    parts: list[dict[str, NDArray[np.float64]]] = []
    roots, at = [], 0
    for tree in trees:
        left, right = (
            np.where(child >= 0, child + at, -1)
            for child in (tree.children_left, tree.children_right)  # type: ignore[attr-defined]
        )
        leaf = left == -1
        below = expected_path(tree.n_node_samples)  # type: ignore[attr-defined]
        # In scikit-learn's order: nodes on the path, then what is expected below, less one.
        depth = np.where(leaf, _path_lengths(left - at, right - at, leaf) + below - 1.0, 0.0)
        feature = np.where(leaf, 0, tree.feature)  # type: ignore[attr-defined]
        threshold = np.where(leaf, 0.0, tree.threshold)  # type: ignore[attr-defined]
        parts.append(
            {"feature": feature, "threshold": threshold, "left": left, "right": right, "depth": depth}
        )
        roots.append(at)
        at += len(left)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    whole = {name: joined[name].astype(np.int64) for name in ("feature", "left", "right")}
    return Trees(roots=np.array(roots, np.int64), **(joined | whole))


def _path_lengths(
    left: NDArray[np.int64], right: NDArray[np.int64], leaf: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Nodes from the root to each, both included."""
    length = np.ones(len(left))
    for node in np.flatnonzero(~leaf):  # children stand after their parents
        length[[left[node], right[node]]] = length[node] + 1
    return length


def expected_path(samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean length of an unsuccessful search in a binary tree of so many samples. Source: the paper, equation 1."""
    count = samples.astype(np.float64)
    length = np.where(count == 2, 1.0, 0.0)
    many = count > 2
    length[many] = (
        2.0 * (np.log(count[many] - 1.0) + np.euler_gamma) - 2.0 * (count[many] - 1.0) / count[many]
    )
    return length
