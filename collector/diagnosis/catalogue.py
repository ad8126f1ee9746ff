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

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.rules import Rule
from collector.toml_file import Table, did_you_mean, document_of, shown, text_of

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
            f"signature {signature.code}, part {part.name}, fault: no rule {part.source}{did_you_mean(part.source, known)}"
            for signature in self.signatures
            for part in signature.parts
            if part.kind == "fault" and part.source not in known
        ]

    def unknown_signals(self, signals: Iterable[str]) -> list[str]:
        """The same for the signals of conditions and anomalies."""
        known = list(signals)
        return [
            f"signature {signature.code}, part {part.name}, {part.kind}: no signal {name}{did_you_mean(name, known)}"
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
    return _catalogue(text_of(path, CatalogueError), str(path))


def _catalogue(text: str, where: str) -> Catalogue:
    document = Table(document_of(text, where, CatalogueError), where, CatalogueError)
    document.only("signature")
    signatures = tuple(_signature(one) for one in document.tables("signature", SIGNATURES_MAX, "code"))
    _once([one.code for one in signatures], "signature", document)
    return Catalogue(signatures)


def _signature(table: Table) -> Signature:
    table.only(*_SIGNATURE_KEYS)
    code, title = table.text("code"), table.text("title")
    parts: list[Part] = []
    for one in table.tables("part", PARTS_MAX, "name"):
        parts.append(_part(one, code, tuple(part.name for part in parts)))
    names = [part.name for part in parts]
    _once(names, "part", table)
    if not any(part.required for part in parts):
        raise table.wrong("", "no part is required, so it would always hold; set required = true")
    causes = tuple(_cause(one, names) for one in table.tables("cause", CAUSES_MAX, ""))
    if not causes:
        raise table.wrong("", "leads to no cause; add a [[signature.cause]]")
    within_s = table.number("within_s", 0, WITHIN_S_MAX)
    content = json.dumps(table.entry, sort_keys=True, ensure_ascii=False, default=str).encode()
    name = hashlib.sha256(content).digest()[:HASH_BYTES].hex()
    return Signature(code, title, within_s, tuple(parts), causes, table.texts("sources"), name)


def _part(table: Table, code: str, above: tuple[str, ...]) -> Part:
    table.only(*_PART_KEYS)
    name = table.text("name")
    kinds = [kind for kind in ("fault", "when", "anomaly") if kind in table.entry]
    if len(kinds) != 1:
        has = " and ".join(kinds) or "none"
        raise table.wrong("", f"needs one of fault, when, anomaly, and has {has}")
    kind = kinds[0]
    text = table.text(kind)
    after = table.text("after", "")
    if after and after not in above:
        raise table.wrong("after", f"no part {after!r} stands above it{did_you_mean(after, above)}")
    condition = None
    if kind == "when":
        for_s = table.number("for_s", 0, WITHIN_S_MAX, 0.0)
        try:
            condition = Rule(f"{CONDITION}{code}/{name}", text, "INFO", name, for_s=for_s)
        except ValueError as error:
            column = getattr(error, "column", None)
            raise table.wrong(
                f"when, column {column}" if column else "when", f"{error}\n    {text}"
            ) from None
    elif "for_s" in table.entry:
        raise table.wrong("for_s", f"only a condition (when) waits; a {kind} has waited already")
    source = {"fault": text, "when": f"{CONDITION}{code}/{name}", "anomaly": f"{ANOMALY}{text}"}[kind]
    return Part(name, source, kind, table.flag("required"), after, condition)


def _cause(table: Table, parts: list[str]) -> Cause:
    table.only(*_CAUSE_KEYS)
    base = table.number("base", 0.001, 0.999)
    evidence = table.entry.get("evidence", {})
    if not isinstance(evidence, dict):
        raise table.wrong("evidence", "must be a table of part = factor")
    factors: dict[str, tuple[float, float]] = {}
    for name, factor in evidence.items():
        if name not in parts:
            raise table.wrong("evidence", f"no part {name!r}{did_you_mean(name, parts)}")
        pair = factor if isinstance(factor, list) else [factor, None]
        seen = _factor(pair[0] if pair else None, name, table)
        not_seen = 1.0 / seen if len(pair) != 2 or pair[1] is None else _factor(pair[1], name, table)
        factors[name] = (seen, not_seen)
    return Cause(table.text("cause"), base, factors, table.text("action", ""))


def _factor(value: Any, name: str, table: Table) -> float:
    least, most = 1 / FACTOR_MAX, FACTOR_MAX
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        wanted = f"must be a number from {least:g} to {most:g}, or two, not {shown(value)}"
        raise table.wrong(f"evidence {name}", wanted)
    return float(value)


def _once(names: list[str], what: str, table: Table) -> None:
    for name in names:
        if names.count(name) > 1:
            raise table.wrong("", f"{what} {name} stands {names.count(name)} times; each name once")
