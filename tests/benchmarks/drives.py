"""A drive with everything that makes schemes stumble: a circle, floats, wide integers, holes, values that come and go."""

from __future__ import annotations

import numpy as np

from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal

TICK = 1_700_000_000 * 50


def schema(share: float = 1.0) -> Schema:
    return Schema(
        50,
        (
            Signal("Speed", factor=0.05, threshold=2.0 * share),
            Signal("Heading", factor=0.1, threshold=5.0 * share, circular=360.0),
            Signal("Torque", factor=0.25, offset=-100.0, threshold=1.0 * share),
            Signal("Gear"),
            Signal("Pressure", kind=Kind.FLOAT32, threshold=0.5 * share),
            Signal("Serial", kind=Kind.WIDE_UNSIGNED),
        ),
    )


def runs(seed: int = 1) -> list[Records]:
    random = np.random.default_rng(seed)
    found = []
    for first_tick, count in ((TICK, 1700), (TICK + 5000, 333)):
        walk = np.cumsum(random.integers(-3, 4, (count, 4)), axis=0)
        pressure = (np.cumsum(random.normal(size=count)) * 0.1).astype(np.float32)
        counts = np.stack(
            [
                np.abs(walk[:, 0]) * 5,
                walk[:, 1] * 40 % 3600,
                walk[:, 2],
                walk[:, 3] // 20,
                pressure.view(np.uint32).astype(np.int64),
                np.full(count, 1 << 60) + np.arange(count) // 200 * 1024,
            ],
            axis=1,
        ).astype(np.int64)
        states = np.zeros(counts.shape, np.uint8)
        states[:100, 2] = Availability.NEVER_SEEN
        states[250:300, 0] = Availability.STALE
        states[120:, 3] = Availability.NOT_AVAILABLE
        states[count - 1 :, 4] = Availability.STALE
        counts[states != Availability.AVAILABLE] = 0
        found.append(Records(first_tick, counts, states))
    return found
