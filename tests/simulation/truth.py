"""What really happened: every record that left a sampler, and how many of each stream an outbox has taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tests.simulation import car

if TYPE_CHECKING:
    from codec.records import Records
    from codec.schema import Schema
    from decoder.frames import Frames
    from decoder.sampler import Sampler

RECORDS_MAX = 16_384


class Run:
    """One life of an agent: its sampled records in order."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.schema = schema
        self.limits = np.array([signal.max_error_counts for signal in schema.signals])
        self.count = 0
        self.ticks = np.zeros(RECORDS_MAX, np.int64)
        self.counts = np.zeros((RECORDS_MAX, len(schema.signals)), np.int64)
        self.states = np.zeros((RECORDS_MAX, len(schema.signals)), np.uint8)
        self.stored = np.zeros(RECORDS_MAX, np.uint8)  # how often the store has each
        self.had = np.zeros(
            RECORDS_MAX, bool
        )  # stored once, or in a gap, until a backup took the store's place
        self.missed = np.zeros(RECORDS_MAX, np.uint8)  # in how many gaps each is

    def add(self, records: Records) -> None:
        stop = self.count + len(records)
        self.ticks[self.count : stop] = np.arange(records.first_tick, records.end_tick)
        self.counts[self.count : stop] = records.counts
        self.states[self.count : stop] = records.states
        self.count = stop

    def index(self, first_tick: int, count: int) -> int | None:
        """Where these consecutive ticks stand; None if they were never sampled so."""
        at = int(np.searchsorted(self.ticks[: self.count], first_tick))
        wanted = np.arange(first_tick, first_tick + count)
        return (
            at if np.array_equal(self.ticks[at : at + count], wanted) and at + count <= self.count else None
        )


@dataclass(slots=True)
class StreamTruth:
    """Where a stream's first record stands in its run."""

    run: Run
    start: int


@dataclass(slots=True)
class Truth:
    """Of all vehicles of one identity."""

    runs: list[Run] = field(default_factory=list)
    run_of: dict[bytes, Run] = field(default_factory=dict)  # by stream_id, from the moment that it is drawn
    streams: dict[bytes, StreamTruth] = field(default_factory=dict)
    clock_offsets: set[int] = field(default_factory=set)  # those a synchronised clock ever showed, in ns
    spoiled: set[bytes] = field(default_factory=set)  # streams of which a block was changed on its way
    forks: dict[bytes, bytes] = field(
        default_factory=dict
    )  # outbox_id: its former name, which has what was acknowledged


class Recorder:
    """A sampler between the real one and capture, which writes down what it gives out and checks it against the drive."""

    def __init__(self, sampler: Sampler, run: Run, driven: np.ndarray, columns: list[int], complain) -> None:
        self._sampler = sampler
        self._run = run
        self._driven = driven
        self._columns = columns
        self._complain = complain
        self.first_frame_tick: int | None = None
        self.framed: set[int] = set()  # ticks that a frame was made for

    @property
    def newest_ns(self) -> int | None:
        return self._sampler.newest_ns

    def feed(self, frames: Frames, ticks_max: int) -> int:
        return self._sampler.feed(frames, ticks_max)

    def advance(self, until_ns: int | None = None, ticks_max: int | None = None) -> list[Records]:
        runs = self._sampler.advance(until_ns, ticks_max)
        for records in runs:
            self._check(records)
            self._run.add(records)
        return runs

    def _check(self, records: Records) -> None:
        """Ticks neither repeat nor vanish, and each has what the sensors showed then."""
        last = int(self._run.ticks[self._run.count - 1]) if self._run.count else None
        if last is not None and records.first_tick <= last:
            self._complain(f"tick {records.first_tick} was sampled after {last}")
        if last is not None and any(tick in self.framed for tick in range(last + 1, records.first_tick)):
            self._complain(f"ticks {last + 1}..{records.first_tick - 1} vanished")
        for index in range(len(records)):
            tick = records.first_tick + index
            if tick in self.framed:
                shown = self._driven[tick % len(self._driven), self._columns]
                if not np.array_equal(records.counts[index], shown):
                    self._complain(
                        f"tick {tick} has {records.counts[index].tolist()}, shown was {shown.tolist()}"
                    )


def columns_of(variant: int) -> list[int]:
    return list(car.COLUMNS[variant].values())
