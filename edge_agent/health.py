"""How the agent and its machine are, for heartbeat and status."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_agent.outbox_file import count_set_aside


@dataclass(frozen=True, slots=True)
class MachineHealth:
    """`cpu_percent` of one core, by this process since it was last asked; 0 degrees: not known."""

    cpu_percent: float
    rss_bytes: int
    disk_free_bytes: int
    temperature_c: float
    outboxes_set_aside: int  # damaged ones, kept beside the outbox


class HealthProbe:
    """Asks the machine."""

    def __init__(self, outbox_path: str) -> None:
        self._outbox_path = outbox_path
        self._folder = Path(outbox_path).parent
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first answer counts from here

    def ask(self) -> MachineHealth:
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            free = 0
        return MachineHealth(
            self._process.cpu_percent(),
            self._process.memory_info().rss,
            free,
            _temperature_c(),
            count_set_aside(self._outbox_path),
        )


def _temperature_c() -> float:
    """Hottest sensor of the machine."""
    sensors = getattr(psutil, "sensors_temperatures", dict)  # not on every platform
    try:
        return max((entry.current for entries in sensors().values() for entry in entries), default=0.0)
    except OSError:
        return 0.0
