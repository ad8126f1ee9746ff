"""The rules file: TOML in, frozen rules out. What it can say is in docs/rules.md.

[tags]
taxi = ["5YJ3E1EA*"]                 # VINs, or how they begin; for overrides

[[rule]]
code = "BATTERY_OVERTEMP"            # names the fault; stands once in a file
when = "BatteryTempMax > 45"         # see parser.py
clear = "BatteryTempMax < 43"        # optional hysteresis; without it, a fault ends when `when` no longer holds
for_s = 0                            # how long `when` must hold before it counts
severity = "CRITICAL"                # INFO, WARNING or CRITICAL
description = "Battery hotter than 45 degC"
action = "Stop charging or driving."

[[rule.override]]                    # of the rule above; where several match, later ones win
model = "Roadster*"                  # of the vehicle; and
tag = "taxi"                         # a tag that it has
for_s = 60                           # any key of a rule but code; or enabled = false
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.errors import SchemaError
from codec.guards import Guard, GuardSet
from collector.rules.expression import Expression, comparisons, signals
from collector.rules.parser import ExpressionError, parse
from collector.rules.places import Places
from collector.toml_file import did_you_mean, document_of, nearest, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SEVERITIES = ("INFO", "WARNING", "CRITICAL")
RULES_MAX = 1000
OVERRIDES_MAX = 50  # of one rule
TAGS_MAX, PATTERNS_MAX = 1000, 100_000
ERRORS_MAX = 20  # told at once
FOR_S_MAX = 7 * 86400.0
HASH_BYTES = 8
DEFAULT_FILE = Path(__file__).with_name("demo.toml")

_KEYS = ("code", "when", "clear", "for_s", "severity", "description", "action")
_RULE_KEYS = (*_KEYS, "enabled", "override")
_CHANGES = (*_KEYS[1:], "enabled")
_OVERRIDE_KEYS = ("model", "tag", *_CHANGES)
_REQUIRED = ("code", "when", "severity", "description")


class RuleError(ValueError):
    """A rules file that cannot be used; the message names file, line, rule and key of each mistake."""


@dataclass(frozen=True, slots=True)
class Override:
    """What reads differently in a rule for some vehicles. `model`: a pattern; empty: any. `tag`: empty: any."""

    model: str = ""
    tag: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition to watch. `clear` is empty where the fault ends as soon as `when` no longer holds."""

    code: str
    when: str
    severity: str
    description: str
    clear: str = ""
    for_s: float = 0.0
    action: str = ""
    enabled: bool = True
    overrides: tuple[Override, ...] = ()
    condition: Expression = field(init=False, compare=False, repr=False)
    clearance: Expression | None = field(init=False, compare=False, repr=False)
    hash: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        document = {key: getattr(self, key) for key in _KEYS}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        object.__setattr__(self, "condition", _parsed(self.when))
        object.__setattr__(self, "clearance", _parsed(self.clear) if self.clear else None)
        object.__setattr__(self, "hash", hashlib.sha256(text.encode()).digest()[:HASH_BYTES].hex())

    @property
    def conditions(self) -> tuple[Expression, ...]:
        return (self.condition,) if self.clearance is None else (self.condition, self.clearance)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """A guard of every comparison. Only those of `when` have to last before a vehicle sends at once."""
        opening = [Guard(c.signal, c.operator, c.limit, self.for_s) for c in comparisons(self.condition)]
        closing = comparisons(self.clearance) if self.clearance else ()
        return (*opening, *(Guard(c.signal, c.operator, c.limit) for c in closing))

    @property
    def signals(self) -> tuple[str, ...]:
        """Every signal that it names, once, the first of `when` first."""
        return tuple(dict.fromkeys(name for condition in self.conditions for name in signals(condition)))

    def variants(self) -> tuple[Rule, ...]:
        """The rule as any vehicle may have it: limits and waits in every pairing."""
        changes = [one.changes for one in self.overrides]
        pairs = {(self.when, self.clear): None} | {
            (change.get("when", self.when), change.get("clear", self.clear)): None for change in changes
        }
        waits = dict.fromkeys([self.for_s, *(change.get("for_s", self.for_s) for change in changes)])
        return tuple(
            replace(self, when=when, clear=clear, for_s=for_s, overrides=())
            for when, clear in pairs
            for for_s in waits
        )

    def overridden(self, model: str, tags: frozenset[str]) -> Rule:
        """The rule as a vehicle of this model with these tags has it."""
        changes: dict[str, Any] = {}
        for one in self.overrides:
            if (not one.model or fnmatchcase(model, one.model)) and (not one.tag or one.tag in tags):
                changes |= one.changes
        return replace(self, overrides=(), **changes)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one file, in its order. `tags`: VIN patterns of the vehicles that have each."""

    rules: tuple[Rule, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def guards(self) -> GuardSet:
        """What every vehicle has to watch so that verdicts do not depend on compression.

        One set for a fleet, with the limits of all overrides: a vehicle whose model or tags change needs no other.
        """
        return GuardSet(
            tuple(guard for rule in self.rules for one in rule.variants() for guard in one.guards)
        )

    def for_vehicle(self, vehicle: str, model: str) -> Rules:
        """As they read for one vehicle, without those that are not enabled there."""
        return self.read_for(model, self.tags_of(vehicle))

    def tags_of(self, vehicle: str) -> frozenset[str]:
        return frozenset(
            tag for tag, patterns in self.tags.items() if any(fnmatchcase(vehicle, one) for one in patterns)
        )

    def read_for(self, model: str, tags: frozenset[str]) -> Rules:
        """As they read for vehicles of this model and these tags."""
        own = (rule.overridden(model, tags) if rule.overrides else rule for rule in self.rules)
        return Rules(tuple(rule for rule in own if rule.enabled))

    def by_code(self) -> dict[str, Rule]:
        return {rule.code: rule for rule in self.rules}


@functools.lru_cache(4096)
def _parsed(text: str) -> Expression:
    """Vehicles differ in few rules, and each of theirs is the same text."""
    return parse(text)


def load_rules(source: Path | str = DEFAULT_FILE) -> Rules:
    """Rules of a file (a Path, or a string without a line break) or of a text. Raises RuleError."""
    if isinstance(source, str) and ("\n" in source or not source.strip()):
        return _rules(source, "rules")
    path = Path(source)
    return _rules(text_of(path, RuleError), str(path))


def _rules(text: str, where: str) -> Rules:
    document = document_of(text, where, RuleError)
    for key in document:
        if key not in {"rule", "tags"}:
            raise RuleError(f"{where}: unknown key {key!r}; a rules file has [[rule]] tables, and [tags]")
    entries = document.get("rule", [])
    if not _are_tables(entries):
        raise RuleError(f"{where}: write each rule as a [[rule]] table, with two brackets")
    if len(entries) > RULES_MAX:
        raise RuleError(f"{where}: {len(entries)} rules; at most {RULES_MAX}")
    tags = _tags(document.get("tags", {}), where)
    reading = _Reading(where, Places(text), frozenset(tags))
    rules = [
        rule for number, entry in enumerate(entries) if (rule := reading.rule(number, entry)) is not None
    ]
    reading.check_codes(entries)
    if reading.errors:
        rest = len(reading.errors) - ERRORS_MAX
        told = reading.errors[:ERRORS_MAX] + ([f"{where}: and {rest} more mistakes"] if rest > 0 else [])
        raise RuleError("\n".join(told))
    try:
        Rules(tuple(rules)).guards()
    except SchemaError as error:
        raise RuleError(f"{where}: too many comparisons: {error}") from None
    return Rules(tuple(rules), tags)


def _are_tables(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)


def _tags(entries: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(entries, dict):
        raise RuleError(f"{where}: tags: write a table, [tags], with a list of VINs for each")
    for tag, patterns in entries.items():
        if not isinstance(patterns, list) or not all(isinstance(one, str) and one for one in patterns):
            raise RuleError(f'{where}: tags, {tag}: must be a list of VINs, or how they begin: ["5YJ3E1EA*"]')
    if len(entries) > TAGS_MAX or sum(map(len, entries.values())) > PATTERNS_MAX:
        raise RuleError(f"{where}: tags: at most {TAGS_MAX}, with {PATTERNS_MAX} VINs in all")
    return {tag: tuple(patterns) for tag, patterns in entries.items()}


class _Reading:
    """Rules on their way out of a file that parsed as TOML; mistakes are collected."""

    def __init__(self, where: str, places: Places, tags: frozenset[str]) -> None:
        self.errors: list[str] = []
        self._where = where
        self._places = places
        self._tags = tags

    def rule(self, number: int, entry: dict[str, Any]) -> Rule | None:
        """None where there is a mistake in it."""
        before = len(self.errors)
        place = (number, None)
        named = f"rule {entry.get('code', number + 1)}"
        self._keys(entry, _RULE_KEYS, place, named)
        for key in _REQUIRED:
            if key not in entry or entry[key] == "":
                self._say(place, "", f"{named}: {key} is missing")
        changes = self._values(entry, place, named)
        listed = entry.get("override", [])
        if not _are_tables(listed) or len(listed) > OVERRIDES_MAX:
            self._say(place, "override", f"{named}: write at most {OVERRIDES_MAX} [[rule.override]] tables")
            return None
        overrides = tuple(
            self._override(one, (number, at), f"{named}, override {at + 1}") for at, one in enumerate(listed)
        )
        return None if len(self.errors) > before else Rule(**changes, overrides=overrides)

    def check_codes(self, entries: list[dict[str, Any]]) -> None:
        codes = [str(entry.get("code")) for entry in entries if "code" in entry]
        for code in dict.fromkeys(codes):
            if codes.count(code) > 1:
                self.errors.append(
                    f"{self._where}: rule {code} stands {codes.count(code)} times; each code names one rule"
                )

    def _override(self, entry: dict[str, Any], place: tuple[int, int], named: str) -> Override:
        self._keys(entry, _OVERRIDE_KEYS, place, named)
        for key in ("model", "tag"):
            if not isinstance(entry.get(key, ""), str):
                self._say(place, key, f"{named}, {key}: must be a text in quotes, not {entry[key]!r}")
                return Override()
        if not entry.get("model") and not entry.get("tag"):
            self._say(place, "", f"{named}: says neither model nor tag; change the rule itself")
        tag = entry.get("tag", "")
        if tag and tag not in self._tags:
            hint = did_you_mean(tag, self._tags) or "; list its VINs under [tags]"
            self._say(place, "tag", f"{named}, tag: no vehicle has {tag!r}{hint}")
        return Override(entry.get("model", ""), tag, self._values(entry, place, named))

    def _keys(
        self, entry: dict[str, Any], known: tuple[str, ...], place: tuple[int, int | None], named: str
    ) -> None:
        for key in entry:
            if key not in known:
                self._say(place, key, f"{named}: unknown key {key!r}{nearest(key, known)}")

    def _values(self, entry: dict[str, Any], place: tuple[int, int | None], named: str) -> dict[str, Any]:
        """What the entry says of a rule."""
        found: dict[str, Any] = {key: entry[key] for key in (*_KEYS, "enabled") if key in entry}
        for key, value in found.items():
            says = _complaint(key, value)
            if says:
                self._say(place, key, f"{named}, {key}: {says}")
            elif key in {"when", "clear"} and value:
                self._parse(value, key, place, named)
            elif key == "for_s":
                found[key] = float(value)
        return found

    def _parse(self, text: str, key: str, place: tuple[int, int | None], named: str) -> None:
        try:
            parse(text)
        except ExpressionError as error:
            one_line = text.replace("\n", " ").replace("\t", " ")
            column = self._places.column(*place, key, text)
            at = "" if column else f", column {error.column}"
            self._say(place, key, f"{named}, {key}{at}: {error}", column and column + error.column - 1)
            self.errors[-1] += f"\n    {one_line}\n    {'^':>{error.column}}"

    def _say(self, place: tuple[int, int | None], key: str, message: str, column: int | None = None) -> None:
        line = self._places.line(*place, key)
        position = "" if line is None else f":{line}" if column is None else f":{line}:{column}"
        self.errors.append(f"{self._where}{position}: {message}")


def _complaint(key: str, value: object) -> str:
    """What is wrong with a value, apart from what parses; empty: nothing."""
    match key:
        case "for_s":
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FOR_S_MAX:
                return f"must be a number of seconds from 0 to {FOR_S_MAX:g}, not {shown(value)}"
        case "enabled":
            if not isinstance(value, bool):
                return f"must be true or false, not {shown(value)}"
        case "severity":
            if value not in SEVERITIES:
                return f"{value!r} is none of {', '.join(SEVERITIES)}"
        case _:
            if not isinstance(value, str):
                return f"must be a text in quotes, not {shown(value)}"
            if key == "when" and not value.strip():
                return "is empty"
    return ""
