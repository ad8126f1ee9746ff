"""The kernels of the window: seconds in, scores out.

Rules
- A window's slot is its second modulo the window's length, and sums go over slots in their order: what comes out depends on
  what is in the window, and not on how it came there.
- The values of a circle are cut where the widest arc between two of them is empty; from there on they are numbers.
- `ranked` holds the same values as the window in order of size, for signals that are on a circle or scored robustly.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from codec.kernel import entry, kernel
from codec.signature import F64, I64, U8, F64x2

NORMAL = 1.4826  # of a normal distribution, standard deviation over median absolute deviation


class Measures(NamedTuple):
    """What is known of m signals."""

    noise: F64  # what a value is not known better than
    turns: F64  # length of a circle; 0: a line
    is_ranked: U8


class Held(NamedTuple):
    """The last seconds of m signals, w slots; NaN where there is no value."""

    window: F64x2  # [w, m]
    ranked: F64x2  # [m, w], the first `counts`
    counts: I64  # [m]
    last: I64  # [1], the newest second


class Scores(NamedTuple):
    """Of k seconds and m signals; NaN where a value was not scored, 0 where it deviates by less than its noise."""

    z: F64x2
    robust: F64x2
    centre: F64  # room for one second's reckoning
    square: F64


@entry
def score(
    values: F64x2,
    seconds: I64,
    measures: Measures,
    held: Held,
    samples_min: int,
    robustly: bool,
    scores: Scores,
) -> None:
    """Scores each second against the window before it, then takes it in. `values`: [k, m], NaN where there is none."""
    for row in range(seconds.size):
        _pass_until(seconds[row], held, measures.is_ranked)
        _score_straight(values, row, measures, held, samples_min, scores)
        for column in range(measures.noise.size):
            if measures.is_ranked[column]:
                _score_ranked(values, row, column, measures, held, samples_min, robustly, scores)
        _take(values, row, seconds[row], measures.is_ranked, held)


class Trees(NamedTuple):
    """All nodes of all trees in a row."""

    roots: I64
    feature: I64  # that a node asks for
    threshold: F64
    left: I64  # -1: a leaf
    right: I64
    depth: F64  # of leaves, with what is expected below them


@entry
def isolate(samples: F64x2, trees: Trees, depths: F64) -> None:
    """Adds up the depths at which n samples come to lie in each tree."""
    for sample in range(depths.size):
        for tree in range(trees.roots.size):
            node = trees.roots[tree]
            while trees.left[node] >= 0:
                if samples[sample, trees.feature[node]] <= trees.threshold[node]:
                    node = trees.left[node]
                else:
                    node = trees.right[node]
            depths[sample] += trees.depth[node]


@entry
def means(values: F64x2, seconds: I64, held: Held, columns: I64, over: int, found: F64x2) -> None:
    """Of some columns, means over that many seconds up to each; NaN where one has no value. Before they are scored."""
    newest, length = held.last[0], held.window.shape[0]
    for row in range(seconds.size):
        for i in range(columns.size):
            total = 0.0
            at = row
            for back in range(over):
                second = seconds[row] - back
                while at > 0 and seconds[at] > second:
                    at -= 1
                if seconds[at] == second:
                    total += values[at, columns[i]]
                elif newest - length < second <= newest:
                    total += held.window[second % length, columns[i]]
                else:
                    total = np.nan
            found[row, i] = total / over


@entry
def fill(values: F64x2, seconds: I64, measures: Measures, held: Held) -> None:
    """Takes seconds in without scoring them."""
    for row in range(seconds.size):
        _pass_until(seconds[row], held, measures.is_ranked)
        _take(values, row, seconds[row], measures.is_ranked, held)


@kernel
def _pass_until(second: Any, held: Any, is_ranked: Any) -> None:
    """Seconds that were missed are empty."""
    window, last = held.window, held.last
    length = window.shape[0]
    if second - last[0] > length:
        window[:, :] = np.nan
        held.counts[:] = 0
    else:
        for missed in range(last[0] + 1, second):
            _evict(missed % length, held, is_ranked)
    last[0] = second - 1


@kernel
def _take(values: Any, row: Any, second: Any, is_ranked: Any, held: Any) -> None:
    slot = second % held.window.shape[0]
    _evict(slot, held, is_ranked)
    for column in range(values.shape[1]):
        value = values[row, column]
        if math.isnan(value):
            continue
        held.window[slot, column] = value
        count = held.counts[column]
        if is_ranked[column]:
            at = _rank(held.ranked, column, count, value)
            for i in range(count, at, -1):
                held.ranked[column, i] = held.ranked[column, i - 1]
            held.ranked[column, at] = value
        held.counts[column] = count + 1
    held.last[0] = second


@kernel
def _evict(slot: Any, held: Any, is_ranked: Any) -> None:
    for column in range(held.window.shape[1]):
        value = held.window[slot, column]
        if math.isnan(value):
            continue
        held.window[slot, column] = np.nan
        count = held.counts[column] - 1
        if is_ranked[column]:
            for i in range(_rank(held.ranked, column, count + 1, value), count):
                held.ranked[column, i] = held.ranked[column, i + 1]
        held.counts[column] = count


@kernel
def _rank(ranked: Any, column: Any, count: Any, value: Any) -> Any:
    """How many of the first `count` are less than this value."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ranked[column, middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _score_straight(values: Any, row: Any, measures: Any, held: Any, samples_min: Any, scores: Any) -> None:
    """Of all signals at once, as if none were on a circle."""
    window, counts, centre, square = held.window, held.counts, scores.centre, scores.square
    length, width = window.shape
    for column in range(width):
        centre[column] = 0.0
        square[column] = 0.0
    for slot in range(length):
        for column in range(width):
            value = window[slot, column]
            centre[column] += 0.0 if math.isnan(value) else value
    for column in range(width):
        centre[column] /= max(counts[column], 1)
    for slot in range(length):
        for column in range(width):
            value = window[slot, column]
            apart = 0.0 if math.isnan(value) else value - centre[column]
            square[column] += apart * apart
    for column in range(width):
        scores.z[row, column] = np.nan
        scores.robust[row, column] = np.nan
        value = values[row, column]
        if not math.isnan(value) and counts[column] >= samples_min:
            scores.z[row, column] = _over(
                value - centre[column], math.sqrt(square[column] / counts[column]), measures.noise[column]
            )


@kernel
def _score_ranked(
    values: Any, row: Any, column: Any, measures: Any, held: Any, samples_min: Any, robustly: Any, scores: Any
) -> None:
    """Of a signal on a circle, and robustly."""
    ranked, count, turn, value = held.ranked, held.counts[column], measures.turns[column], values[row, column]
    if math.isnan(value) or count < samples_min:
        return
    first = _cut(ranked, column, count, turn) if turn > 0 else 0
    if turn > 0:
        centre = 0.0
        for i in range(count):
            centre += _ordered(ranked, column, count, turn, first, i)
        centre /= count
        square = 0.0
        for i in range(count):
            apart = _ordered(ranked, column, count, turn, first, i) - centre
            square += apart * apart
        scores.z[row, column] = _over(
            _short_way(value - centre, turn), math.sqrt(square / count), measures.noise[column]
        )
    if robustly:
        lower, upper = (count - 1) // 2, count // 2
        middle = (
            _ordered(ranked, column, count, turn, first, lower)
            + _ordered(ranked, column, count, turn, first, upper)
        ) / 2
        apart = value - middle
        spread = NORMAL * _median_deviation(ranked, column, count, turn, first, middle)
        scores.robust[row, column] = _over(
            _short_way(apart, turn) if turn > 0 else apart, spread, measures.noise[column]
        )


@kernel
def _over(deviation: Any, spread: Any, noise: Any) -> Any:
    """The score of a deviation. What a value is not known better than spreads it as evenly as that: by noise / sqrt(3)."""
    if abs(deviation) <= noise:
        return 0.0
    return deviation / max(spread, noise / math.sqrt(3.0))


@kernel
def _short_way(apart: Any, turn: Any) -> Any:
    around = apart % turn
    return around - turn if 2 * around > turn else around


@kernel
def _cut(ranked: Any, column: Any, count: Any, turn: Any) -> Any:
    """Index of the value after the widest empty arc."""
    first = 0
    widest = ranked[column, 0] + turn - ranked[column, count - 1]
    for i in range(1, count):
        arc = ranked[column, i] - ranked[column, i - 1]
        if arc > widest:
            widest = arc
            first = i
    return first


@kernel
def _ordered(ranked: Any, column: Any, count: Any, turn: Any, first: Any, i: Any) -> Any:
    """The i-th value from the cut on."""
    at = first + i
    return ranked[column, at] if at < count else ranked[column, at - count] + turn


@kernel
def _median_deviation(ranked: Any, column: Any, count: Any, turn: Any, first: Any, middle: Any) -> Any:
    """Median of |value - middle|, from the middle outwards on both sides."""
    below = (count - 1) // 2
    above = below + 1
    nearest, before = 0.0, 0.0
    for _ in range(count // 2 + 1):
        before = nearest
        down = middle - _ordered(ranked, column, count, turn, first, below) if below >= 0 else np.inf
        up = _ordered(ranked, column, count, turn, first, above) - middle if above < count else np.inf
        if down <= up:
            nearest = down
            below -= 1
        else:
            nearest = up
            above += 1
    return nearest if count % 2 else (before + nearest) / 2
