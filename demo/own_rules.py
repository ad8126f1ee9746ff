"""Rules for a drive that nobody has rules for: drawn from the drive itself, so that there is something to find. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal, physical
from collector.rules import evaluate_all, load_rules
from collector.rules.expression import ExpressionError, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

RULES_WANTED = 5
FAULTS_MAX = 25  # of one rule: more is a limit in the noise
DISTINCT_MIN = 8  # values; fewer is a switch
AVAILABLE_MIN = 0.1  # share of the drive
_FOR_S = (0.0, 0.5, 2.0)
_FILE = "rules drawn from the drive"


def rules_from(schema: Schema, runs: Sequence[tuple[int, Records]]) -> str:
    """TOML of up to RULES_WANTED rules: a signal's 90th percentile is the limit, its 75th ends the fault.

    Lively signals come first. A rule that would fire never or all the time is left out; the text may be empty.
    """
    chosen: list[str] = []
    for column in _by_liveliness(schema, runs):
        signal = schema.signals[column]
        limit, end = _limits(signal, _available(column, runs))
        if limit == end or not _has_a_readable_name(signal.name):
            continue
        text = _rule(signal, limit, end, for_s=_FOR_S[len(chosen) % len(_FOR_S)])
        faults = len(evaluate_all(load_rules(text), schema, runs))
        if 1 <= faults <= FAULTS_MAX:
            chosen.append(text)
        if len(chosen) == RULES_WANTED:
            break
    return "\n".join(chosen)


def _by_liveliness(schema: Schema, runs: Sequence[tuple[int, Records]]) -> list[int]:
    """Columns of measurements, those first that move through most thresholds; what rests or flickers is left out."""
    total = sum(len(records) for _, records in runs)
    scored = []
    for column, signal in enumerate(schema.signals):
        if signal.kind is not Kind.SCALED or signal.labels or signal.circular:
            continue
        counts = _available(column, runs)
        if len(counts) < AVAILABLE_MIN * total or len(np.unique(counts)) < DISTINCT_MIN:
            continue
        low, high = np.percentile(counts, [2, 98])
        if high > low:
            scored.append((float(high - low) / (signal.max_error_counts + 1), -column))
    return [-column for _, column in sorted(scored, reverse=True)]


def _available(column: int, runs: Iterable[tuple[int, Records]]) -> NDArray[np.int64]:
    parts = [
        records.counts[records.states[:, column] == Availability.AVAILABLE, column] for _, records in runs
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _limits(signal: Signal, counts: NDArray[np.int64]) -> tuple[str, str]:
    """90th and 75th percentile of the physical values, as the signal's own decimals."""
    at = np.percentile(counts, [90, 75] if signal.factor > 0 else [10, 25], method="nearest")
    values = physical(signal, at.astype(np.int64))
    places = max(
        0,
        *(
            -int(Decimal(repr(number)).normalize().as_tuple().exponent)
            for number in (signal.factor, signal.offset)
        ),
    )
    limit, end = (f"{value:.{places}f}" for value in values)
    return limit, end


def _has_a_readable_name(name: str) -> bool:
    try:
        return bool(parse(f"{name} > 0"))
    except ExpressionError:
        return False


def _rule(signal: Signal, limit: str, end: str, *, for_s: float) -> str:
    unit = f" {signal.unit}" if signal.unit else ""
    wait = f" for {for_s:g} s" if for_s else ""
    entries = {
        "code": f"{signal.name}_HIGH",
        "when": f"{signal.name} > {limit}",
        "clear": f"{signal.name} < {end}",
        "severity": "WARNING",
        "description": f"{signal.name} above {limit}{unit}{wait}: the top tenth of this drive",
    }
    lines = [
        "[[rule]]",
        *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()),
    ]
    return "\n".join([*lines, f"for_s = {for_s:g}", ""])
