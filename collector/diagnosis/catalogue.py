"""The catalogue of signatures: TOML in, frozen signatures out. What it can say is in docs/diagnosis.md.

[[signature]]
code = "COOLANT_FLOW"                # names the diagnosis; stands once in a file
title = "The coolant does not carry the battery's heat away"
within_s = 600                       # how far apart its required parts may be seen
sources = ["where this is known from"]

[[signature.part]]
name = "battery-hot"
fault = "BATTERY_OVERTEMP"           # a rule's fault; or when = "a condition", for_s = 30; or anomaly = "a signal"
required = true                      # without it there is no diagnosis
after = "another part"               # begins no earlier than that one, which stands above

[[signature.cause]]
cause = "The pump stands still"
base = 0.4                           # how probable where nothing but the required parts is seen
evidence = {inlet-cold = 4}          # seen: 4 times the odds, not seen: a quarter; or [4, 0.8] for seen, not seen
action = "Listen for the pump."
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_CATALOGUE = Path(__file__).with_name("catalogue.toml")
SIGNATURES_MAX, PARTS_MAX, CAUSES_MAX = 200, 20, 20
WITHIN_S_MAX = 7 * 86400.0
FACTOR_MAX = 100.0  # no single observation says more
HASH_BYTES = 8
ANOMALY = "anomaly:"  # how the sources of anomalies begin; the signal follows
CONDITION = "signature:"  # how the codes of conditions begin; no fault has such a code
_SIGNATURE_KEYS = ("code", "title", "within_s", "sources", "part", "cause")
_PART_KEYS = ("name", "fault", "when", "anomaly", "for_s", "required", "after")
_CAUSE_KEYS = ("cause", "base", "evidence", "action")


class CatalogueError(ValueError):
    """A catalogue that cannot be used; the message names file, entry and key."""


@dataclass(frozen=True, slots=True)
class Part:
    """What may be seen. `source` is the code of the rule whose episodes are its sightings, or "anomaly:" and a signal."""

    name: str
    source: str
    kind: str  # fault, when, anomaly
    required: bool = False
    after: str = ""
    condition: Rule | None = None  # of kind "when"

    @property
    def signals(self) -> tuple[str, ...]:
        """That the catalogue itself names."""
        if self.condition is not None:
            return self.condition.signals
        return (self.source.removeprefix(ANOMALY),) if self.kind == "anomaly" else ()


@dataclass(frozen=True, slots=True)
class Cause:
    """`factors`: by part, what the odds are multiplied with where it is seen, and where it is not."""

    cause: str
    base: float
    factors: Mapping[str, tuple[float, float]]
    action: str = ""

    def confidence(self, seen: Iterable[str], not_seen: Iterable[str]) -> float:
        """0 to 1. What cannot be told changes nothing."""
        odds = self.base / (1.0 - self.base)
        for parts, which in ((seen, 0), (not_seen, 1)):
            for name in parts:
                odds *= self.factors.get(name, (1.0, 1.0))[which]
        return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class Signature:
    code: str
    title: str
    within_s: float
    parts: tuple[Part, ...]
    causes: tuple[Cause, ...]
    sources: tuple[str, ...] = ()
    hash: str = field(default="", compare=False)

    @property
    def required(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.required)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The signatures of one file, in its order."""

    signatures: tuple[Signature, ...] = ()
    using: Mapping[str, tuple[Signature, ...]] = field(init=False, compare=False)  # by source

    def __post_init__(self) -> None:
        using: dict[str, list[Signature]] = {}
        for signature in self.signatures:
            for source in dict.fromkeys(part.source for part in signature.parts):
                using.setdefault(source, []).append(signature)
        object.__setattr__(self, "using", {source: tuple(found) for source, found in using.items()})

    @property
    def conditions(self) -> tuple[Rule, ...]:
        """To be evaluated with the rules, though they raise no fault."""
        return tuple(
            part.condition for signature in self.signatures for part in signature.parts if part.condition
        )

    def signature(self, code: str) -> Signature | None:
        return next((one for one in self.signatures if one.code == code), None)

    def unknown_codes(self, codes: Iterable[str]) -> list[str]:
        """Faults that no rule raises, each with the nearest one that some rule does."""
        known = list(codes)
        return [
            f"signature {signature.code}, part {part.name}, fault: no rule {part.source}{_nearest(part.source, known)}"
            for signature in self.signatures
            for part in signature.parts
            if part.kind == "fault" and part.source not in known
        ]

    def unknown_signals(self, signals: Iterable[str]) -> list[str]:
        """The same for the signals of conditions and anomalies."""
        known = list(signals)
        return [
            f"signature {signature.code}, part {part.name}, {part.kind}: no signal {name}{_nearest(name, known)}"
            for signature in self.signatures
            for part in signature.parts
            for name in part.signals
            if name not in known
        ]


def is_condition(code: str) -> bool:
    """Whether a rule's code is that of a signature's condition."""
    return code.startswith(CONDITION)


def load_catalogue(source: Path | str = DEFAULT_CATALOGUE) -> Catalogue:
    """Of a file (a Path, or a string without a line break) or of a text. Raises CatalogueError."""
    if isinstance(source, str) and ("\n" in source or not source.strip()):
        return _catalogue(source, "catalogue")
    path = Path(source)
    try:
        return _catalogue(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise CatalogueError(f"{path}: cannot be read ({error.strerror}); name another file") from None
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{path}: not UTF-8 at byte {error.start}") from None


def _catalogue(text: str, where: str) -> Catalogue:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogueError(f"{where}: not TOML: {error}") from None
    _only(document, ("signature",), where)
    entries = _tables(document, "signature", SIGNATURES_MAX, where)
    signatures = tuple(
        _signature(entry, f"{where}: signature {entry.get('code', number + 1)}")
        for number, entry in enumerate(entries)
    )
    _once([one.code for one in signatures], "signature", where)
    return Catalogue(signatures)


def _signature(entry: dict[str, Any], where: str) -> Signature:
    _only(entry, _SIGNATURE_KEYS, where)
    code, title = _text(entry, "code", where), _text(entry, "title", where)
    sources = entry.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(one, str) for one in sources):
        raise CatalogueError(f"{where}, sources: must be a list of texts in quotes")
    parts: list[Part] = []
    for number, table in enumerate(_tables(entry, "part", PARTS_MAX, where)):
        place = f"{where}, part {table.get('name', number + 1)}"
        parts.append(_part(table, code, tuple(part.name for part in parts), place))
    names = [part.name for part in parts]
    _once(names, "part", where)
    if not any(part.required for part in parts):
        raise CatalogueError(f"{where}: no part is required, so it would always hold; set required = true")
    causes = tuple(
        _cause(table, names, f"{where}, cause {number + 1}")
        for number, table in enumerate(_tables(entry, "cause", CAUSES_MAX, where))
    )
    if not causes:
        raise CatalogueError(f"{where}: leads to no cause; add a [[signature.cause]]")
    within_s = _number(entry, "within_s", 0, WITHIN_S_MAX, where)
    content = json.dumps(entry, sort_keys=True, ensure_ascii=False, default=str).encode()
    name = hashlib.sha256(content).digest()[:HASH_BYTES].hex()
    return Signature(code, title, within_s, tuple(parts), causes, tuple(sources), name)


def _part(entry: dict[str, Any], code: str, above: tuple[str, ...], where: str) -> Part:
    _only(entry, _PART_KEYS, where)
    name = _text(entry, "name", where)
    kinds = [kind for kind in ("fault", "when", "anomaly") if kind in entry]
    if len(kinds) != 1:
        raise CatalogueError(
            f"{where}: needs one of fault, when, anomaly, and has {' and '.join(kinds) or 'none'}"
        )
    kind = kinds[0]
    text = _text(entry, kind, where)
    required = entry.get("required", False)
    if not isinstance(required, bool):
        raise CatalogueError(f"{where}, required: must be true or false, not {required!r}")
    after = entry.get("after", "")
    if after and after not in above:
        raise CatalogueError(
            f"{where}, after: no part {after!r} stands above it{_nearest(str(after), above)}"
        )
    condition = None
    if kind == "when":
        for_s = _number({"for_s": 0, **entry}, "for_s", 0, WITHIN_S_MAX, where)
        try:
            condition = Rule(f"{CONDITION}{code}/{name}", text, "INFO", name, for_s=for_s)
        except ValueError as error:
            column = getattr(error, "column", None)
            at = f", column {column}" if column else ""
            raise CatalogueError(f"{where}, when{at}: {error}\n    {text}") from None
    elif "for_s" in entry:
        raise CatalogueError(f"{where}, for_s: only a condition (when) waits; a {kind} has waited already")
    source = {"fault": text, "when": f"{CONDITION}{code}/{name}", "anomaly": f"{ANOMALY}{text}"}[kind]
    return Part(name, source, kind, required, after, condition)


def _cause(entry: dict[str, Any], parts: list[str], where: str) -> Cause:
    _only(entry, _CAUSE_KEYS, where)
    base = _number(entry, "base", 0.001, 0.999, where)
    evidence = entry.get("evidence", {})
    if not isinstance(evidence, dict):
        raise CatalogueError(f"{where}, evidence: must be a table of part = factor")
    factors: dict[str, tuple[float, float]] = {}
    for name, factor in evidence.items():
        if name not in parts:
            raise CatalogueError(f"{where}, evidence: no part {name!r}{_nearest(name, parts)}")
        pair = factor if isinstance(factor, list) else [factor, None]
        seen = _factor(pair[0] if pair else None, name, where)
        not_seen = 1.0 / seen if len(pair) != 2 or pair[1] is None else _factor(pair[1], name, where)
        factors[name] = (seen, not_seen)
    action = entry.get("action", "")
    if not isinstance(action, str):
        raise CatalogueError(f"{where}, action: must be a text in quotes, not {action!r}")
    return Cause(_text(entry, "cause", where), base, factors, action)


def _factor(value: Any, name: str, where: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 1 / FACTOR_MAX <= value <= FACTOR_MAX
    ):
        raise CatalogueError(
            f"{where}, evidence {name}: must be a number from {1 / FACTOR_MAX:g} to {FACTOR_MAX:g}, or two, "
            f"not {value!r}"
        )
    return float(value)


def _tables(entry: dict[str, Any], key: str, most: int, where: str) -> list[dict[str, Any]]:
    found = entry.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CatalogueError(f"{where}: write each {key} as a table, with two brackets")
    if len(found) > most:
        raise CatalogueError(f"{where}: {len(found)} of {key}; at most {most}")
    return found


def _only(entry: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            hint = _nearest(key, known) or f"; known are {', '.join(known)}"
            raise CatalogueError(f"{where}: unknown key {key!r}{hint}")


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise CatalogueError(f"{where}, {key}: must be a text in quotes, not {value!r}")
    if not value.strip():
        raise CatalogueError(f"{where}: {key} is missing")
    return value


def _number(entry: Mapping[str, Any], key: str, least: float, most: float, where: str) -> float:
    value = entry.get(key)
    if value is None:
        raise CatalogueError(f"{where}: {key} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise CatalogueError(f"{where}, {key}: must be a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def _once(names: list[str], what: str, where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CatalogueError(f"{where}: {what} {name} stands {names.count(name)} times; each name once")


def _nearest(name: str, known: Iterable[str] | None) -> str:
    near = difflib.get_close_matches(name, list(known or ()), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
