"""The plan: which signals of which buses are sampled, and how closely, compiled for the sampler."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.errors import SchemaError
from codec.schema import NS, SIGNALS_MAX, Schema, Signal
from decoder import tables
from decoder.frames import EXTENDED, FD_BYTES
from decoder.signals import (
    NOT_AVAILABLE_WORDS,
    Bus,
    BusSignal,
    bus_messages,
    bus_signals,
    kind_of,
    labels_of,
    not_available,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from decoder.tables import BusMessage, Tables

STALE_CYCLES = 5
STALE_S_MIN = 2.0
J1939_PGN_MASK, J1939_TO_ONE_MASK = (
    0x03FFFF00,
    0x03FF0000,
)  # PGNs below 0xF000 carry a destination in their low byte
__all__ = ["Bus", "Plan", "PlanError", "SignalChoice", "build_plan"]


class PlanError(ValueError):
    """A choice that cannot be sampled; names the signal, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class SignalChoice:
    """One signal to sample. `name` is what the schema calls it; threshold, resolution and circular are physical."""

    name: str
    bus: int
    message: str
    signal: str
    threshold: float = 0.0  # largest error allowed; 0 is lossless
    resolution: float = 0.0  # step in which sent values are coded; 0: as coarse as the threshold allows
    circular: float = 0.0  # one turn; 0 for what is not a circle
    timeout_s: float | None = (
        None  # None: the larger of 2 s and 5 x the cycle time, of the DBC or as observed
    )
    reject_outside: bool = False  # values outside the DBC's [min, max] are not available
    rationale: str = ""  # why this threshold; `edge-agent init` writes it as a comment
    priority: int = 1  # 0 the classic four, 1 measurements, 2 states and switches, 3 counters and checksums


@dataclass(frozen=True, slots=True)
class Plan:
    """What the sampler needs. Columns of the schema, of the tables and of `choices` are the same."""

    schema: Schema
    choices: tuple[SignalChoice, ...]
    tables: Tables
    messages: tuple[BusMessage, ...]  # those that carry a chosen signal
    timeouts_ns: NDArray[np.int64]  # [columns]: stale when no frame has carried it for longer
    learns_timeout: NDArray[np.bool_]  # [columns]: the timeout grows with the cycle that is observed
    warnings: tuple[str, ...] = ()

    def wanted_ids(self, bus: int) -> list[tuple[int, int, bool]]:
        """Filters (id, mask, extended) for the frames of a bus that the plan needs: id & mask == wanted & mask."""
        filters: dict[tuple[int, int, bool], None] = {}
        for entry in self.messages:
            if entry.bus != bus:
                continue
            frame_id, extended = entry.key & ~EXTENDED, bool(entry.key & EXTENDED)
            mask = 0x1FFFFFFF if extended else 0x7FF
            if extended and entry.message.protocol == "j1939":
                mask = J1939_PGN_MASK if frame_id >> 16 & 0xFF >= 0xF0 else J1939_TO_ONE_MASK
            filters[frame_id & mask, mask, extended] = None
        return list(filters)


def build_plan(
    buses: Sequence[Bus],
    choices: Sequence[SignalChoice],
    *,
    rate_hz: int = 50,
    not_available_words: Sequence[str] = NOT_AVAILABLE_WORDS,
) -> Plan:
    """Compile the choices. Raises PlanError for a signal that is not there or a threshold that cannot be."""
    messages, warnings = bus_messages(buses)
    known = {
        (entry.owner.bus, entry.owner.message.name, entry.signal.name): entry
        for entry in bus_signals(buses, messages)
    }
    if len(choices) > SIGNALS_MAX:
        raise PlanError(f"{len(choices)} signals are chosen, and {SIGNALS_MAX} can be sampled; choose fewer")
    chosen = [_find(buses, known, choice) for choice in choices]
    try:
        schema = Schema(rate_hz, tuple(_signal(buses, *pair) for pair in zip(choices, chosen, strict=True)))
    except SchemaError as error:
        raise PlanError(str(error)) from None
    columns = {(entry.owner.key, entry.owner.bus, entry.signal.name): i for i, entry in enumerate(chosen)}
    if len(columns) < len(chosen):
        raise PlanError("a signal is chosen twice, under two names; drop one of them")
    limits = {
        i: not_available(
            entry.signal,
            j1939=entry.owner.message.protocol == "j1939",
            reject_outside=choice.reject_outside,
            words=not_available_words,
        )
        for i, (choice, entry) in enumerate(zip(choices, chosen, strict=True))
    }
    wanted = {(entry.owner.bus, entry.owner.key) for entry in chosen}
    used = [entry for entry in messages if (entry.bus, entry.key) in wanted]
    compiled = tables.compile_tables(
        used, lambda entry, signal: columns.get((entry.key, entry.bus, signal.name), -1), len(chosen), limits
    )
    timeouts = [_timeout_s(choice, entry) for choice, entry in zip(choices, chosen, strict=True)]
    return Plan(
        schema,
        tuple(choices),
        compiled,
        tuple(used),
        np.array([round(timeout * NS) for timeout in timeouts], np.int64),
        np.array([choice.timeout_s is None for choice in choices], np.bool_),
        (*warnings, *not_sampled(messages)),
    )


def _find(
    buses: Sequence[Bus], known: dict[tuple[int, str, str], BusSignal], choice: SignalChoice
) -> BusSignal:
    entry = known.get((choice.bus, choice.message, choice.signal))
    if entry is None:
        bus = buses[choice.bus].name if 0 <= choice.bus < len(buses) else f"number {choice.bus}"
        names = [f"{message}.{signal}" for at, message, signal in known if at == choice.bus]
        near = difflib.get_close_matches(f"{choice.message}.{choice.signal}", names, 1)
        hint = f"; did you mean {near[0]}?" if near else "; check its DBCs"
        raise PlanError(f"signal {choice.name}: bus {bus} has no {choice.message}.{choice.signal}{hint}")
    reason = unusable(entry)
    if reason:
        raise PlanError(f"signal {choice.name}: {reason}; leave it out")
    return entry


def unusable(entry: BusSignal) -> str:
    """Why a signal cannot be sampled, or an empty string."""
    reason = tables.opaque(entry.owner.message)
    if reason:
        return f"its message {reason}"
    if entry.signal.length > 64:
        return f"{entry.signal.length} bits are text and no number"
    if tables.end_byte(entry.signal) > FD_BYTES:
        return f"it lies beyond the {FD_BYTES} bytes of a frame"
    return ""


def not_sampled(messages: Sequence[BusMessage]) -> list[str]:
    """A line for each message of which something cannot be sampled: what, and why."""
    lines = []
    for entry in messages:
        names: dict[str, list[str]] = {}
        for signal in entry.message.signals:
            reason = unusable(BusSignal(signal.name, entry, signal))
            if reason:
                names.setdefault(reason, []).append(signal.name)
        reason = tables.opaque(entry.message)
        if reason and not names:
            names[f"its message {reason}"] = ["what it carries"]
        lines += [
            f"{entry.source}: message {entry.message.name}: {', '.join(found)} cannot be sampled: {reason}; "
            "`replay-logs decode` leaves it to cantools"
            for reason, found in names.items()
        ]
    return lines


def _signal(buses: Sequence[Bus], choice: SignalChoice, entry: BusSignal) -> Signal:
    signal = entry.signal
    return Signal(
        name=choice.name,
        unit=signal.unit or "",
        kind=kind_of(signal),
        factor=float(signal.conversion.scale),
        offset=float(signal.conversion.offset),
        threshold=choice.threshold,
        resolution=choice.resolution,
        circular=choice.circular,
        minimum=_finite(signal.minimum),
        maximum=_finite(signal.maximum),
        labels=tuple(sorted(labels_of(signal).items())) if not signal.is_float else (),
        source=f"{buses[choice.bus].name}:{choice.message}.{choice.signal}",
    )


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def _timeout_s(choice: SignalChoice, entry: BusSignal) -> float:
    if choice.timeout_s is not None:
        if not 0 < choice.timeout_s < 1e6:
            raise PlanError(
                f"signal {choice.name}: timeout_s = {choice.timeout_s} must be more than 0 and less than 1e6"
            )
        return choice.timeout_s
    return max(STALE_S_MIN, STALE_CYCLES * (entry.owner.message.cycle_time or 0) / 1000)
