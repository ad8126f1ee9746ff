"""The files that the demo's agents read: values in, TOML text out. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collector.config import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOSS_MAX_S = 1.0  # of record time, at most, lost by a kill
ACK_WITHIN_S = 2.0  # of wall time; the collector's default is for links that cost money
# A log may be years old, and what was found in it is compared at the end.
KEEP_ALL = {key: 0 for key in KEYS if key.startswith("keep_")}


@dataclass(frozen=True, slots=True)
class Drive:
    """One vehicle's recorded drive and how it is played: `speed` times as fast as it was driven."""

    vin: str
    model: str
    firmware_version: str
    log: Path
    dbcs: tuple[Path, ...]
    speed: float
    title: str  # what is driven
    signals: Mapping[str, Any] | None = None  # None: all usable ones, with their default thresholds
    bus_name: str = "can0"
    bus_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The vehicle's folder: the end of its VIN, or the asset's name."""
        return self.vin.removeprefix("asset:") if self.vin.startswith("asset:") else self.vin[-6:]


def agent_toml(drive: Drive, *, address: str, outbox: Path, epoch: float) -> str:
    """Configuration of one agent. The drive's first frame plays at `epoch`, seconds of Unix time, restarts or not."""
    document: dict[str, Any] = {
        "vehicle": {"id": drive.vin, "model": drive.model, "firmware_version": drive.firmware_version},
        "collector": {"address": address},
        "outbox": {"path": str(outbox), "loss_max_s": LOSS_MAX_S},
        # Waits fit the demo's time, in which a minute of driving takes a few seconds.
        "uplink": {"heartbeat_s": 60.0, "retry_min_s": 0.2, "retry_max_s": 2.0, "drain_s": 30.0},
        "demo": {"side_log": True},
        "bus": [
            {
                "name": drive.bus_name,
                "interface": "replay",
                "channel": str(drive.log),
                "dbc": [str(dbc) for dbc in drive.dbcs],
                "options": {"speed": drive.speed, "epoch": epoch, **drive.bus_options},
            }
        ],
    }
    if drive.signals is not None:
        document["signals"] = dict(drive.signals)
    return toml(document)


def collector_toml(port: int, store: Path, rules: Path | None) -> str:
    """Configuration of the collector; without rules, those that it ships with."""
    settings: dict[str, Any] = {
        "listen": f"127.0.0.1:{port}",
        "store": str(store),
        "ack_within_s": ACK_WITHIN_S,
        **KEEP_ALL,
    }
    if rules is not None:
        settings["rules"] = str(rules)
    return "".join(f"{key} = {_inline(value)}\n" for key, value in settings.items())


def toml(document: Mapping[str, Any]) -> str:
    """Tables and arrays of tables one level deep; what is deeper is written inline."""
    lines: list[str] = []
    for key, value in document.items():
        tables = value if isinstance(value, list) else [value]
        for table in tables:
            lines.append(f"[[{_key(key)}]]" if isinstance(value, list) else f"[{_key(key)}]")
            lines += [f"{_key(name)} = {_inline(entry)}" for name, entry in table.items()]
            lines.append("")
    return "\n".join(lines)


def _inline(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return (
                "{ " + ", ".join(f"{_key(name)} = {_inline(entry)}" for name, entry in value.items()) + " }"
            )
        case list() | tuple():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case int() | float():
            return repr(value)
        case _:
            return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a TOML string


def _key(name: str) -> str:
    """As it is where TOML takes it bare, which is not everywhere."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
