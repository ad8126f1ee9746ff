"""Drives as sampled records: what every benchmark of the codec starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codec.schema import Schema
from decoder import dbc
from decoder.defaults import default_choices
from decoder.plan import build_plan
from decoder.sampler import Sampler
from decoder.signals import Bus
from replay_logs.read import open_log
from replay_logs.recording import load_recording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codec.records import Records

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


def sample_drive(
    log: Path, dbcs: Sequence[Path], *, rate_hz: int = 50, thresholds: Mapping[str, float] | None = None
) -> SampledDrive:
    """All signals that occur in the log, under default thresholds or the given ones. All channels count as one bus."""
    recording = load_recording(open_log(log))
    frames = replace(recording.frames, buses=np.zeros_like(recording.frames.buses))
    buses = [Bus("can0", tuple(dbc.load(path) for path in dbcs))]
    choices = default_choices(buses, frames)
    if thresholds is not None:
        choices = tuple(
            replace(choice, threshold=thresholds[choice.signal])
            for choice in choices
            if choice.signal in thresholds
        )
    plan = build_plan(buses, choices, rate_hz=rate_hz)
    sampler = Sampler(plan)
    sampler.feed(frames)
    return SampledDrive(log.name.partition(".")[0], plan.schema, tuple(sampler.advance(None)))


def our_drives() -> list[SampledDrive]:
    """The drives that are shipped."""
    return [sample_drive(DRIVES / "drives" / f"{name}.log.gz", [DRIVES / "car.dbc"]) for name in OUR_DRIVES]
