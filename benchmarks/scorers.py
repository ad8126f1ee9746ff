"""What is compared: each learns from healthy units, and scores every second (cycle) of others.

Ours run the kernels, windows and files that the collector runs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collector.detectors import training
from collector.detectors.bound import inputs_of
from collector.detectors.forest import Forest, Header
from collector.detectors.settings import CONFIDENCE, LIMIT
from collector.detectors.window import Measured, Window, measured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.labelled import Labelled, Unit

WINDOW_S, SAMPLES_MIN = 120, 30
ARIMA_ORDER = (1, 0, 1)
ARIMA_SAMPLES_MAX = 1500  # that its parameters are fitted to: more takes minutes and changes little
SMOOTH = 10


@dataclass(frozen=True, slots=True)
class Scorer:
    """`score(unit)`: float64[length], NaN where it says nothing. `limit`: the default one."""

    name: str
    limit: float
    score: Callable[[Unit], NDArray[np.float64]]


def scorers(labelled: Labelled) -> list[Scorer]:
    """All of them, taught."""
    known = measured(labelled.learn[0].schema, robust=True)
    taught = [_values(unit, known)[: labelled.early] for unit in labelled.learn]
    return [
        Scorer("z-score", LIMIT, lambda unit: _windowed(unit, robust=False)),
        Scorer("robust z-score", LIMIT, lambda unit: _windowed(unit, robust=True)),
        _forest("isolation forest", labelled, known, 1),
        _forest(f"isolation forest, means of {SMOOTH}", labelled, known, SMOOTH),
        _threshold(known, taught),
        _arima(known, taught),
    ]


def _rows(unit: Unit, known: Measured, over: int = 1) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(indices, physical values [k, m]) of a unit's seconds, means over so many."""
    window = Window(known, max(over, 2))
    columns = np.arange(len(known.names))
    first = unit.runs[0].first_tick // known.schema.rate_hz
    at, values = [], []
    for run in unit.runs:
        taken = known.seconds(run, window.last_second)
        at.append(taken.seconds - first)
        values.append(window.means(taken, columns, over) * known.factors + known.offsets)
        window.take(taken)
    return np.concatenate(at), np.concatenate(values)


def _values(unit: Unit, known: Measured) -> NDArray[np.float64]:
    """[length, m], NaN where there is none."""
    at, values = _rows(unit, known)
    whole = np.full((unit.length, len(known.names)), np.nan)
    inside = at < unit.length
    whole[at[inside]] = values[inside]
    return whole


def _windowed(unit: Unit, *, robust: bool) -> NDArray[np.float64]:
    """The most extreme score of any signal."""
    known = measured(unit.schema, robust=robust)
    window = Window(known, WINDOW_S)
    first = unit.runs[0].first_tick // unit.schema.rate_hz
    found = np.full(unit.length, np.nan)
    for run in unit.runs:
        taken = known.seconds(run, window.last_second)
        if not taken.ticks:
            continue
        scores = window.score(taken, SAMPLES_MIN, robust=robust)
        _put(found, taken.seconds - first, _most(np.abs(scores.robust if robust else scores.z)))
    return found


def _most(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest of each row; NaN where it has none."""
    filled = np.where(np.isnan(scores), -np.inf, scores).max(axis=1, initial=-np.inf)
    return np.where(np.isinf(filled), np.nan, filled)


def _put(found: NDArray[np.float64], at: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    inside = at < len(found)
    found[at[inside]] = scores[inside]


def _forest(name: str, labelled: Labelled, known: Measured, smooth_s: int) -> Scorer:
    straight = [
        (n, known.schema.signals[c].unit)
        for n, c, turn in zip(known.names, known.columns, known.measures.turns, strict=True)
        if not turn
    ]
    header = Header("benchmark", 1, "", "", (), 1, 1.0, smooth_s, training.features(straight))
    older, newer = [], []
    for unit in labelled.learn:
        values = _features(unit, header)[1][: labelled.early]
        values = values[~np.isnan(values).any(axis=1)]
        cut = len(values) * 2 // 3
        older.append(values[:cut])
        newer.append(values[cut:])
    forest = training.fit(header, np.concatenate(older), np.concatenate(newer))
    forest = Forest.from_bytes(forest.to_bytes())
    even = np.linspace(0, 1, len(forest.held_out))
    limit = float(np.interp(CONFIDENCE, even, forest.held_out))

    def score(unit: Unit) -> NDArray[np.float64]:
        at, values = _features(unit, forest.header)
        whole = ~np.isnan(values).any(axis=1)
        found = np.full(unit.length, np.nan)
        _put(found, at[whole], forest.judge(values[whole]).score)
        return found

    return Scorer(name, limit, score)


def _features(unit: Unit, header: Header) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    known = measured(unit.schema)
    inputs = inputs_of(header.features, header.smooth_s, known)
    assert inputs is not None
    at, values = _rows(unit, known, header.smooth_s)
    return at, values[:, inputs.columns]


def _threshold(known: Measured, taught: Sequence[NDArray[np.float64]]) -> Scorer:
    """Limits for each signal, as far beyond the range of all that was learnt as it takes. 1: at its edge."""
    every = np.concatenate(taught)
    low, high = np.nanmin(every, axis=0), np.nanmax(every, axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, np.abs(known.factors))
    return Scorer("plain threshold", 1.0, lambda unit: _most(np.abs(_values(unit, known) - middle) / half))


def _arima(known: Measured, taught: Sequence[NDArray[np.float64]]) -> Scorer:
    """What an ARMA process fitted to healthy records did not foresee, in its standard deviation; the most of any signal."""
    from statsmodels.tsa.arima.model import ARIMA

    models = {}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of starting values and of fits that stop at a limit: the best found counts
        for column in range(len(known.names)):
            parts = [
                part[:, column] - np.nanmean(part[:, column])
                for part in taught
                if np.isfinite(part[:, column]).any()
            ]
            joined = np.concatenate(parts)[:ARIMA_SAMPLES_MAX] if parts else np.empty(0)
            if len(joined) and np.nanstd(joined) > 0:
                models[column] = (
                    ARIMA(joined / np.nanstd(joined), order=ARIMA_ORDER, trend="n").fit(
                        method_kwargs={"maxiter": 50}
                    ),
                    np.nanstd(joined),
                )

    def score(unit: Unit) -> NDArray[np.float64]:
        values = _values(unit, known)
        found = np.full((unit.length, len(models)), np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for place, (column, (fitted, spread)) in enumerate(models.items()):
                series = values[:, column]
                own = np.nanmean(series[:SAMPLES_MIN]) if np.isfinite(series[:SAMPLES_MIN]).any() else 0.0
                foreseen = fitted.apply((series - own) / spread)
                found[:, place] = foreseen.standardized_forecasts_error[0]
        found[:SAMPLES_MIN] = np.nan
        return _most(np.abs(found))

    return Scorer("ARIMA residual", LIMIT, score)
