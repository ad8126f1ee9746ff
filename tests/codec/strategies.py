"""Schemas, guards and records that hypothesis draws: every kind of signal, every availability, jumps, noise, cycles, copies."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from codec.guards import OPERATORS, Guard, GuardSet
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal

FACTORS = (1.0, 0.1, 0.05, 0.01, 0.5, 2.0, -0.1, 1e-6)


@st.composite
def signals(draw: st.DrawFn, name: str) -> Signal:
    kind = draw(st.sampled_from([Kind.SCALED] * 5 + list(Kind)))
    if kind is not Kind.SCALED:
        wide = kind in (Kind.WIDE_SIGNED, Kind.WIDE_UNSIGNED)
        return Signal(name, kind=kind, threshold=0.0 if wide else draw(st.sampled_from([0.0, 0.5, 10.0])))
    if draw(st.integers(0, 5)) == 0:
        return Signal(name, factor=0.1, threshold=draw(st.sampled_from([0.0, 1.0, 5.0])), circular=360.0)
    factor = draw(st.sampled_from(FACTORS))
    counts = draw(st.sampled_from([0, 0, 1, 3, 20, 500]))
    resolution = draw(st.sampled_from([0, 0, 0, 1, 2])) if counts else 0
    return Signal(
        name, factor=factor, offset=draw(st.sampled_from([0.0, -40.0, 0.5])),
        threshold=counts * abs(factor), resolution=resolution * abs(factor),
    )  # fmt: skip


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    count = draw(st.integers(1, 5))
    return Schema(50, tuple(draw(signals(f"signal{k}")) for k in range(count)))


def column(rng: np.random.Generator, signal: Signal, count: int) -> np.ndarray:
    """Counts int64[count] of one signal: walks, ramps, steps, noise, and the ends of the range."""
    t = np.arange(count)
    style = rng.integers(0, 8)
    scale = int(10 ** rng.uniform(0, 4))
    walk = np.cumsum(rng.integers(-scale, scale + 1, count))
    counts = [
        walk,
        (t * rng.uniform(-scale, scale)).astype(np.int64),
        np.where(t % max(2, int(rng.integers(2, 40))) == 0, walk, 0),
        rng.integers(-scale, scale + 1, count),
        np.full(count, scale),
        rng.integers(-(1 << 47), 1 << 47, count),
        rng.integers(-scale, scale + 1, 5)[t % int(rng.integers(1, 6))],
        rng.integers(-scale, scale + 1, 9)[np.cumsum(rng.random(count) < 0.3) % int(rng.integers(1, 10))],
    ][style].astype(np.int64)
    match signal.kind:
        case Kind.SCALED:
            return counts % signal.turn_counts if signal.circular and rng.random() < 0.8 else counts
        case Kind.FLOAT32:
            return (counts / 7).astype(np.float32).view(np.uint32).astype(np.int64)
        case Kind.FLOAT64:
            return (counts / 7).view(np.int64)
        case _:
            return rng.integers(-(1 << 63), (1 << 63) - 1, count)


def records_of(rng: np.random.Generator, schema: Schema, first_tick: int, count: int) -> Records:
    counts = np.stack([column(rng, signal, count) for signal in schema.signals], axis=1)
    states = np.zeros(counts.shape, np.uint8)
    for j in range(states.shape[1]):
        if rng.random() < 0.4:
            start = int(rng.integers(0, count))
            states[start : start + int(rng.integers(1, count + 1)), j] = rng.integers(1, 4)
        if j and rng.random() < 0.4:
            source = int(rng.integers(0, j))
            states[:, j] = states[:, source]
            if schema.signals[source].kind is schema.signals[j].kind:
                counts[:, j] = counts[:, source]
    counts[states != Availability.AVAILABLE] = 0
    return Records(first_tick, counts, states)


@st.composite
def guard_sets(draw: st.DrawFn, schema: Schema) -> GuardSet:
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(schema.names), st.sampled_from(OPERATORS), st.integers(-50, 50)),
            max_size=6,
        )
    )
    scale = draw(st.sampled_from([0.1, 1.0, 10.0]))
    return GuardSet(tuple(Guard(name, operator, limit * scale) for name, operator, limit in rows))
