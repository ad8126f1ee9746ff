"""Who is told what: webhooks.toml. A mistake names file, webhook and key.

[[webhook]]
name = "ops"                        # names it in the store and the logs: keep it
url = "https://hooks.example.org/deadreckon"
secret_env = "OPS_SECRET"           # or secret_file: signs every delivery
severities = ["CRITICAL"]           # default: WARNING and CRITICAL
kinds = ["opened", "closed"]        # also confirmed, digest, withdrawn; default: all
format = "json"                     # or "alertmanager": what Alertmanager tells its receivers
group_s = 5                         # notices wait so long for others
per_minute = 12                     # deliveries, at most
give_up_s = 86400                   # then a delivery becomes a dead letter

[[webhook.silence]]                 # any number; all of its conditions together
days = ["sat", "sun"]               # default: every day; the day on which it begins
from = "22:00"
to = "06:00"                        # past midnight if it is not after `from`
timezone = "Europe/Berlin"          # default: UTC
severities = ["WARNING"]            # default: all
codes = ["LOW_*"]                   # default: all; * and ? as in file names
vins = ["WVW*"]
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from collector.config import ConfigError
from collector.webhooks.notice import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collector.webhooks.notice import Notice

NS = 1_000_000_000
SEVERITIES = ("INFO", "WARNING", "CRITICAL")
FORMATS = ("json", "alertmanager")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TARGETS_MAX = 32  # each reads every notice
NAME_CHARACTERS_MAX = 64


class TargetError(ConfigError):
    """A webhooks file that cannot be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Silence:
    """When, and of what, nothing is told. Times of day are local to `zone`."""

    days: frozenset[int]  # 0 is Monday
    begins: time
    ends: time
    zone: tzinfo
    severities: frozenset[str]
    codes: tuple[str, ...]
    vins: tuple[str, ...]

    def holds(self, notice: Notice, now_ns: int) -> bool:
        """Whether a notice waits at this time."""
        return (
            notice.severity in self.severities
            and any(fnmatchcase(notice.code, code) for code in self.codes)
            and any(fnmatchcase(notice.vin, vin) for vin in self.vins)
            and self._in_force(datetime.fromtimestamp(now_ns // NS, self.zone))
        )

    def _in_force(self, now: datetime) -> bool:
        at, today = now.time(), now.weekday()
        if self.begins < self.ends:
            return today in self.days and self.begins <= at < self.ends
        yesterday = (now - timedelta(days=1)).weekday()
        return (today in self.days and at >= self.begins) or (yesterday in self.days and at < self.ends)


@dataclass(frozen=True, slots=True)
class Target:
    """One webhook."""

    name: str
    url: str
    secret: bytes = field(default=b"", repr=False)
    format: str = "json"
    severities: frozenset[str] = frozenset({"WARNING", "CRITICAL"})
    kinds: frozenset[str] = frozenset(KINDS)
    group_s: float = 5.0
    per_minute: int = 12
    give_up_s: float = 86_400.0
    silences: tuple[Silence, ...] = ()

    def wants(self, notice: Notice) -> bool:
        return notice.kind in self.kinds and notice.severity in self.severities

    def is_silenced(self, notice: Notice, now_ns: int) -> bool:
        return any(silence.holds(notice, now_ns) for silence in self.silences)


def load_targets(path: Path, environment: Mapping[str, str]) -> tuple[Target, ...]:
    """Raises TargetError. Secrets come from the environment, or from files beside this one."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TargetError(f"{path}: cannot be read: {error}") from None
    try:
        _known(document, ("webhook",), "")
        entries = _list(document, "webhook", dict, "")
        targets = tuple(_target(entry, number, path, environment) for number, entry in enumerate(entries, 1))
        if len(targets) > TARGETS_MAX:
            raise TargetError(f"{len(targets)} webhooks; at most {TARGETS_MAX}")
        twice = {target.name for target in targets if [t.name for t in targets].count(target.name) > 1}
        if twice:
            raise TargetError(f"two webhooks are named {min(twice)!r}")
    except TargetError as error:
        raise TargetError(f"{path}: {error}") from None
    return targets


_TARGET_KEYS = (
    "name", "url", "secret_env", "secret_file", "format", "severities", "kinds", "group_s", "per_minute", "give_up_s", "silence",
)  # fmt: skip
_SILENCE_KEYS = ("days", "from", "to", "timezone", "severities", "codes", "vins")


def _target(entry: dict[str, Any], number: int, path: Path, environment: Mapping[str, str]) -> Target:
    where = f"webhook {entry.get('name', number)!r}: "
    _known(entry, _TARGET_KEYS, where)
    name, url = _text(entry, "name", None, where), _text(entry, "url", None, where)
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise TargetError(f"{where}name: must have 1 to {NAME_CHARACTERS_MAX} characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TargetError(f"{where}url: {url!r} is not http://... or https://...")
    default = Target("", "")
    return Target(
        name=name,
        url=url,
        secret=_secret(entry, where, path, environment),
        format=_one_of(_text(entry, "format", default.format, where), FORMATS, "format", where),
        severities=_set(entry, "severities", SEVERITIES, default.severities, where),
        kinds=_set(entry, "kinds", KINDS, default.kinds, where),
        group_s=_number(entry, "group_s", default.group_s, 0, 3600, where),
        per_minute=round(_number(entry, "per_minute", default.per_minute, 1, 600, where)),
        give_up_s=_number(entry, "give_up_s", default.give_up_s, 1, 30 * 86_400, where),
        silences=tuple(
            _silence(one, f"{where}silence {k}: ")
            for k, one in enumerate(_list(entry, "silence", dict, where), 1)
        ),
    )


def _secret(entry: dict[str, Any], where: str, path: Path, environment: Mapping[str, str]) -> bytes:
    variable, file = _text(entry, "secret_env", "", where), _text(entry, "secret_file", "", where)
    if variable and file:
        raise TargetError(f"{where}secret_env and secret_file: only one of them")
    if variable:
        if not environment.get(variable):
            raise TargetError(f"{where}secret_env: the environment has no {variable}")
        return environment[variable].encode()
    if not file:
        return b""
    try:
        secret = (path.parent / file).read_bytes().strip()
    except OSError as error:
        raise TargetError(f"{where}secret_file: {file} cannot be read: {error.strerror}") from None
    if not secret:
        raise TargetError(f"{where}secret_file: {file} is empty")
    return secret


def _silence(entry: dict[str, Any], where: str) -> Silence:
    _known(entry, _SILENCE_KEYS, where)
    zone_name = _text(entry, "timezone", "UTC", where)
    try:
        zone: tzinfo = UTC if zone_name == "UTC" else ZoneInfo(zone_name)
    except (ValueError, OSError, KeyError):  # unknown names are of all three kinds
        raise TargetError(
            f"{where}timezone: {zone_name!r} is not known; write Europe/Berlin or UTC (where no zone is known: pip install tzdata)"
        ) from None
    days = _set(entry, "days", DAYS, frozenset(DAYS), where)
    return Silence(
        days=frozenset(DAYS.index(day) for day in days),
        begins=_time(entry, "from", where),
        ends=_time(entry, "to", where),
        zone=zone,
        severities=_set(entry, "severities", SEVERITIES, frozenset(SEVERITIES), where),
        codes=tuple(_list(entry, "codes", str, where)) or ("*",),
        vins=tuple(_list(entry, "vins", str, where)) or ("*",),
    )


def _time(entry: dict[str, Any], key: str, where: str) -> time:
    text = _text(entry, key, "00:00", where)
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=timezone.utc).time()  # noqa: UP017
    except ValueError:
        raise TargetError(f"{where}{key}: {text!r} is no time of day; write 22:00") from None


def _known(entry: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}"
            raise TargetError(f"{where}unknown key {key}; {remedy}")


def _text(entry: dict[str, Any], key: str, default: str | None, where: str) -> str:
    value = entry.get(key, default)
    if value is None:
        raise TargetError(f"{where}{key} is missing")
    if not isinstance(value, str):
        raise TargetError(f"{where}{key}: {value!r} is not a text")
    return value


def _number(entry: dict[str, Any], key: str, default: float, low: float, high: float, where: str) -> float:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise TargetError(f"{where}{key}: {value!r} is not a number of {low:g} to {high:g}")
    return value


def _list(entry: dict[str, Any], key: str, kind: type, where: str) -> list[Any]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        wanted = "a list of texts" if kind is str else f"written [[{key}]]"
        raise TargetError(f"{where}{key}: {value!r} is not {wanted}")
    return value


def _one_of(value: str, known: tuple[str, ...], key: str, where: str) -> str:
    if value not in known:
        raise TargetError(f"{where}{key}: {value!r} is not one of {', '.join(known)}")
    return value


def _set(
    entry: dict[str, Any], key: str, known: tuple[str, ...], default: frozenset[str], where: str
) -> frozenset[str]:
    if key not in entry:
        return default
    values = [_one_of(value, known, key, where) for value in _list(entry, key, str, where)]
    if not values:
        raise TargetError(f"{where}{key}: is empty; leave it out for all of them")
    return frozenset(values)
