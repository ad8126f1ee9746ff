"""From a drive to a candump log: sensors, cyclic messages, one bus, one file.

Rules
- car.dbc is the only place that knows bits, factors and cycle times.
- The same model, drive and seed give the same lines on every machine; a longer drive begins with the same lines
  (but for the last few milliseconds, where arbitration may still change the order).
- A frame carries what was true when its sender took the values, at its due time; the bus then adds what a bus adds.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import cantools
import numpy as np

from replay_logs.candump import write_lines
from replay_logs.noise import Noise, wander
from replay_logs.sensor_faults import reported
from replay_logs.vehicle import STEP_HZ, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cantools.database.can import Message, Signal
    from numpy.typing import NDArray

    from replay_logs.models import VehicleModel
    from replay_logs.scenarios import Drive, Window
    from replay_logs.vehicle import Trace

BITRATE = 500_000
CHANNEL = "can0"

# Standard deviation of each sensor, in its unit, about one count; what is not here is computed, not measured.
_SENSOR_NOISE = {
    "VehicleSpeed": 0.04, "WheelSpeedFL": 0.05, "WheelSpeedFR": 0.05, "WheelSpeedRL": 0.06, "WheelSpeedRR": 0.06,
    "SteeringAngle": 0.05, "MotorTorque": 0.6, "MotorSpeed": 1.6, "AcceleratorPedal": 0.10, "BrakePedal": 0.08,
    "PackVoltage": 0.12, "PackCurrent": 0.25, "PackPower": 0.08, "CellVoltageMin": 0.0006, "CellVoltageMax": 0.0006,
    "CellImbalance": 0.5, "ModuleTemp1": 0.08, "ModuleTemp2": 0.08, "ModuleTemp3": 0.08, "ModuleTemp4": 0.08,
    "BatteryTempMin": 0.09, "BatteryTempMax": 0.11, "BatteryInletTemp": 0.10, "MotorTemp": 0.35, "InverterTemp": 0.35,
    "CoolantTemp": 0.15, "SOC": 0.0, "Heading": 0.08, "LowVoltage": 0.015, "AmbientTemp": 0.12,
}  # fmt: skip
# Sensors that give exactly zero at standstill: pulse counters and what is computed from them.
_SILENT_AT_REST = frozenset(
    {"VehicleSpeed", "WheelSpeedFL", "WheelSpeedFR", "WheelSpeedRL", "WheelSpeedRR", "MotorSpeed"}
)
_DRIFT_DEG = 1.2e-5  # slow wander of a satellite position
_DRIFT_S = 45.0
_POSITION_NOISE_DEG = 6e-7
# Seconds after power-on until a control unit has something to say.
_READY_S = {
    "Chassis": 0.4, "Inverter": 1.1, "Battery": 2.0, "Body": 0.6, "Gateway": 0.0,
    "Heading": 4.0, "Latitude": 9.5, "Longitude": 9.5, "AmbientTemp": 3.0, "TripEnergy": 2.5, "FirmwareVersion": 1.5,
}  # fmt: skip
_IN_TUNNEL = ("Latitude", "Longitude")
_JITTER_S = 180e-6  # of a sender's task
_LATE_SHARE = 0.004  # of a sender's frames wait for a busy task ...
_LATE_S = 2.5e-3  # ... up to this long
_DRIFT_PPM = 40  # of a control unit's crystal


@dataclass(frozen=True, slots=True)
class _Sender:
    """One cyclic message: when its frames are due (seconds, ascending) and what they carry (hex)."""

    frame_id: int
    extended: bool
    bits: int  # on the bus, without stuffing
    due_s: list[float]
    data: list[str]


def car_messages() -> list[Message]:
    """The messages of car.dbc."""
    with as_file(files("replay_logs") / "car.dbc") as path:
        database = cantools.database.load_file(path)
    assert isinstance(database, cantools.database.can.Database)
    return list(database.messages)


def write_drive(path: Path, model: VehicleModel, drive: Drive, seed: int, duration_s: float) -> int:
    """Write the log to `path`, compressed if it ends in .gz; returns the number of frames. Raises OSError."""
    return write_lines(path, candump_lines(model, drive, seed, duration_s))


def candump_lines(model: VehicleModel, drive: Drive, seed: int, duration_s: float) -> Iterator[str]:
    """The lines of `candump -L`, with hardware time stamps in microseconds."""
    trace = simulate(model, drive, seed, duration_s)
    senders = [_sender(message, trace, drive, seed, duration_s) for message in car_messages()]
    start_us = drive.start_unix_s * 1_000_000
    for time_s, sender, index in _arbitrate(senders):
        seconds, micros = divmod(start_us + round(time_s * 1e6), 1_000_000)
        name = f"{sender.frame_id:08X}" if sender.extended else f"{sender.frame_id:03X}"
        yield f"({seconds}.{micros:06d}) {CHANNEL} {name}#{sender.data[index]}\n"


def _arbitrate(senders: list[_Sender]) -> Iterator[tuple[float, _Sender, int]]:
    """Frames in the order in which one bus carries them, stamped at their end: the lowest identifier goes first."""
    due = [(sender.due_s[0], number, 0) for number, sender in enumerate(senders) if sender.due_s]
    heapq.heapify(due)
    waiting: list[tuple[int, int, int]] = []
    free_s = 0.0
    while due or waiting:
        if not waiting:
            free_s = max(free_s, due[0][0])
        while due and due[0][0] <= free_s:
            _, number, index = heapq.heappop(due)
            heapq.heappush(waiting, (_priority(senders[number]), number, index))
        _, number, index = heapq.heappop(waiting)
        sender = senders[number]
        free_s += sender.bits / BITRATE
        yield free_s, sender, index
        if index + 1 < len(sender.due_s):
            heapq.heappush(due, (sender.due_s[index + 1], number, index + 1))


def _priority(sender: _Sender) -> int:
    """Arbitration order: an 11-bit identifier beats a 29-bit one with the same first bits."""
    return sender.frame_id << 1 | 1 if sender.extended else sender.frame_id << 19


def _sender(message: Message, trace: Trace, drive: Drive, seed: int, duration_s: float) -> _Sender:
    assert message.cycle_time is not None
    period_s = message.cycle_time / 1000
    phase, drift = Noise(seed, f"{message.name}:clock").uniform(2).tolist()
    nominal_s = (phase + np.arange(int(duration_s / period_s) + 1)) * period_s
    nominal_s *= 1 + (2 * drift - 1) * _DRIFT_PPM * 1e-6
    nominal_s = nominal_s[nominal_s < duration_s - 1e-9]
    draws = Noise(seed, f"{message.name}:late").uniform(2 * len(nominal_s))
    late_s = np.where(draws[0::2] < _LATE_SHARE, draws[1::2] * _LATE_S, 0.0)
    jitter_s = np.abs(Noise(seed, f"{message.name}:jitter").normal(len(nominal_s))) * _JITTER_S
    due_s = nominal_s + jitter_s + late_s
    data = _payloads(message, trace, drive, seed, nominal_s)
    return _Sender(
        frame_id=message.frame_id,
        extended=message.is_extended_frame,
        bits=(67 if message.is_extended_frame else 47) + 8 * message.length,
        due_s=due_s.tolist(),
        data=[row.tobytes().hex().upper() for row in data],
    )


def _payloads(
    message: Message, trace: Trace, drive: Drive, seed: int, times_s: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """uint8[n, message.length] for the values at `times_s`."""
    little = np.zeros(len(times_s), "<u8")
    big = np.zeros(len(times_s), ">u8")
    selectors = [signal for signal in message.signals if signal.is_multiplexer]
    turn = (
        np.arange(len(times_s)) % len(message.signals[1:]) if selectors else np.zeros(len(times_s), np.int64)
    )
    for signal in message.signals:
        raw = turn if signal.is_multiplexer else _raw(signal, message, trace, drive, seed, times_s)
        bits = raw.astype(np.int64).view(np.uint64) & np.uint64((1 << signal.length) - 1)
        if signal.multiplexer_ids:
            bits = np.where(turn == signal.multiplexer_ids[0], bits, np.uint64(0))
        if signal.byte_order == "little_endian":
            little |= bits << np.uint64(signal.start)
        else:
            # cantools names the most significant bit of a big-endian signal, counted within its byte
            from_left = signal.start // 8 * 8 + 7 - signal.start % 8
            big |= bits << np.uint64(64 - from_left - signal.length)
    both = little.view(np.uint8).reshape(-1, 8) | big.view(np.uint8).reshape(-1, 8)
    return both[:, : message.length]


def _raw(
    signal: Signal, message: Message, trace: Trace, drive: Drive, seed: int, times_s: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Counts int64[n] as the sensor reports them; its "not available" code where it has nothing to say."""
    values = trace.columns[signal.name][
        np.minimum((times_s * STEP_HZ).astype(np.int64), len(trace.moving) - 1)
    ]
    values = values + _error(signal.name, trace, seed, times_s)
    values = reported(values, signal.name, times_s, drive.sensor_faults)
    silent = times_s < _READY_S.get(signal.name, _READY_S[message.senders[0]])
    if signal.name in _IN_TUNNEL:
        silent |= _within(times_s, drive.tunnels)
    if signal.is_float:
        return (
            np.where(silent, np.float32(np.nan), values.astype(np.float32)).view(np.uint32).astype(np.int64)
        )
    assert signal.minimum is not None
    assert signal.maximum is not None
    if signal.name == "Heading":
        values = np.round(values, 1) % 360.0
    values = np.clip(values, float(signal.minimum), float(signal.maximum))
    raw = np.round((values - float(signal.offset)) / float(signal.scale)).astype(np.int64)
    return np.where(silent, _not_available(signal), raw)


def _error(name: str, trace: Trace, seed: int, times_s: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """What the sensor adds to the truth."""
    noise = Noise(seed, name)
    if name in _IN_TUNNEL:
        period_s = times_s[1] - times_s[0] if len(times_s) > 1 else 1.0
        drift = wander(noise.normal(len(times_s)), _DRIFT_S / period_s, _DRIFT_DEG)
        return np.array(drift) + _POSITION_NOISE_DEG * Noise(seed, name + ":white").normal(len(times_s))
    error = _SENSOR_NOISE.get(name, 0.0) * noise.normal(len(times_s))
    if name in _SILENT_AT_REST:
        error[~trace.moving[np.minimum((times_s * STEP_HZ).astype(np.int64), len(trace.moving) - 1)]] = 0.0
    return error


def _within(times_s: NDArray[np.float64], windows: tuple[Window, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(len(times_s), np.bool_)
    for window in windows:
        inside |= (times_s >= window.start_s) & (times_s < window.end_s)
    return inside


def _not_available(signal: Signal) -> int:
    codes: dict[int, Any] = signal.choices or {}
    return next(raw for raw, word in codes.items() if str(word) == "SNA")
