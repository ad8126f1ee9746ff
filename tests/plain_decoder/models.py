"""Sections 6 to 9 of docs/wire-format.md: one coded column, from the range decoder to its values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from tests.plain_decoder.document import CLASSIC_ALPHA, HOLT_BETA, LAYOUT
from tests.plain_decoder.words import Column, Damaged, i64, not_too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.plain_decoder.range_decoder import RangeDecoder

FIRST = {name: first for name, (first, _) in LAYOUT.items()}
HOLD, LINE, SMOOTH, CLASSIC, HOLT, FILTER, SPARSE, RECALL = range(8)


@dataclass
class State:
    """A column's state, as a keyframe leaves it."""

    weights: list[int]
    pooled: bool = True  # the prior has a single row
    availability: int = 0
    how: int = 0
    coded: int = 0
    like: int = 1
    copied: int = 0
    clock: int = 0
    before: int = 0
    previous: int = 0
    hits: int = 0
    last: int = 0
    level: int = 0
    trend: int = 0
    rise: int = 0
    length: int = 1
    magnitude: int = 0
    run: int = 0
    miss_hold: int = 0
    miss_filter: int = 0
    model: int = HOLD
    fresh: bool = True
    history: list[int] = field(default_factory=lambda: [0] * 16)
    tables: list[dict[int, tuple[int, int]]] = field(
        default_factory=lambda: [{}, {}, {}]
    )  # slot: value, sureness

    def copy(self) -> State:
        return replace(self, tables=[dict(table) for table in self.tables])


class Tick(NamedTuple):
    """Whether the clock ticked, and what it showed before and now."""

    told: int
    then: int
    now: int


class Place(NamedTuple):
    """Where in a block a column is, and what was read of the block before it."""

    number: int
    own: Sequence[State]
    states: list[list[int]]  # up to this column's
    counts: list[list[int]]  # up to the column before
    contexts: list[list[list[int]]]

    def reference(self, coder: RangeDecoder, base: int, last: int) -> int:
        if coder.bit(base) == 0:
            return last
        distance = coder.count(base + 1)
        if distance > self.number:
            raise Damaged("a column that is not there")
        return distance

    def ticks(self, distance: int) -> list[Tick]:
        """Section 7, 4."""
        available = [i for i, gone in enumerate(self.states[-1]) if not gone]
        if distance == 0:
            return [Tick(0, 0, 0)] * len(available)
        source = self.number - distance
        counts = [self.own[source].before, *self.counts[source]]
        return [Tick(1 if counts[i] == counts[i + 1] else 2, counts[i], counts[i + 1]) for i in available]


def start(coder: RangeDecoder, column: Column, state: State, place: Place) -> None:
    if state.pooled:
        coder.contexts = place.contexts[0]
    state.last = not_too_large(i64(coder.int(FIRST["INITIAL"]) * column.step))
    state.level = i64(state.last << 16)
    coder.contexts = place.contexts[place.number]


def scaled(coder: RangeDecoder, column: Column, state: State, place: Place, count: int) -> list[int]:
    """Section 7, "Values"."""
    circular = False
    if column.turn:
        circular = coder.bit(FIRST["FLAGS"]) == 1
        turns = state.last - state.last % column.turn
        state.last -= turns
        state.level = i64(state.level - (turns << 16))
    row = 8 if state.fresh else state.model
    if state.fresh:
        start(coder, column, state, place)
    model = state.model
    if coder.bit(FIRST["MODEL"] + row):
        model = coder.tree(FIRST["MODEL"] + 9 + 8 * row, 3)
    corrected = coder.bit(FIRST["FLAGS"] + 1) == 1
    literal = model == RECALL and coder.bit(FIRST["FLAGS"] + 2) == 1
    ticks = [Tick(0, 0, 0)] * count
    if model in (SPARSE, RECALL):
        state.clock = place.reference(coder, FIRST["CLOCK"], state.clock)
        ticks = place.ticks(state.clock)
    if model in (HOLD, LINE):
        values = (hold if model == HOLD else line)(coder, column.grid, state, count)
        if corrected:
            values = [correction(coder, value) for value in values]
    elif model in (FILTER, SPARSE):
        values = filtered(coder, column.step, state, ticks, corrected, sparse=model == SPARSE)
    elif model == RECALL:
        values = recall(coder, column.step, state, ticks, corrected, literal=literal)
    else:
        values = smooth(coder, column.step, state, count, corrected, model)
    settle(state, model, values)
    return [value % column.turn for value in values] if circular else values


def correction(coder: RangeDecoder, value: int) -> int:
    if coder.bit(FIRST["CORRECTION"]):
        value = i64(value + coder.int(FIRST["CORRECTION"] + 1))
    return not_too_large(value)


def settle(state: State, model: int, values: list[int]) -> None:
    before = [state.last, *values[:-1]]
    if model not in (FILTER, SPARSE):
        newest = [value - last for value, last in zip(values, before, strict=True)][::-1]
        state.history = (newest + state.history)[:16]
    settle_run(state, values)
    state.last = values[-1]
    if model not in (SMOOTH, CLASSIC, HOLT):
        state.level = i64(state.last << 16)
        state.trend = state.history[0] << 16 if model == LINE else 0
    if model != LINE:
        state.rise, state.length = (state.history[0] if model == HOLT else 0), 1
    state.model = model


def settle_run(state: State, values: list[int]) -> None:
    for value, last in zip(values, [state.last, *values[:-1]], strict=True):
        state.run = state.run + 1 if value == last else 0
        if value != last:
            state.previous = last


def hold(coder: RangeDecoder, grid: int, state: State, count: int) -> list[int]:
    values: list[int] = []
    level, later, risen = state.last, 0, 0
    while len(values) < count:
        gap = coder.count(FIRST["HOLD"] + 64 * later)
        if gap == 0:
            return values + [level] * (count - len(values))
        if len(values) + gap > count:
            raise Damaged("a level beyond the block")
        values += [level] * (gap - 1)
        steps = coder.int(FIRST["HOLD"] + 64 * (2 + risen))
        level = not_too_large(i64(level + steps * grid))
        values.append(level)
        later, risen = 1, int(steps > 0)
    return values


def _class(length: int) -> int:
    return sum(length >= bound for bound in (2, 6, 20))


def line(coder: RangeDecoder, grid: int, state: State, count: int) -> list[int]:
    values: list[int] = []
    start, previous, sign = state.last, 0, -1 if state.rise < 0 else 1
    while len(values) < count:
        length = coder.count(FIRST["LINE"] + 64 * previous)
        to_end = length == 0
        length = length or count - len(values)
        if len(values) + length > count:
            raise Damaged("a line beyond the block")
        expected, row = 0, 4 + _class(length) + 4 * to_end
        if not values:
            expected = (2 * state.rise * length + state.length * grid) // (2 * state.length * grid)
            row += 8
        steps = expected + sign * coder.int(FIRST["LINE"] + 64 * row)
        end = not_too_large(i64(start + steps * grid))
        values += [start + (2 * (end - start) * i + length) // (2 * length) for i in range(1, length + 1)]
        if steps:
            sign = 1 if steps > 0 else -1
        state.rise, state.length, previous, start = end - start, length, _class(length), end
    return values


def smooth(
    coder: RangeDecoder, step: int, state: State, count: int, corrected: bool, model: int
) -> list[int]:
    base = FIRST[("SMOOTH", "CLASSIC", "HOLT")[model - SMOOTH]]
    alpha = CLASSIC_ALPHA if model == CLASSIC else 65536
    beta = HOLT_BETA if model == HOLT else 0
    if beta == 0:
        state.trend = 0
    values: list[int] = []
    x = y = 0
    for _ in range(count):
        level = i64(state.level + state.trend)
        predicted = i64(level + 32768) >> 16
        steps = coder.int(base + 64 * (3 * x + y))
        reached = i64(predicted + steps * step)
        reached = correction(coder, reached) if corrected else not_too_large(reached)
        if reached == predicted:
            state.level = level
        else:
            miss = i64((reached << 16) - level) >> 8
            state.level = i64(level + (i64(alpha * miss) >> 8))
            state.trend = i64(state.trend + (i64(beta * miss) >> 8))
        x, y = min(abs(steps), 2), x
        values.append(reached)
    return values


def filtered(
    coder: RangeDecoder, step: int, state: State, ticks: list[Tick], corrected: bool, *, sparse: bool
) -> list[int]:
    base = FIRST["SPARSE" if sparse else "FILTER"]
    values: list[int] = []
    last, run = state.last, state.run
    for tick in ticks:
        if sparse:
            if coder.bit(base + 768 + 64 * tick.told + min(run, 63)) == 0:
                values.append(last)
                run += 1
                continue
            run = 0
        total = i64(sum(w * h for w, h in zip(state.weights, state.history, strict=True)) + 32768)
        found = total >> 16
        energy = 1 + sum(map(abs, state.history))
        predicted = last + (found if state.miss_filter < state.miss_hold else 0)
        steps = coder.int(base + 64 * bucket(state.magnitude))
        reached = i64(predicted + steps * step)
        reached = correction(coder, reached) if corrected else not_too_large(reached)
        state.magnitude += (16 * min(abs(steps), 1 << 20) - state.magnitude) >> 2
        difference = reached - last
        miss = difference - found
        state.miss_hold += (256 * abs(difference) - state.miss_hold) >> 7
        state.miss_filter += (256 * abs(miss) - state.miss_filter) >> 7
        gain = min(max(i64(2048 * miss) // energy, -2000), 2000)
        state.weights = [
            w + gain * ((h > 0) - (h < 0)) for w, h in zip(state.weights, state.history, strict=True)
        ]
        state.history = [difference, *state.history[:15]]
        last = reached
        values.append(last)
    return values


def bucket(x: int) -> int:
    b, x = 0, x + 8
    while x >= 24 and b < 10:
        x, b = x >> 1, b + 2
    return b + (1 if x >= 16 and b < 11 else 0)


def slot(x: int) -> int:
    return (x * 0x9E3779B97F4A7C15) % (1 << 64) >> 56


def recall(
    coder: RangeDecoder, step: int, state: State, ticks: list[Tick], corrected: bool, *, literal: bool
) -> list[int]:
    base = FIRST["RECALL"]
    values: list[int] = []
    last, run, before = state.last, state.run, state.previous
    for tick in ticks:
        if coder.bit(base + 64 * tick.told + min(run, 63)) == 0:
            values.append(last)
            run += 1
            continue
        run = 0
        slots = (slot(i64(31 * last + before)), slot(last))
        reached = None
        passed = {last}
        clocked = state.tables[2]
        then, now = slot(tick.then), slot(tick.now)
        if then != now and then in clocked and clocked.get(now, (0, 0))[1]:
            expected, sure = last ^ clocked[then][0] ^ clocked[now][0], clocked[now][1]
            if expected not in passed:
                passed.add(expected)
                if coder.bit(base + 224 + 4 * sure + state.hits):
                    reached = not_too_large(expected)
        for k, (table, at) in enumerate(zip(state.tables[:2], slots, strict=True)):
            expected, sure = table.get(at, (last, 0))
            if reached is None and expected not in passed:
                passed.add(expected)
                if coder.bit(base + 192 + 16 * k + 4 * sure + state.hits):
                    reached = expected
        state.hits = (2 * state.hits + (reached is not None)) % 4
        if reached is None:
            reached = (
                i64(coder.int(base + 240) * step) if literal else i64(last + coder.int(base + 304) * step)
            )
            reached = correction(coder, reached) if corrected else not_too_large(reached)
        if then != now:
            if then not in clocked:
                learn(clocked, then, last)
            if then in clocked:
                learn(clocked, now, reached ^ last ^ clocked[then][0])
        for table, at in zip(state.tables[:2], slots, strict=True):
            learn(table, at, reached)
        if reached != last:
            before = last
        last = reached
        values.append(last)
    return values


def learn(table: dict[int, tuple[int, int]], at: int, value: int) -> None:
    expected, sure = table.get(at, (value, -1))
    if abs(value) >= 1 << 44:
        return
    if expected == value:
        table[at] = (value, min(sure + 1, 3))
    elif sure > 0:
        table[at] = (expected, sure - 1)
    else:
        table[at] = (value, 0)


def patterns(coder: RangeDecoder, state: State, count: int) -> list[int]:
    """Section 9."""
    base = FIRST["PATTERN"]
    values: list[int] = []
    for _ in range(count):
        if coder.bit(base + min(state.run, 63)) == 0:
            state.run += 1
        else:
            state.run = 0
            leading, trailing = coder.tree(base + 64, 6), coder.tree(base + 128, 6)
            width = 64 - leading - trailing
            if width < 1:
                raise Damaged("a pattern of no width")
            state.last = i64(state.last ^ coder.raw(width) << trailing)
        values.append(state.last)
    return values
