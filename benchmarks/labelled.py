"""Labelled records: test stands run until they failed, and drives of ours with planted faults."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.recordings import DATA
from benchmarks.sampled import DRIVES as FOLDER
from benchmarks.sampled import choose, load_bus, load_frames
from codec.records import Records, concatenate
from codec.schema import Schema, Signal
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from decoder.plan import build_plan
from decoder.sampler import Sampler, sample_log
from replay_logs.generate import write_drive
from replay_logs.models import MODELS
from replay_logs.scenarios import DRIVES, Drive, Window
from replay_logs.schedule import load_schedule
from replay_logs.sensor_faults import SensorFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CMAPSS = DATA / "cmapss" / "train_FD001.txt"
CMAPSS_SENSORS = 21
HEALTHY_UNTIL = (
    125  # cycles before failure: where this data set's literature lets the remaining life begin to fall
)
DRIVE_S = 900.0
FAULT_S = (420.0, 780.0)


@dataclass(frozen=True, slots=True)
class Unit:
    """One engine, or one drive. Indices count its seconds (cycles); `faulty` is [first, end), none: healthy throughout."""

    name: str
    schema: Schema
    runs: tuple[Records, ...]
    length: int
    faulty: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Three groups that share no unit: detectors learn from the first, limits are set on the second, the third is measured."""

    name: str
    learn: tuple[Unit, ...]
    tune: tuple[Unit, ...]
    measure: tuple[Unit, ...]
    unit_of_time: str
    false_per_100: float  # healthy seconds (cycles), false alarms: what tuned limits are set for
    early: int  # seconds (cycles) of a unit of `learn` that count as healthy


def cmapss(path: Path = CMAPSS) -> Labelled:
    """FD001: 100 engines, one record a cycle; of every five, two are learnt from, one tunes, two are measured. Raises OSError."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    factors = [_resolution([line[5 + sensor] for line in lines]) for sensor in range(CMAPSS_SENSORS)]
    # Each with a unit: they are measurements, though nothing is said of their thresholds.
    schema = Schema(1, tuple(Signal(f"Sensor{n + 1}", unit="1", factor=f) for n, f in enumerate(factors)))
    rows = np.array(lines, np.float64)
    units = []
    for number in np.unique(rows[:, 0]):
        values = rows[rows[:, 0] == number, 5:]
        counts = np.round(values / factors).astype(np.int64)
        run = Records(0, counts, np.zeros(counts.shape, np.uint8))
        end = len(counts)
        units.append(Unit(f"engine {int(number)}", schema, (run,), end, (max(0, end - HEALTHY_UNTIL), end)))
    return Labelled("cmapss", tuple(units[0::5] + units[1::5]), tuple(units[2::5]), tuple(units[3::5] + units[4::5]), "cycle", 1.0, 60)  # fmt: skip


def _resolution(texts: list[str]) -> float:
    return float(10.0 ** -max(len(text.partition(".")[2]) for text in texts))


def drives(said: Callable[[str], None]) -> Labelled:
    """A car in town and on the motorway, as a collector gets it: sampled at 50 Hz, thresholds, reconstructed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "drive.log"
        groups: dict[str, list[Unit]] = {"learn": [], "tune": [], "measure": []}
        for group, name, drive, seed in _planned():
            said(f"driving: {name}")
            write_drive(log, MODELS[drive.model], drive, seed, DRIVE_S)
            schema, runs = _reconstructed(log)
            groups[group].append(Unit(name, schema, runs, int(DRIVE_S), _faulty(drive)))
    return Labelled(
        "drives",
        tuple(groups["learn"]),
        tuple(groups["tune"]),
        tuple(groups["measure"]),
        "second",
        0.2,
        int(DRIVE_S),
    )


def _planned() -> list[tuple[str, str, Drive, int]]:
    """(group, name, drive, seed): both roads healthy in each group, and every fault on both roads in the last."""
    roads = {"town": _road("city", _town), "motorway": _road("highway", _motorway)}
    healthy = [
        (group, f"{road}, healthy", drive, seed)
        for group, seeds in (("learn", (11, 12)), ("tune", (21,)), ("measure", (31, 32)))
        for seed in seeds
        for road, drive in roads.items()
    ]
    return healthy + [
        ("measure", f"{road}, {fault}", plant(drive), 41)
        for road, drive in roads.items()
        for fault, plant in FAULTS.items()
    ]


def _road(name: str, plan: Callable[[], NDArray[np.float64]]) -> Drive:
    """Of the same car, warmed up, with nothing on the way that is not planted."""
    car = DRIVES["city"]
    return replace(
        DRIVES[name], model=car.model, speed_plan=plan, soc=75.0, ambient_c=20.0, battery_c=27.0, drive_unit_c=45.0,
        acceleration_max_mps2=car.acceleration_max_mps2, tunnels=(),
    )  # fmt: skip


def _town() -> NDArray[np.float64]:
    return np.concatenate((np.zeros(8), load_schedule("udds")))


def _motorway() -> NDArray[np.float64]:
    plan = load_schedule("hwfet")
    return np.concatenate((np.zeros(8), plan, plan))


def _sensor(signal: str, kind: str, size: float = 0.0) -> Callable[[Drive], Drive]:
    fault = SensorFault(signal, kind, *FAULT_S, size)  # type: ignore[arg-type]
    return lambda drive: replace(drive, sensor_faults=(fault,))


FAULTS: dict[str, Callable[[Drive], Drive]] = {
    "speed sensor stuck": _sensor("WheelSpeedFL", "stuck"),
    "temperature sensor drifts": _sensor("ModuleTemp2", "drift", 0.03),
    "voltage sensor spikes": _sensor("PackVoltage", "spike", -40.0),
    "coolant lost": lambda drive: replace(drive, pump_weak=Window(*FAULT_S, 0.03)),
    "cell goes weak": lambda drive: replace(drive, cell_weak=Window(*FAULT_S, 25.0)),
}


def _faulty(drive: Drive) -> tuple[int, int] | None:
    planted = drive.sensor_faults or drive.pump_weak or drive.cell_weak
    return (int(FAULT_S[0]), int(FAULT_S[1])) if planted else None


def _reconstructed(log: Path) -> tuple[Schema, tuple[Records, ...]]:
    """What a collector has of a log: default thresholds, blocks of 10 s."""
    bus, frames = load_bus([FOLDER / "car.dbc"]), load_frames(log)
    plan = build_plan([bus], choose(bus, frames))
    schema = plan.schema
    runs = concatenate(sample_log(Sampler(plan), frames))
    facts = StreamFacts(bytes(16), 0, runs[0].first_tick)
    encoder, decoder = StreamEncoder(schema, facts), StreamDecoder(schema, facts)
    size = 10 * schema.rate_hz
    found = []
    for run in runs:
        for at in range(0, len(run), size):
            block = encoder.encode(run.slice(at, min(at + size, len(run))))
            found.append(decoder.decode(block.seq, block.content).records)
    return schema, tuple(found)
