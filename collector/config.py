"""Configuration: the embedded default, then a TOML file, then the environment, then flags, in one frozen value.

Rules
- Parsed before work begins; a mistake names file (or variable, or flag), key, what is wrong and what to do.
- Paths in a file are relative to it; elsewhere, to the working folder.
- Variables are DEADRECKON_COLLECTOR_<KEY>, and DATABASE_URL where hosting platforms set it. DEADRECKON_COLLECTOR_ADDRESS is the
  agent's, and left alone.
- In a file, what concerns the store may stand in a table [store], where its place is called `url`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.detectors.settings import DetectorSettings, DetectorSettingsError
from collector.toml_file import document_of, nearest, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT_PREFIX = "DEADRECKON_COLLECTOR_"
# By path: `--help` need not load the rules.
PROFILES = {name: Path(__file__).with_name("rules") / f"{name}.toml" for name in ("demo", "fleet")}
SHIPPED_RULES = PROFILES["demo"]
SHIPPED_CATALOGUE = Path(__file__).with_name("diagnosis") / "catalogue.toml"
SHIPPED_ROLES = Path(__file__).with_name("battery") / "roles.toml"
AGENTS_KEYS = frozenset({"address"})
WINDOW_BYTES_MAX = 16 << 20
ACK_WITHIN_S_MAX = 3600.0
MATERIALISE_HZ_MAX = 1000.0
KEEP_DAYS_MAX = 36525
AROUND_FAULTS_S_MAX = 600.0  # what lies before is read from the blocks when a fault opens
SEVERITIES = ("INFO", "WARNING", "CRITICAL")
SENTINEL_S_MAX = 10 * 366 * 86400.0


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names where it stands, the key and the remedy."""


@dataclass(frozen=True, slots=True)
class Config:
    """What `collector serve` and `collector sentinel` need. The defaults are the embedded ones."""

    listen: str = "127.0.0.1:50051"  # host:port; port 0 takes any that is free
    store: Path | str = Path("collector.db")  # a SQLite file, or a URL: postgresql://user@host/database
    rules: Path = SHIPPED_RULES
    catalogue: Path = SHIPPED_CATALOGUE  # of signatures that lead to diagnoses
    battery: Path = SHIPPED_ROLES  # which signals play which role in a battery
    webhooks: Path = Path()  # who is told of faults; none: nobody
    window_bytes: int = 256 << 10  # unacknowledged, per vehicle, at most
    ack_within_s: float = (
        20.0  # so soon a vehicle hears what is durable here, or that this collector is there at all
    )
    insecure: bool = False  # listen beyond loopback without TLS
    materialise_hz: float = 1.0  # rows of telemetry_logs a second and vehicle; 0: none
    faults_before_s: float = 5.0  # every record is a row so long before a fault opens or ends
    faults_after_s: float = 5.0  # and after
    keep_rows_days: int = 365  # of telemetry_logs, by the time of the record; 0: for ever
    keep_rollups_days: int = 1826
    keep_blocks_days: int = 0  # the truth stays; whole keyframe groups go where somebody sets a limit
    keep_faults_days: int = 1826  # those that have ended, with what operators said of them
    keep_diagnoses_days: int = 1826
    keep_anomalies_days: int = 365
    keep_battery_days: int = 3653  # a pack's life
    keep_health_days: int = 1826
    keep_notices_days: int = 90  # those that every webhook has told
    keep_dead_letters_days: int = 90
    keep_quarantine_days: int = 90
    sentinel_severity: str = "CRITICAL"  # open faults of it are findings at once
    sentinel_fault_s: float = 86400.0  # any fault is one after so long
    sentinel_silent_s: float = 86400.0  # a vehicle that is not parked is one after so long without a word
    sentinel_lag_s: float = (
        900.0  # a vehicle that is online is one when what is stored of it is so far behind
    )
    sentinel_gap_s: float = 86400.0  # a gap is one for so long
    detectors: DetectorSettings = field(default_factory=DetectorSettings)  # a table; in a file only

    def __post_init__(self) -> None:
        host, port = split_address(self.listen)
        if not self.insecure and not _is_loopback(host):
            raise ConfigError(
                f"listen: {host} can be reached from other machines, and without TLS any of them can write as any "
                "vehicle; listen on 127.0.0.1, or set insecure = true on a network that you trust"
            )
        if not 0 <= port <= 65535:
            raise ConfigError(f"listen: port {port}: must be 0 to 65535")
        if not 1024 <= self.window_bytes <= WINDOW_BYTES_MAX:
            raise ConfigError(f"window_bytes: {self.window_bytes}: must be 1024 to {WINDOW_BYTES_MAX}")
        if not 0.05 <= self.ack_within_s <= ACK_WITHIN_S_MAX:
            raise ConfigError(
                f"ack_within_s: {self.ack_within_s:g}: must be 0.05 to {ACK_WITHIN_S_MAX:g} seconds"
            )
        if not 0 <= self.materialise_hz <= MATERIALISE_HZ_MAX:
            raise ConfigError(
                f"materialise_hz: {self.materialise_hz:g}: must be 0 (no rows) to {MATERIALISE_HZ_MAX:g}"
            )
        for key in ("faults_before_s", "faults_after_s"):
            if not 0 <= getattr(self, key) <= AROUND_FAULTS_S_MAX:
                raise ConfigError(
                    f"{key}: {getattr(self, key):g}: must be 0 to {AROUND_FAULTS_S_MAX:g} seconds"
                )
        for key in (one.name for one in fields(self) if one.name.startswith("keep_")):
            if not 0 <= getattr(self, key) <= KEEP_DAYS_MAX:
                raise ConfigError(
                    f"{key}: {getattr(self, key)}: must be 0 (for ever) to {KEEP_DAYS_MAX} days"
                )
        if self.sentinel_severity not in SEVERITIES:
            raise ConfigError(
                f"sentinel_severity: {self.sentinel_severity!r}: must be {', '.join(SEVERITIES)}"
            )
        for key in ("sentinel_fault_s", "sentinel_silent_s", "sentinel_lag_s", "sentinel_gap_s"):
            if not 0 <= getattr(self, key) <= SENTINEL_S_MAX:
                raise ConfigError(f"{key}: {getattr(self, key):g}: must be 0 to {SENTINEL_S_MAX:g} seconds")


KEYS = tuple(one.name for one in fields(Config))


def load_config(path: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Raises ConfigError. Flags that are None were not given."""
    config = Config()
    if path is not None:
        document = document_of(text_of(path, ConfigError), str(path), ConfigError)
        config = _with(config, _flat(document), str(path), path.parent)
    if environment.get("DATABASE_URL"):
        config = _with(config, {"store": environment["DATABASE_URL"]}, "DATABASE_URL", Path())
    variables = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    variables = {key: value for key, value in variables.items() if key not in AGENTS_KEYS}
    config = _with(config, variables, "environment", Path(), prefix=ENVIRONMENT_PREFIX)
    given = {key: value for key, value in flags.items() if value is not None}
    return _with(config, given, "command line", Path())


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of the table [store] are ours without it."""
    table = values.get("store")
    if not isinstance(table, dict):
        return values
    others = {key: value for key, value in values.items() if key != "store"}
    return others | {"store" if key == "url" else key: value for key, value in table.items()}


def _with(config: Config, values: Mapping[str, Any], where: str, folder: Path, *, prefix: str = "") -> Config:
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in KEYS:
            spelt = (lambda name: prefix + name.upper()) if prefix else str
            raise ConfigError(f"{where}: unknown key {spelt(key)}{nearest(spelt(key), map(spelt, KEYS))}")
        try:
            changes[key] = _value(key, value, folder)
        except DetectorSettingsError as error:
            raise ConfigError(f"{where}: {key}: {error}") from None
        except (TypeError, ValueError, KeyError, OverflowError):
            raise ConfigError(f"{where}: {key}: {shown(value)} is not {_wanted(key)}") from None
    try:
        return replace(config, **changes)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _wanted(key: str) -> str:
    words = {
        DetectorSettings: "a table, [detectors]",
        str: "a text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
    }
    return words.get(type(getattr(Config(), key)), "a path")


def _value(key: str, value: Any, folder: Path) -> Any:
    default = getattr(Config(), key)
    if isinstance(default, DetectorSettings):
        if not isinstance(value, dict):
            raise TypeError
        settings = DetectorSettings.from_table(value)
        return replace(settings, models=tuple(str(folder / name) for name in settings.models))
    if isinstance(default, bool):
        return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
    if isinstance(value, bool) or "\0" in str(value):
        raise TypeError
    if isinstance(default, Path):
        if not isinstance(value, str | Path):
            raise TypeError
        if key == "rules":
            return rules_file(value, folder)
        return value if "://" in str(value) else folder / value
    if isinstance(default, str) and not isinstance(value, str):
        raise TypeError
    if isinstance(default, int) and isinstance(value, float):
        raise TypeError
    return type(default)(value)


def rules_file(named: str | Path, folder: Path = Path()) -> Path:
    """Of a profile that is shipped, by its name, or a file (one of such a name is written ./demo)."""
    return PROFILES.get(str(named), folder / named)


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 50051) of "127.0.0.1:50051"; IPv6 addresses stand in brackets. Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ConfigError(f"listen: {address!r} is not host:port, as 127.0.0.1:50051 is")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
