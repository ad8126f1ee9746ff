"""The rules file: TOML in, frozen rules out.

[[rule]]
code = "BATTERY_OVERTEMP"            # names the fault; stands once in a file
when = "BatteryTempMax > 45"         # see expression.py
clear = "BatteryTempMax < 43"        # optional hysteresis; without it, a fault ends when `when` no longer holds
for_s = 0                            # how long `when` must hold before it counts
severity = "CRITICAL"                # INFO, WARNING or CRITICAL
description = "Battery hotter than 45 degC"
action = "Stop charging or driving."
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codec.errors import SchemaError
from codec.guards import Guard, GuardSet
from collector.rules.expression import Expression, ExpressionError, comparisons, parse

SEVERITIES = ("INFO", "WARNING", "CRITICAL")
RULES_MAX = 1000
FOR_S_MAX = 7 * 86400.0
HASH_BYTES = 8
DEFAULT_FILE = Path(__file__).with_name("default.toml")

_KEYS = ("code", "when", "clear", "for_s", "severity", "description", "action")
_REQUIRED = ("code", "when", "severity", "description")


class RuleError(ValueError):
    """A rules file that cannot be used; the message names file, rule, key and column."""


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
    condition: Expression = field(init=False, compare=False, repr=False)
    clearance: Expression | None = field(init=False, compare=False, repr=False)
    hash: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        document = {key: getattr(self, key) for key in _KEYS}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        object.__setattr__(self, "condition", parse(self.when))
        object.__setattr__(self, "clearance", parse(self.clear) if self.clear else None)
        object.__setattr__(self, "hash", hashlib.sha256(text.encode()).digest()[:HASH_BYTES].hex())

    @property
    def guards(self) -> tuple[Guard, ...]:
        """A guard of every comparison. Only those of `when` have to last before a vehicle sends at once."""
        opening = [Guard(c.signal, c.operator, c.limit, self.for_s) for c in comparisons(self.condition)]
        closing = comparisons(self.clearance) if self.clearance else ()
        return (*opening, *(Guard(c.signal, c.operator, c.limit) for c in closing))

    @property
    def signals(self) -> tuple[str, ...]:
        """Every signal that it names, once, the first of `when` first."""
        named = [c.signal for c in comparisons(self.condition)]
        named += [c.signal for c in comparisons(self.clearance)] if self.clearance else []
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one file, in its order."""

    rules: tuple[Rule, ...] = ()

    def guards(self) -> GuardSet:
        """What every vehicle has to watch so that verdicts do not depend on compression."""
        return GuardSet(tuple(guard for rule in self.rules for guard in rule.guards))

    def by_code(self) -> dict[str, Rule]:
        return {rule.code: rule for rule in self.rules}


def load_rules(source: Path | str = DEFAULT_FILE) -> Rules:
    """Rules of a file (a Path, or a string without a line break) or of a text. Raises RuleError."""
    if isinstance(source, str) and ("\n" in source or not source.strip()):
        return _rules(source, "rules")
    path = Path(source)
    try:
        return _rules(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise RuleError(f"{path}: cannot be read ({error.strerror}); name another with --rules") from None
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: not UTF-8 at byte {error.start}") from None


def _rules(text: str, where: str) -> Rules:
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # numbers of thousands of digits are no TOMLDecodeError
        raise RuleError(f"{where}: not TOML: {error}") from None
    except RecursionError:
        raise RuleError(f"{where}: not TOML: brackets within brackets without end") from None
    for key in document:
        if key != "rule":
            raise RuleError(f"{where}: unknown key {key!r}; a rules file has [[rule]] tables only")
    entries = document.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RuleError(f"{where}: write each rule as a [[rule]] table, with two brackets")
    if len(entries) > RULES_MAX:
        raise RuleError(f"{where}: {len(entries)} rules; at most {RULES_MAX}")
    rules = tuple(
        _rule(entry, f"{where}: rule {entry.get('code', number + 1)}") for number, entry in enumerate(entries)
    )
    codes = [rule.code for rule in rules]
    for code in codes:
        if codes.count(code) > 1:
            raise RuleError(
                f"{where}: rule {code} stands {codes.count(code)} times; each code names one rule"
            )
    try:
        Rules(rules).guards()
    except SchemaError as error:
        raise RuleError(f"{where}: too many comparisons: {error}") from None
    return Rules(rules)


def _rule(entry: dict[str, Any], where: str) -> Rule:
    for key in entry:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            raise RuleError(
                f"{where}: unknown key {key!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(_KEYS)}")
            )
    for key in _REQUIRED:
        if not entry.get(key):
            raise RuleError(f"{where}: {key} is missing")
    for key in set(_KEYS) - {"for_s"}:
        if not isinstance(entry.get(key, ""), str):
            raise RuleError(f"{where}, {key}: must be a text in quotes, not {entry[key]!r}")
    for_s = entry.get("for_s", 0)
    if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 <= for_s <= FOR_S_MAX:
        raise RuleError(f"{where}, for_s: must be a number of seconds from 0 to {FOR_S_MAX:g}, not {for_s!r}")
    if entry["severity"] not in SEVERITIES:
        raise RuleError(f"{where}, severity: {entry['severity']!r} is none of {', '.join(SEVERITIES)}")
    for key in ("when", "clear"):
        _check(entry.get(key, ""), key, where)
    return Rule(**{**entry, "for_s": float(for_s)})


def _check(text: str, key: str, where: str) -> None:
    if key == "clear" and not text:
        return
    try:
        parse(text)
    except ExpressionError as error:
        one_line = text.replace("\n", " ").replace("\t", " ")
        raise RuleError(
            f"{where}, {key}, column {error.column}: {error}\n    {one_line}\n    {'^':>{error.column}}"
        ) from None
