"""What can be configured: frozen values, each setting with its default, its limits and what it means."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from codec.schema import RATE_HZ_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT_PREFIX = "DEADRECKON_"
REQUIRED: Any = ...


def setting(
    default: Any,
    text: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    one_of: tuple[str, ...] = (),
) -> Any:
    metadata = {"default": default, "text": text, "low": low, "high": high, "one_of": one_of}
    return field(
        default_factory=lambda: default, metadata=metadata
    )  # a factory, since tables are not hashable


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Who sends."""

    id: str = setting(REQUIRED, "VIN, or asset:<name> for what is no road vehicle")
    model: str = setting("", "shown to the operator, and rules can depend on it")
    firmware_version: str = setting("", "shown to the operator")


@dataclass(frozen=True, slots=True)
class Collector:
    """Where to."""

    address: str = setting("127.0.0.1:50051", "host:port of the collector")


@dataclass(frozen=True, slots=True)
class Sampling:
    """When a record is taken."""

    rate_hz: int = setting(
        50, "records a second; divides a second into whole nanoseconds", low=1, high=RATE_HZ_MAX
    )
    park_after_s: float = setting(
        60.0, "a bus silent for so long is a parked vehicle: no records until frames come", low=1, high=86_400
    )
    not_available: tuple[str, ...] = setting(
        (),
        "labels of value tables that mean it; none: SNA, not available, no data, and as highest codes error and invalid",
    )


@dataclass(frozen=True, slots=True)
class BusConfig:
    """One bus: how python-can opens it, and the DBCs that describe it."""

    interface: str = setting(REQUIRED, "python-can interface: socketcan, slcan, pcan, replay ...")
    channel: str = setting(REQUIRED, "python-can channel: can0, /dev/ttyUSB0, a log for replay")
    dbc: tuple[str, ...] = setting(REQUIRED, "DBC files, the first that knows a message decides")
    name: str = setting("", "how logs and status call the bus; default: the channel")
    options: Mapping[str, Any] = setting(MappingProxyType({}), "everything else that python-can's bus takes")


@dataclass(frozen=True, slots=True)
class OutboxConfig:
    """Where everything is kept until the collector has it."""

    path: str = setting("outbox.db", "SQLite file; its folder is made where it is missing")
    quota_bytes: int = setting(256 << 20, "largest size; acknowledged blocks go first", low=1 << 16)
    loss_max_s: float = setting(
        1.0, "record time that a crash or power cut may cost; smaller wears the disk", low=0.02, high=60
    )
    synchronous: str = setting(
        "FULL",
        "NORMAL spares the disk, and a power cut then takes back stored blocks",
        one_of=("FULL", "NORMAL"),
    )


@dataclass(frozen=True, slots=True)
class Blocks:
    """How much record time goes in one block."""

    online_s: float = setting(10.0, "while the collector is connected", low=0.1, high=600)
    watched_s: float = setting(
        1.0, "while somebody looks at this vehicle (no collector says so yet)", low=0.1, high=600
    )
    offline_s: float = setting(
        30.0, "while it is not connected; a block has 4,096 records at most", low=0.1, high=600
    )
    keyframe_s: float = setting(
        30.0, "force-resync: at least so often a block needs none before it", low=0.1, high=600
    )


@dataclass(frozen=True, slots=True)
class Uplink:
    """How the collector is talked to."""

    heartbeat_s: float = setting(60.0, "between signs of life", low=0.1, high=3600)
    backlog_heartbeat_s: float = setting(2.0, "the same while a backlog drains", low=0.1, high=3600)
    retry_min_s: float = setting(0.5, "shortest wait for another try to connect", low=0.01, high=60)
    retry_max_s: float = setting(
        60.0, "longest wait; every wait is drawn at random below it", low=0.01, high=3600
    )
    pace_bytes_per_s: int = setting(
        0, "most that is sent in a second; heartbeats do not wait for it; 0: no limit", low=0
    )
    month_bytes: int = setting(
        0,
        "budget of a calendar month (UTC), both ways; nearing it, blocks become longer; what is beyond it waits in "
        "the outbox for the next; 0: none",
        low=0,
    )
    drain_s: float = setting(
        30.0, "after the end of a replayed log, wait so long for the last ack", low=0, high=3600
    )


@dataclass(frozen=True, slots=True)
class Demo:
    """What only the demo needs."""

    side_log: bool = setting(False, "keep every sampled record in the outbox, to compare with what arrives")


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """One signal; None: as the defaults for it say."""

    threshold: float | None = setting(None, "largest error, in the signal's unit; 0: none", low=0)
    resolution: float | None = setting(None, "step in which sent values are coded", low=0)
    circular: float | None = setting(None, "one turn, 360 for degrees", low=0)
    timeout_s: float | None = setting(None, "stale after so long without a frame", low=0.001)
    reject_outside: bool | None = setting(None, "values outside the DBC's range are not available")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything, checked. `signals` is None where the file has no [signals]: then all usable signals are sampled."""

    path: str
    vehicle: Vehicle
    buses: tuple[BusConfig, ...]
    signals: Mapping[str, SignalConfig] | None = None
    collector: Collector = Collector()
    sampling: Sampling = Sampling()
    outbox: OutboxConfig = OutboxConfig()
    blocks: Blocks = Blocks()
    uplink: Uplink = Uplink()
    demo: Demo = Demo()

    @property
    def replayed(self) -> bool:
        """Whether time comes from the frames alone: every bus is a replayed log."""
        return all(bus.interface == "replay" for bus in self.buses)


SECTIONS: dict[str, type[Any]] = {
    "vehicle": Vehicle,
    "collector": Collector,
    "sampling": Sampling,
    "outbox": OutboxConfig,
    "blocks": Blocks,
    "uplink": Uplink,
    "demo": Demo,
}


def settings_table() -> list[tuple[str, str, str, str]]:
    """(key, variable, default, meaning) of every setting: the documented list."""
    rows = []
    kinds: dict[str, type[Any]] = {**SECTIONS, "bus": BusConfig}
    for section, kind in kinds.items():
        for item in dataclasses.fields(kind):
            variable = f"{ENVIRONMENT_PREFIX}{section}_{item.name}".upper()
            default = (
                "(required)" if item.metadata["default"] is REQUIRED else _shown(item.metadata["default"])
            )
            key = f"[[bus]] {item.name}" if section == "bus" else f"{section}.{item.name}"
            rows.append((key, "" if item.name == "options" else variable, default, item.metadata["text"]))
    by_signal = dataclasses.fields(SignalConfig)
    return rows + [
        (f"signals.NAME.{item.name}", "", "by signal", item.metadata["text"]) for item in by_signal
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return json.dumps(value)
    return str(value) if isinstance(value, int | float) else "{}"
