"""Guard crossings: when a block has to end because something happened that a rule waits for.

Rules
- A guard has crossed once its condition has become different and has stayed so for its `for_s`; a value that is not
  available restarts that, as it does for the rule. Before its first record a guard does not hold.
- At most CLOSES_PER_S blocks end so: a value that chatters around a limit is reported late, not as a flood.
- `states` and `lasted` say how each guard is now, so that a rule's verdict on now can be told without its records: a
  condition is known to hold, or not to, where every guard that it rests on has lasted. A missed tick starts that anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.guards import GuardSet, Interval, limit_interval
from codec.records import Availability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codec.records import Records
    from codec.schema import Schema

CLOSES_PER_S = 2


@dataclass(slots=True)
class _Watched:
    """One guard of the set on a signal of the schema."""

    column: int
    interval: Interval
    for_ticks: int
    settled: bool = False  # as last reported
    holds: bool = False  # as of the last available value
    since: int | None = None  # tick from which `holds` differs from `settled` without a break
    same_since: int = 0  # tick from which it has been available and as it is


class Crossings:
    """Watches records for guards that cross."""

    def __init__(self, schema: Schema, guards: GuardSet) -> None:
        self._schema = schema
        columns = {name: column for column, name in enumerate(schema.names)}
        self._guards = [
            _Watched(
                columns[guard.signal],
                limit_interval(schema.signals[columns[guard.signal]], guard.operator, guard.limit),
                math.ceil(guard.for_s * schema.rate_hz - 1e-9),
            )
            if guard.signal in columns
            else None  # of a signal that this vehicle does not have
            for guard in guards.guards
        ]
        self._spacing_ticks = max(1, schema.rate_hz // CLOSES_PER_S)
        self._last_close: int | None = None
        self._due = False  # crossed, but too soon after the last close
        self._end_tick: int | None = None

    def scan(self, records: Records) -> list[int]:
        """Ticks after whose record a block has to end, in order. Records are fed once, in order."""
        crossed: set[int] = set()
        for guard in self._guards:
            if guard is not None:
                crossed.update(self._scan_guard(guard, records))
        self._end_tick = records.end_tick
        return self._spaced(sorted(crossed), records)

    def states(self) -> bytes:
        """One bit per guard of the set, in its order, lowest bit first: whether its condition holds now."""
        return _packed([guard is not None and guard.holds for guard in self._guards])

    def lasted(self) -> bytes:
        """The same for whether it has been available, and as it is, for its `for_s` without a break."""
        last_tick = (self._end_tick or 0) - 1
        return _packed(
            [guard is not None and last_tick - guard.same_since >= guard.for_ticks for guard in self._guards]
        )

    def _scan_guard(self, guard: _Watched, records: Records) -> list[int]:
        available = records.states[:, guard.column] == Availability.AVAILABLE
        holds = guard.interval.holds(self._schema.signals[guard.column], records.counts[:, guard.column])
        same = available & (holds == holds[-1])
        if not same.all():
            guard.same_since = records.end_tick - int(np.argmin(same[::-1]))
        elif records.first_tick != self._end_tick or bool(holds[-1]) != guard.holds:
            guard.same_since = records.first_tick
        if available.any():
            guard.holds = bool(holds[np.flatnonzero(available)[-1]])
        differs = available & (holds != guard.settled)
        if not differs.any():
            guard.since = None
            return []
        return _settle(guard, records.first_tick, holds, available)

    def _spaced(self, crossed: list[int], records: Records) -> list[int]:
        """Of the ticks at which guards crossed, those at which a block may end."""
        closes: list[int] = []
        first = records.first_tick
        for tick in [first, *crossed] if self._due else crossed:
            earliest = tick if self._last_close is None else max(tick, self._last_close + self._spacing_ticks)
            if closes and tick <= closes[-1]:
                continue  # that close has it already
            self._due = earliest >= records.end_tick
            if self._due:
                break
            closes.append(earliest)
            self._last_close = earliest
        return closes


def _packed(bits: list[bool]) -> bytes:
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def _settle(
    guard: _Watched, first_tick: int, holds: NDArray[np.bool_], available: NDArray[np.bool_]
) -> list[int]:
    """Walk a guard through records of which at least one differs from what is settled."""
    crossed: list[int] = []
    for index, (held, known) in enumerate(zip(holds.tolist(), available.tolist(), strict=True)):
        if not known or held == guard.settled:
            guard.since = None
            continue
        tick = first_tick + index
        if guard.since is None:
            guard.since = tick
        if tick - guard.since >= guard.for_ticks:
            guard.settled, guard.since = held, None
            crossed.append(tick)
    return crossed
