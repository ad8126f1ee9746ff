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

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from collector.config import ConfigError
from collector.toml_file import Table, document_of, text_of
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
SILENCES_MAX = 100  # each is asked about every notice
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
    text = text_of(path, TargetError)
    document = Table(document_of(text, str(path), TargetError), str(path), TargetError)
    document.only("webhook")
    entries = document.tables("webhook", TARGETS_MAX, "name")
    targets = tuple(_target(entry, path, environment) for entry in entries)
    twice = {target.name for target in targets if [t.name for t in targets].count(target.name) > 1}
    if twice:
        raise document.wrong("", f"two webhooks are named {min(twice)!r}")
    return targets


_TARGET_KEYS = (
    "name", "url", "secret_env", "secret_file", "format", "severities", "kinds", "group_s", "per_minute", "give_up_s", "silence",
)  # fmt: skip
_SILENCE_KEYS = ("days", "from", "to", "timezone", "severities", "codes", "vins")


def _target(table: Table, path: Path, environment: Mapping[str, str]) -> Target:
    table.only(*_TARGET_KEYS)
    name, url = table.text("name"), table.text("url")
    if len(name) > NAME_CHARACTERS_MAX:
        raise table.wrong("name", f"at most {NAME_CHARACTERS_MAX} characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise table.wrong("url", f"{url!r} is not http://... or https://...")
    default = Target("", "")
    return Target(
        name=name,
        url=url,
        secret=_secret(table, path, environment),
        format=table.one_of("format", FORMATS, default.format),
        severities=table.some_of("severities", SEVERITIES, default.severities),
        kinds=table.some_of("kinds", KINDS, default.kinds),
        group_s=table.number("group_s", 0, 3600, default.group_s),
        per_minute=round(table.number("per_minute", 1, 600, default.per_minute)),
        give_up_s=table.number("give_up_s", 1, 30 * 86_400, default.give_up_s),
        silences=tuple(_silence(one) for one in table.tables("silence", SILENCES_MAX, "")),
    )


def _secret(table: Table, path: Path, environment: Mapping[str, str]) -> bytes:
    variable, file = table.text("secret_env", ""), table.text("secret_file", "")
    if variable and file:
        raise table.wrong("", "secret_env and secret_file: only one of them")
    if variable:
        if not environment.get(variable):
            raise table.wrong("secret_env", f"the environment has no {variable}")
        return environment[variable].encode()
    if not file:
        return b""
    try:
        secret = (path.parent / file).read_bytes().strip()
    except OSError as error:
        raise table.wrong("secret_file", f"{file} cannot be read: {error.strerror}") from None
    if not secret:
        raise table.wrong("secret_file", f"{file} is empty")
    return secret


def _silence(table: Table) -> Silence:
    table.only(*_SILENCE_KEYS)
    zone_name = table.text("timezone", "UTC")
    try:
        zone: tzinfo = UTC if zone_name == "UTC" else ZoneInfo(zone_name)
    except (ValueError, OSError, KeyError):  # unknown names are of all three kinds
        remedy = "write Europe/Berlin or UTC (where no zone is known: pip install tzdata)"
        raise table.wrong("timezone", f"{zone_name!r} is not known; {remedy}") from None
    return Silence(
        days=frozenset(DAYS.index(day) for day in table.some_of("days", DAYS, frozenset(DAYS))),
        begins=_time(table, "from"),
        ends=_time(table, "to"),
        zone=zone,
        severities=table.some_of("severities", SEVERITIES, frozenset(SEVERITIES)),
        codes=table.texts("codes") or ("*",),
        vins=table.texts("vins") or ("*",),
    )


def _time(table: Table, key: str) -> time:
    text = table.text(key, "00:00")
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=timezone.utc).time()  # noqa: UP017
    except ValueError:
        raise table.wrong(key, f"{text!r} is no time of day; write 22:00") from None
