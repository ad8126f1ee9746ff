"""Streams that more than one outbox of a vehicle has: after a fork, or where a card was cloned or restored.

A stream keeps its id wherever its outbox goes, and its ticks tell its records apart. So what one outbox brought is left
out of what another brings later: its blocks are kept, since others build on them, and their `skip` says how many of
their first records are stored elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other outboxes have of one stream. `runs`: [first tick, end tick), apart and in order."""

    outboxes: frozenset[int] = frozenset()
    runs: tuple[tuple[int, int], ...] = ()

    def leading(self, first_tick: int, end_tick: int) -> int:
        """How many of these ticks, from the first one on, to leave out: up to the last that is stored elsewhere.

        Those between that are not stored are in a gap of the outbox that has what comes after them.
        """
        ends = [end for first, end in self.runs if first < end_tick and end > first_tick]
        return min(ends[-1], end_tick) - first_tick if ends else 0

    def count(self, first_tick: int, end_tick: int) -> int:
        """How many of these ticks are stored elsewhere."""
        return sum(max(0, min(end, end_tick) - max(first, first_tick)) for first, end in self.runs)

    @classmethod
    def of(cls, outboxes: frozenset[int], blocks: list[tuple[int, int]]) -> Elsewhere:
        """Of blocks [first tick, end tick) in any order."""
        runs: list[tuple[int, int]] = []
        for first, end in sorted(blocks):
            if runs and first <= runs[-1][1]:
                runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
            else:
                runs.append((first, end))
        return cls(outboxes, tuple(runs))


NOWHERE = Elsewhere()
