"""Makes the test vectors again, and the example and the numbers of docs/wire-format.md: `make vectors`.

To be run when the codec's constants or its built-in prior change, which they may until blocks of version 1 are in use;
from then on such a change is a new block version, with vectors of its own beside these.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from codec.guards import Guard, GuardSet
from codec.layout import MODEL_NAMES
from codec.records import Records
from codec.schema import Kind, Schema, Signal
from codec.stream import Clock, StreamFacts
from codec.training import train
from tests.vectors import document_example
from tests.vectors.vector import HERE, Input, Vector, run, save

if TYPE_CHECKING:
    from collections.abc import Sequence

FACTS = StreamFacts(bytes(range(16)), 0, 1000, Clock(1_700_000_000_000_000_000, synchronised=True))


def walk(rng: random.Random, count: int, stride: int) -> np.ndarray:
    return np.cumsum([rng.randint(-stride, stride) for _ in range(count)])


def cut(
    columns: Sequence[np.ndarray], *sizes: int, first: int = FACTS.origin_tick, skip: int = 0
) -> list[Input]:
    """Columns as blocks of so many records, with `skip` ticks missing between two."""
    counts = np.stack(columns, axis=1).astype(np.int64)
    inputs, at = [], 0
    for k, size in enumerate(sizes):
        part = np.ascontiguousarray(counts[at : at + size])
        inputs.append(Input(Records(first + at + k * skip, part, np.zeros(part.shape, np.uint8))))
        at += size
    assert at == len(counts)
    return inputs


def models() -> Vector:
    """Every model, on the same column, for three blocks."""
    rng = random.Random(1)
    column = walk(rng, 180, 9) + np.where(np.arange(180) % 50 < 25, 0, 300)
    column[60:100] = column[60]
    schema = Schema(50, tuple(Signal(name, factor=0.1, threshold=0.4) for name in MODEL_NAMES))
    inputs = cut([column] * len(MODEL_NAMES), 60, 60, 60)
    return Vector("models", schema, FACTS, "built_in", {name: name for name in MODEL_NAMES}, tuple(inputs))


def lossless() -> Vector:
    """The models that code residuals, with thresholds of 0 and next to it, and those that need corrections."""
    rng = random.Random(2)
    noise = np.round(800 * np.sin(np.arange(150) / 9)).astype(np.int64) + walk(rng, 150, 3)
    schema = Schema(
        50,
        (
            *(Signal(name) for name in MODEL_NAMES),
            Signal("fine", factor=0.1, threshold=0.5, resolution=0.1),
            Signal("guarded", factor=0.1, threshold=5.0),
        ),
    )
    inputs = cut([*[noise] * len(MODEL_NAMES), noise, noise], 75, 75)
    inputs[0] = replace(
        inputs[0], guards=GuardSet((Guard("guarded", ">", 10.05), Guard("guarded", "<=", -3.0)))
    )
    chosen = {name: name for name in MODEL_NAMES} | {"guarded": "line"}
    return Vector("lossless", schema, FACTS, "built_in", chosen, tuple(inputs))


def kinds() -> Vector:
    """Bit patterns: floats with and without a threshold, NaN, -0.0, subnormal numbers, wide integers."""
    rng = random.Random(3)
    smooth = np.sin(np.arange(80) / 5)
    doubles = smooth.copy()
    doubles[[3, 4, 40, 41, 60]] = [np.nan, -0.0, np.inf, 5e-324, -1e300]
    wide = np.array([rng.getrandbits(64) - (1 << 63) for _ in range(80)], np.int64)
    wide[20:50] = wide[20]
    schema = Schema(
        50,
        (
            Signal("float32", kind=Kind.FLOAT32),
            Signal("float32 held", kind=Kind.FLOAT32, threshold=0.25),
            Signal("float64", kind=Kind.FLOAT64),
            Signal("float64 held", kind=Kind.FLOAT64, factor=2.0, threshold=0.5),
            Signal("unsigned", kind=Kind.WIDE_UNSIGNED),
            Signal("signed", kind=Kind.WIDE_SIGNED, factor=0.5),
        ),
    )
    singles = smooth.astype(np.float32).view(np.uint32).astype(np.int64)
    columns = [singles, singles, doubles.view(np.int64), smooth.view(np.int64), wide, wide]
    return Vector("kinds", schema, FACTS, "built_in", {}, tuple(cut(columns, 30, 30, 20)))


def circular() -> Vector:
    """Angles through north both ways, at a guard, and with values outside of a turn; under every model."""
    t = np.arange(160)
    spin = (t * 37) % 3600
    back = (-t * 11 + 100) % 3600
    outside = np.where(t == 90, -5, spin)
    schema = Schema(
        50,
        tuple(
            Signal(name, factor=0.1, threshold=2.0, circular=360.0)
            for name in (*MODEL_NAMES, "back", "outside")
        ),
    )
    inputs = cut([spin] * len(MODEL_NAMES) + [back, outside], 80, 40, 40)
    inputs[2] = replace(inputs[2], guards=GuardSet((Guard("back", ">=", 359.0), Guard("hold", "<", 1.0))))
    return Vector("circular", schema, FACTS, "built_in", {name: name for name in MODEL_NAMES}, tuple(inputs))


def availability() -> Vector:
    """Every state, runs that go on over blocks, columns without a value, missed ticks, a block of one record."""
    rng = random.Random(4)
    columns = [walk(rng, 121, 5) for _ in range(4)]
    inputs = cut(columns, 40, 40, 40, 1, skip=3)
    for k, given in enumerate(inputs):
        records = given.records
        size = len(records)
        records.states[:, 0] = 1 if k < 2 else 0
        records.states[size // 3 : size // 2, 1] = 2
        records.states[:, 2] = np.arange(size) // 7 % 4
        records.states[size // 2 :, 3] = 3
        records.counts[records.states != 0] = 0
    schema = Schema(
        20,
        (
            Signal("late"),
            Signal("b", threshold=2.0),
            Signal("c", kind=Kind.FLOAT64),
            Signal("d", threshold=1.0),
        ),
    )
    return Vector("availability", schema, FACTS, "built_in", {}, tuple(inputs))


def keyframes() -> Vector:
    """Groups, clocks that were set, guards that came, and a prior of the stream's own."""
    rng = random.Random(5)
    columns = [walk(rng, 200, 20), walk(rng, 200, 2)]
    schema = Schema(100, (Signal("a", factor=0.05, threshold=1.0), Signal("b", factor=0.01, threshold=0.02)))
    records = Records(0, np.stack(columns, axis=1), np.zeros((200, 2), np.uint8))
    prior = train([(schema, records)], blocks=(50,), group=100)
    (HERE / "keyframes.prior").write_bytes(prior.content)
    inputs = cut(columns, 50, 50, 50, 50)
    later = Clock(FACTS.clock.offset_ns + 1_234_567_000, synchronised=False)
    inputs[1] = replace(inputs[1], keyframe=True, clock=later)
    inputs[2] = replace(inputs[2], guards=GuardSet((Guard("a", ">", 3.0, 2.5), Guard("b", "!=", 0.1))))
    facts = replace(FACTS, clock=Clock(FACTS.clock.offset_ns, synchronised=True), prior_hash=prior.hash)
    return Vector("keyframes", schema, facts, "keyframes.prior", {}, tuple(inputs))


def extremes() -> Vector:
    """Counts of 47 bits and a sign, thresholds as large as they may be, blocks of one record."""
    rng = random.Random(6)
    end = (1 << 47) - 1
    jumps = np.array([rng.choice((-end, end, 0, 1, -1)) for _ in range(40)])
    anything = np.array([rng.randint(-end, end) for _ in range(40)])
    schema = Schema(
        1,
        (
            Signal("jumps"),
            Signal("noise"),
            Signal("line"),
            Signal("loose", threshold=2.0**45),
            Signal("filter"),
        ),
    )
    inputs = cut([jumps, anything, anything, anything, jumps], 1, 38, 1)
    return Vector("extremes", schema, FACTS, "built_in", {"line": "line", "filter": "filter"}, tuple(inputs))


def drive() -> Vector:
    """Four seconds of a drive that is shipped, as the decoder samples it by default."""
    from benchmarks.sampled import DRIVES, sample_drive

    sampled = sample_drive(DRIVES / "drives" / "city.log.gz", [DRIVES / "car.dbc"])
    records = sampled.runs[0].slice(1000, 1200)
    facts = replace(FACTS, origin_tick=records.first_tick)
    inputs = [Input(records.slice(k, k + 50)) for k in range(0, 200, 50)]
    return Vector("drive", sampled.schema, facts, "built_in", {}, tuple(inputs))


def main() -> None:
    for make in (models, lossless, kinds, circular, availability, keyframes, extremes, drive):
        vector = make()
        outputs = run(vector)
        save(replace(vector, outputs=outputs))
        print(f"{vector.name}: {len(outputs)} blocks, {sum(len(o['content']) // 2 for o in outputs)} bytes")
    document_example.write()


if __name__ == "__main__":
    main()
