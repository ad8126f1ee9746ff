"""Drives as sampled records: what every benchmark of the codec starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codec.schema import Schema
from decoder import dbc
from decoder.defaults import default_choices
from decoder.plan import SignalChoice, build_plan
from decoder.sampler import Sampler
from decoder.signals import Bus
from replay_logs.read import open_log
from replay_logs.recording import load_recording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codec.records import Records
    from decoder.frames import Frames

DRIVES = Path(__file__).resolve().parent.parent / "replay_logs"
OUR_DRIVES = ("city", "highway", "aggressive", "charging", "overheating")


@dataclass(frozen=True, slots=True)
class SampledDrive:
    """One log, decoded with one set of DBCs, on the sample grid."""

    name: str
    schema: Schema
    runs: tuple[Records, ...]

    @property
    def record_count(self) -> int:
        return sum(len(run) for run in self.runs)

    def with_thresholds(self, share: float) -> SampledDrive:
        """The same records under thresholds of so large a share of these; 0 is lossless."""
        signals = tuple(replace(signal, threshold=signal.threshold * share) for signal in self.schema.signals)
        return replace(self, schema=Schema(self.schema.rate_hz, signals))

    def middle(self, record_count: int) -> SampledDrive:
        """No more than so many records, from the middle: logs often begin and end parked."""
        skipped = max(0, self.record_count - record_count) // 2
        runs: list[Records] = []
        for run in self.runs:
            start = min(skipped, len(run))
            skipped -= start
            runs.append(run.slice(start, min(len(run), start + record_count)))
            record_count -= len(runs[-1])
        return replace(self, runs=tuple(run for run in runs if len(run)))


def load_frames(log: Path) -> Frames:
    """All data frames of a log. All channels count as one bus."""
    frames = load_recording(open_log(log)).frames
    return replace(frames, buses=np.zeros_like(frames.buses))


def load_bus(dbcs: Sequence[Path]) -> Bus:
    return Bus("can0", tuple(dbc.load(path) for path in dbcs))


def choose(
    bus: Bus, frames: Frames, thresholds: Mapping[str, float] | None = None
) -> tuple[SignalChoice, ...]:
    """All signals that occur, under default thresholds; with `thresholds` those that it names, under its own."""
    choices = default_choices([bus], frames)
    if thresholds is None:
        return choices
    return tuple(
        replace(choice, threshold=thresholds[choice.signal])
        for choice in choices
        if choice.signal in thresholds
    )


def sample(
    name: str, bus: Bus, frames: Frames, choices: Sequence[SignalChoice], rate_hz: int = 50
) -> SampledDrive:
    plan = build_plan([bus], choices, rate_hz=rate_hz)
    sampler = Sampler(plan)
    sampler.feed(frames)
    return SampledDrive(name, plan.schema, tuple(sampler.advance(None)))


def sample_drive(
    log: Path, dbcs: Sequence[Path], *, rate_hz: int = 50, thresholds: Mapping[str, float] | None = None
) -> SampledDrive:
    """A log as it is: its signals, under default thresholds or the given ones."""
    frames, bus = load_frames(log), load_bus(dbcs)
    return sample(log.name.partition(".")[0], bus, frames, choose(bus, frames, thresholds), rate_hz)


def our_drives() -> list[SampledDrive]:
    """The drives that are shipped."""
    return [sample_drive(DRIVES / "drives" / f"{name}.log.gz", [DRIVES / "car.dbc"]) for name in OUR_DRIVES]
