"""Which rules are exact under which guards, and that they are, on every recording that is here."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from benchmarks.recordings import recorded_cars
from benchmarks.sampled import SampledDrive, choose, load_bus, sample
from codec.guards import Guard, GuardSet
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal, physical
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from collector.rules import bind, evaluate_all, load_rules
from collector.rules.rulefile import Rule, Rules
from replay_logs.read import open_log
from replay_logs.recording import load_recording
from tests.data_folder import DATA

if TYPE_CHECKING:
    from pathlib import Path

    from decoder.frames import Frames
    from replay_logs.read import Log

FRAMES_SKIPPED, FRAMES_MAX = 5_000, 30_000  # of a recording: its beginning is often parked
RECORDS_MAX = 2000
SAMPLED_MAX, SIGNALS_MAX = 256, 32  # signals that are sampled, and those of them that rules name
BLOCK_RECORDS = 250


def test_rules_of_which_a_schema_has_nothing_are_left_out():
    bound = bind(load_rules(), Schema(10, (Signal("MotorTemp"), Signal("Other"))))
    assert list(bound.numbers) == ["MOTOR_OVERTEMP"]
    assert bound.columns.tolist() == [0]
    assert bind(load_rules(), Schema(10, (Signal("Other"),))).rules == ()


def test_how_long_a_guard_has_to_last_does_not_matter_for_exactness():
    """That is when a vehicle sends at once; sides are the same."""
    rules = Rules((Rule("R", "Temp > 45", "INFO", "d", for_s=2.0),))
    bound = bind(rules, Schema(10, (Signal("Temp", threshold=2.0),)))
    assert bound.exact_under(GuardSet((Guard("Temp", ">", 45.0, 60.0),))) == {"R"}
    assert bound.exact_under(GuardSet((Guard("Temp", ">=", 45.0, 2.0),))) == frozenset()


def test_a_tail_is_as_long_as_the_longest_window_or_evidence():
    schema = Schema(10, (Signal("Temp"),))
    assert bind(load_rules(), Schema(10, (Signal("MotorTemp"),))).tail_ticks == 70
    rolling = Rules((Rule("R", "mean(Temp, 20s) > 1 or stale(Temp, 30s)", "INFO", "d"),))
    assert (bind(rolling, schema).tail_ticks, bind(rolling, schema).window_ticks) == (300, 300)


LOGS = [(car, log) for car in recorded_cars() for log in car.logs]


@pytest.mark.parametrize(("car", "log"), LOGS, ids=[log.name.partition(".")[0] for _, log in LOGS])
def test_threshold_rules_say_the_same_of_reconstructed_recordings(car, log):
    """Record for record, of every signal: limits that it crosses, hysteresis, waits, and pairs of signals."""
    frames, bus = frames_of(log), load_bus(car.dbcs)
    drive = lively(sample(log.name, bus, frames, choose(bus, frames)[:SAMPLED_MAX]).middle(RECORDS_MAX))
    if drive is None:
        pytest.skip(f"nothing changes in {log.name}")
    rules = rules_of(drive.schema, drive.runs)
    assert rules.rules
    facts = StreamFacts(bytes(16), 0, drive.runs[0].first_tick)
    encoder = StreamEncoder(drive.schema, facts, guards=rules.guards())
    decoder = StreamDecoder(drive.schema, facts)
    back = []
    for run in drive.runs:
        for at in range(0, len(run), BLOCK_RECORDS):
            block = encoder.encode(run.slice(at, min(at + BLOCK_RECORDS, len(run))))
            back.append((0, decoder.decode(block.seq, block.content).records))
    assert bind(rules, drive.schema).exact_under(rules.guards()) == {rule.code for rule in rules.rules}
    expected = evaluate_all(rules, drive.schema, [(0, run) for run in drive.runs])
    found = evaluate_all(rules, drive.schema, back)
    assert expected, "rules of a recording's own limits find something in it"
    assert sorted(span.verdict for span in found) == sorted(span.verdict for span in expected)


def test_all_recordings_are_here_or_it_is_said():
    if not LOGS:
        pytest.skip(f"no recording is in {DATA}; set DEADRECKON_DATA to the folder with the recordings")


def frames_of(log: Path) -> Frames:
    opened = open_log(log)
    part = Part(opened.path, opened, opened.left_out)
    frames = load_recording(cast("Log", part)).frames
    return replace(frames, buses=np.zeros_like(frames.buses))


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the messages of a log, which may be a short one."""

    path: Path
    log: Log
    left_out: tuple[str, ...]

    def __iter__(self):
        messages = iter(self.log)
        begin = list(itertools.islice(messages, FRAMES_SKIPPED))
        rest = list(itertools.islice(messages, FRAMES_MAX))
        return iter(rest if len(rest) == FRAMES_MAX else [*begin, *rest][:FRAMES_MAX])


def lively(drive: SampledDrive) -> SampledDrive | None:
    """Its first signals that change; None where none does."""
    counts = np.concatenate([run.counts for run in drive.runs])
    columns = np.flatnonzero(counts.min(axis=0) < counts.max(axis=0))[:SIGNALS_MAX]
    if not len(columns):
        return None
    schema = Schema(drive.schema.rate_hz, tuple(drive.schema.signals[column] for column in columns))
    runs = tuple(
        Records(run.first_tick, run.counts[:, columns], run.states[:, columns]) for run in drive.runs
    )
    return SampledDrive(drive.name, schema, runs)


def readable(name: str) -> bool:
    return name.replace(".", "_").isidentifier()


def rules_of(schema: Schema, runs: tuple[Records, ...]) -> Rules:
    stated = []
    for column, signal in enumerate(schema.signals):
        counts = np.concatenate(
            [run.counts[run.states[:, column] == Availability.AVAILABLE, column] for run in runs]
        )
        values = np.sort(physical(signal, counts))
        values = values[np.isfinite(values)]
        if not len(values) or values[0] == values[-1] or not readable(signal.name):
            continue
        limit, end = (round(float(values[int(share * (len(values) - 1))]), 6) for share in (0.9, 0.6))
        if signal.kind is Kind.SCALED and len(np.unique(counts)) < 8:
            stated.append((f"{signal.name} == {limit!r}", "", 0.0))
        stated.append((f"{signal.name} > {limit!r}", f"{signal.name} < {end!r}", 0.0))
        stated.append((f"{signal.name} >= {end!r} or missing({signal.name})", "", 0.5))
    stated += [(f"({one[0]}) and not ({other[0]})", one[1], 0.1) for one, other in itertools.pairwise(stated)]
    return Rules(
        tuple(
            Rule(f"R{number}", when, "INFO", "d", clear=clear, for_s=for_s)
            for number, (when, clear, for_s) in enumerate(stated)
        )
    )
