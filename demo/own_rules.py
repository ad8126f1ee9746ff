"""Rules for a drive that nobody has rules for: drawn from the drive itself, so that there is something to find. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal, physical
from collector.rules import evaluate_all, load_rules
from collector.rules.expression import Comparison
from collector.rules.parser import ExpressionError, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

RULES_WANTED = 5
FAULTS_MAX = 25  # of one rule: more is a limit in the noise
DISTINCT_MIN = 8  # values; fewer is a switch
ONE_WAY = 0.95  # share of its steps that a counter or an odometer makes in one direction
AVAILABLE_MIN = 0.1  # share of the drive
# Percentile that is the limit, percentile below which a fault ends, wait in seconds.
_TRIES = ((90, 75, 0.5), (90, 50, 2.0), (98, 75, 0.0), (98, 25, 5.0), (99.8, 10, 0.0))


def rules_from(schema: Schema, runs: Sequence[tuple[int, Records]]) -> str:
    """TOML of up to RULES_WANTED rules: the top tenth of measurements, then states that a switch is seldom in.

    Lively signals come first. A rule that would fire never or all the time is left out; the text may be empty.
    """
    chosen: list[str] = []
    for column in [*_measurements(schema, runs), *_switches(schema, runs)]:
        for text in _candidates(schema.signals[column], _available(column, runs)):
            faults = len(evaluate_all(load_rules(text), schema, runs))
            if 1 <= faults <= FAULTS_MAX:
                chosen.append(text)
                break
        if len(chosen) == RULES_WANTED:
            break
    return "\n".join(chosen)


def _candidates(signal: Signal, counts: NDArray[np.int64]) -> Iterator[str]:
    """Rules on one signal, each calmer than the one before."""
    if not _has_a_readable_name(signal.name):
        return
    values, times = np.unique(counts, return_counts=True)
    if signal.labels or len(values) < DISTINCT_MIN:
        seldom = _decimal(signal, int(values[np.argmin(times)]))
        yield _rule(
            f"{signal.name}_STATE", f"{signal.name} == {seldom}", "", 0.0, "the state it is seldom in"
        )
        return
    for percent, end_percent, for_s in _TRIES:
        limit, end = (_decimal(signal, _percentile(signal, counts, at)) for at in (percent, end_percent))
        if limit != end:
            when, clear = f"{signal.name} > {limit}", f"{signal.name} < {end}"
            yield _rule(
                f"{signal.name}_HIGH", when, clear, for_s, f"the top {100 - percent:.3g} % of this drive"
            )


def _measurements(schema: Schema, runs: Sequence[tuple[int, Records]]) -> list[int]:
    """Columns of signals that move both ways: those with a unit first, then those that move through most thresholds."""
    scored = []
    for column, signal in enumerate(schema.signals):
        if signal.kind is not Kind.SCALED or signal.labels or signal.circular:
            continue
        counts = _available(column, runs)
        if len(counts) < AVAILABLE_MIN * _record_count(runs) or len(np.unique(counts)) < DISTINCT_MIN:
            continue
        low, high = np.percentile(counts, [2, 98])
        if high > low and not _goes_one_way(counts):
            liveliness = float(high - low) / (signal.max_error_counts + 1)
            scored.append((bool(signal.unit), liveliness, -column))
    return [-column for *_, column in sorted(scored, reverse=True)]


def _goes_one_way(counts: NDArray[np.int64]) -> bool:
    """As counters do, and odometers, but for where they begin again."""
    steps = np.diff(counts)
    ups, downs = np.count_nonzero(steps > 0), np.count_nonzero(steps < 0)
    return bool(max(ups, downs) > ONE_WAY * (ups + downs))


def _switches(schema: Schema, runs: Sequence[tuple[int, Records]]) -> list[int]:
    """Columns of signals with a few states, more than one of which occurs."""
    found = []
    for column, signal in enumerate(schema.signals):
        if signal.kind is not Kind.SCALED:
            continue
        counts = _available(column, runs)
        states = len(np.unique(counts))
        few = bool(signal.labels) or states < DISTINCT_MIN
        if few and states > 1 and len(counts) >= AVAILABLE_MIN * _record_count(runs):
            found.append(column)
    return found


def _record_count(runs: Iterable[tuple[int, Records]]) -> int:
    return sum(len(records) for _, records in runs)


def _available(column: int, runs: Iterable[tuple[int, Records]]) -> NDArray[np.int64]:
    parts = [
        records.counts[records.states[:, column] == Availability.AVAILABLE, column] for _, records in runs
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _percentile(signal: Signal, counts: NDArray[np.int64], percent: float) -> int:
    """Count at a percentile of the physical values."""
    return int(np.percentile(counts, percent if signal.factor > 0 else 100 - percent, method="nearest"))


def _decimal(signal: Signal, count: int) -> str:
    """The physical value of a count with the decimals that the signal has."""
    (value,) = physical(signal, np.array([count], np.int64))
    exponents = [
        Decimal(repr(number)).normalize().as_tuple().exponent for number in (signal.factor, signal.offset)
    ]
    return f"{value:.{max(0, *(-int(exponent) for exponent in exponents))}f}"


def _has_a_readable_name(name: str) -> bool:
    try:
        return parse(f"{name} > 0") == Comparison(name, ">", 0.0)
    except ExpressionError:
        return False


def _rule(code: str, when: str, clear: str, for_s: float, why: str) -> str:
    wait = f" for {for_s:g} s" if for_s else ""
    entries = {
        "code": code,
        "when": when,
        "clear": clear,
        "severity": "WARNING",
        "description": f"{when}{wait}: {why}",
    }
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items() if value]
    return "\n".join(["[[rule]]", *lines, f"for_s = {for_s:g}", ""])
