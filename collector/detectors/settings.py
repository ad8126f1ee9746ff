"""Which detectors run, and how: a frozen value, made of the `[detectors]` of the collector's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from collector.toml_file import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 2.5  # the classic one
LIMIT_MAX = 1000.0
WINDOW_S_MAX = (
    3600  # each second of it is 8 bytes a signal in memory, and a second of records to decode after a restart
)
CONFIDENCE = 0.999


class DetectorSettingsError(ValueError):
    """Settings that make no sense; the message names the key and the remedy."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """`limits` are of single signals, and hold for z-score and robust z-score."""

    zscore: bool = True
    robust: bool = False
    limit: float = LIMIT
    limits: Mapping[str, float] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()  # signals
    window_s: int = 120
    samples_min: int = 30  # fewer in a window tell nothing of what is usual
    quiet_s: int = 10  # an episode ends once it was quiet for so long
    models: tuple[str, ...] = ()  # files
    confidence: float = CONFIDENCE  # of a model, from which on it is an anomaly

    def __post_init__(self) -> None:
        for name, limit in {
            "limit": self.limit,
            **{f"limits.{k}": v for k, v in self.limits.items()},
        }.items():
            if not 0 < limit <= LIMIT_MAX:
                raise DetectorSettingsError(
                    f"{name}: {limit:g}: must be more than 0, and {LIMIT_MAX:g} at most"
                )
        if not 2 <= self.window_s <= WINDOW_S_MAX:
            raise DetectorSettingsError(f"window_s: {self.window_s}: must be 2 to {WINDOW_S_MAX}")
        if not 2 <= self.samples_min <= self.window_s:
            raise DetectorSettingsError(
                f"samples_min: {self.samples_min}: must be 2 to window_s ({self.window_s})"
            )
        if not 0 <= self.quiet_s <= WINDOW_S_MAX:
            raise DetectorSettingsError(f"quiet_s: {self.quiet_s}: must be 0 to {WINDOW_S_MAX}")
        if not 0 < self.confidence < 1:
            raise DetectorSettingsError(f"confidence: {self.confidence:g}: must be between 0 and 1")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> DetectorSettings:
        """Of a TOML table. Raises DetectorSettingsError."""
        known = [one.name for one in fields(cls)]
        changes: dict[str, Any] = {}
        for key, value in table.items():
            if key not in known:
                raise DetectorSettingsError(f"unknown key {key}{nearest(key, known)}")
            changes[key] = _value(key, value, getattr(cls(), key))
        return replace(cls(), **changes)


def _value(key: str, value: Any, default: Any) -> Any:
    match default:
        case bool() if isinstance(value, bool):
            return value
        case int() if type(value) is int and not isinstance(default, bool):
            return value
        case float() if type(value) in (int, float):
            return float(value)
        case tuple() if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        case dict() if isinstance(value, dict) and all(type(one) in (int, float) for one in value.values()):
            return {name: float(one) for name, one in value.items()}
    wanted = {bool: "true or false", int: "a whole number", float: "a number", tuple: "a list of texts"}
    raise DetectorSettingsError(
        f"{key}: {shown(value)} is not {wanted.get(type(default), 'a table of numbers')}"
    )
