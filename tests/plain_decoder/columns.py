"""Section 7 of docs/wire-format.md: the columns of a block, and what they take from columns before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plain_decoder import models
from tests.plain_decoder.models import FIRST, HOLD, Place
from tests.plain_decoder.words import Damaged, not_too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.plain_decoder.models import State
    from tests.plain_decoder.range_decoder import RangeDecoder
    from tests.plain_decoder.words import Column

STILL, COPIED, CODED = range(3)


def read_columns(
    coder: RangeDecoder,
    columns: Sequence[Column],
    own: Sequence[State],
    contexts: list[list[list[int]]],
    count: int,
) -> tuple[list[list[int]], list[list[int]]]:
    """States and counts, [signal][record]."""
    states: list[list[int]] = []
    counts: list[list[int]] = []
    how = kind = 0
    for number, (column, state) in enumerate(zip(columns, own, strict=True)):
        place = Place(number, own, states, counts, contexts)
        coder.contexts = contexts[0]
        how = _states(coder, state, place, how, count)
        available = states[-1].count(0)
        values = []
        if available:
            kind, values = _values(coder, column, state, place, kind, available)
        supply = iter(values)
        counts.append([0 if gone else next(supply) for gone in states[-1]])
    for state, column_counts in zip(own, counts, strict=True):
        state.before = column_counts[-1]
    return states, counts


def _states(coder: RangeDecoder, own: State, place: Place, before: int, count: int) -> int:
    """Appends this column's states to those of the place; says how they were coded."""
    base = FIRST["STATES"]
    row = base + 3 * own.how + before
    own.how = 0
    states: list[int] = []
    if coder.bit(row) == 0:
        states = [own.availability] * count
    elif place.number and coder.bit(row + 9):
        own.how = 1
        own.like = place.reference(coder, base + 98, own.like)
        if own.like == 0:
            raise Damaged("states of no column")
        states = list(place.states[place.number - own.like])
    else:
        own.how = 2
        while len(states) < count:
            row = base + 18 + 4 * own.availability
            high = coder.bit(row)
            own.availability = 2 * high + coder.bit(row + 1 + high)
            length = coder.count(base + 34) or count - len(states)
            if len(states) + length > count:
                raise Damaged("a state beyond the block")
            states += [own.availability] * length
    own.availability = states[-1]
    place.states.append(states)
    return own.how


def _values(
    coder: RangeDecoder, column: Column, own: State, place: Place, before: int, count: int
) -> tuple[int, list[int]]:
    """How they were coded, and the values."""
    row = FIRST["VALUES"] + before + 3 * (32 if own.fresh else own.coded)
    if coder.bit(row) == 0:
        kind = STILL
        if own.fresh and column.scaled:
            models.start(coder, column, own, place)
        values = [own.last % column.turn if column.turn else own.last] * count
        own.run += count
    elif place.number and coder.bit(row + 99):
        kind = COPIED
        own.copied = place.reference(coder, FIRST["VALUES"] + 198, own.copied)
        if own.copied == 0:
            raise Damaged("a copy of no column")
        source = place.counts[place.number - own.copied]
        values = [value for value, gone in zip(source, place.states[-1], strict=True) if not gone]
        if column.scaled:
            for value in values:
                not_too_large(value)
            model = own.model
            models.settle(own, HOLD, values)
            own.model = model
        else:
            models.settle_run(own, values)
            own.last = values[-1]
    else:
        kind = CODED
        coder.contexts = place.contexts[place.number]
        if column.scaled:
            values = models.scaled(coder, column, own, place, count)
        else:
            values = models.patterns(coder, own, count)
    own.coded = (2 * own.coded + (kind == CODED)) % 32
    own.fresh = False
    return kind, values
