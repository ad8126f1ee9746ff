"""The plan: which signals of which buses are sampled, and how closely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.schema import Schema
    from decoder.dbc import Dbc


class PlanError(ValueError):
    """A choice that cannot be sampled; names the signal, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Bus:
    """One bus and its DBCs in order of precedence. Its index in the list of buses is `Frames.buses`."""

    name: str
    dbcs: tuple[Dbc, ...]


@dataclass(frozen=True, slots=True)
class SignalChoice:
    """One signal to sample. `name` is what the schema calls it; `threshold`, `resolution` and `circular` are physical."""

    name: str
    bus: int
    message: str
    signal: str
    threshold: float = 0.0
    resolution: float = 0.0
    circular: float = 0.0
    timeout_s: float | None = None  # None: the larger of 5 x the cycle time and 2 s
    reject_outside: bool = False  # values outside the DBC's [min, max] are not available
    rationale: str = ""  # why this threshold; `edge-agent init` writes it as a comment
    priority: int = 1  # 0 classic four, 1 measurements, 2 enumerations and switches, 3 counters and checksums


@dataclass(frozen=True, slots=True)
class Plan:
    """What the sampler needs. `warnings` has a line for each clash of IDs and each message that cantools decodes."""

    schema: Schema
    choices: tuple[SignalChoice, ...]
    warnings: tuple[str, ...] = ()

    def wanted_ids(self, bus: int) -> list[tuple[int, int, bool]]:
        """Filters (id, mask, extended) for the frames of a bus that the plan needs."""
        raise NotImplementedError


def default_choices(buses: Sequence[Bus]) -> tuple[SignalChoice, ...]:
    """Every usable signal with a sensible threshold; names are unique."""
    raise NotImplementedError


def build_plan(buses: Sequence[Bus], choices: Sequence[SignalChoice], *, rate_hz: int = 50) -> Plan:
    """Compile the choices. Raises PlanError."""
    raise NotImplementedError
