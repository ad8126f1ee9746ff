"""Blocks of records as portions of a battery's seconds: what is in them of each second, without what came before. Pure.

To reckon many blocks of one schema together gives what reckoning each by itself does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collector.battery import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from codec.records import Records
    from collector.battery.roles import Battery

DIFFERENCE_MAX = 1 << 25  # counts; products of two, added up over 1000 ticks, fit int64

Point = tuple[int, int, bool]  # voltage and current of a record in counts, and whether both are known
Begun = tuple[
    int, int, int, tuple[int | None, ...]
]  # a second's first tick, voltage, current and others there


class Portion(NamedTuple):
    """Of one block."""

    first_tick: int
    end_tick: int
    begun: list[Begun]  # the seconds that begin in it
    sums: list[list[int]]  # see `kernels.SUMS`: of its ticks before these, and of each of these
    head: list[Point]  # its first two records
    tail: list[Point]  # its last two


def portions(
    battery: Battery, first_ticks: Sequence[int], counts: NDArray[np.int64], states: NDArray[np.uint8]
) -> list[Portion]:
    """Of b blocks: counts int64[b, m, n], states uint8[b, m, n], n > 0."""
    blocks, _, records = counts.shape
    rate = battery.rate_hz
    volts = battery.measures["voltage"]
    voltage = volts.whole(counts[:, volts.column])
    current = battery.current_counts(counts[:, battery.measures[battery.driver].column], voltage)
    bad = np.bitwise_or(*(states[:, battery.measures[role].column] for role in ("voltage", battery.driver)))
    starts = np.array([-tick % rate for tick in first_ticks], np.int64)
    parts = 1 + -(-records // rate)
    sums = np.zeros((blocks * parts, kernels.SUMS), np.int64)
    kernels.add_up(
        np.ascontiguousarray(voltage),
        np.ascontiguousarray(current),
        np.ascontiguousarray(bad),
        starts,
        rate,
        parts,
        DIFFERENCE_MAX,
        sums,
    )
    begun = _begun(battery, first_ticks, starts, (counts, states, voltage, current))
    ends = [*range(min(2, records)), *range(max(0, records - 2), records)]
    points = [part[:, ends].tolist() for part in (voltage, current, bad == 0)]
    both = [list(zip(*point, strict=True)) for point in zip(*points, strict=True)]
    half = len(ends) // 2
    return [
        Portion(first_tick, first_tick + records, started, found, point[:half], point[half:])
        for first_tick, started, found, point in zip(
            first_ticks, begun, sums.reshape(blocks, parts, -1).tolist(), both, strict=True
        )
    ]


def portion_of(battery: Battery, records: Records) -> Portion:
    return portions(
        battery, [records.first_tick], records.counts.T[np.newaxis], records.states.T[np.newaxis]
    )[0]


def _begun(
    battery: Battery,
    first_ticks: Sequence[int],
    starts: NDArray[np.int64],
    found: tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
) -> list[list[Begun]]:
    """Of each block, the seconds that begin in it."""
    counts, states, voltage, current = found
    blocks, _, records = counts.shape
    at = starts[:, np.newaxis] + np.arange(0, records, battery.rate_hz)
    inside = np.minimum(at, records - 1)
    rows = np.arange(blocks)[:, np.newaxis]
    others: list[list[list[int | None]]] = []
    for measure in battery.sampled:
        sampled: list[list[int | None]] = [[None] * at.shape[1]] * blocks
        if measure is not None:
            place = rows, measure.column, inside
            values, missing = measure.whole(counts[place]).tolist(), states[place] != 0
            if missing.any():
                pairs = zip(values, missing.tolist(), strict=True)
                values = [
                    [None if gone else value for value, gone in zip(*pair, strict=True)] for pair in pairs
                ]
            sampled = values
        others.append(sampled)
    volts, amperes = voltage[rows, inside].tolist(), current[rows, inside].tolist()
    return [
        [
            (
                first_ticks[block] + start,
                volts[block][k],
                amperes[block][k],
                tuple(o[block][k] for o in others),
            )
            for k, start in enumerate(begins)
            if start < records
        ]
        for block, begins in enumerate(at.tolist())
    ]
