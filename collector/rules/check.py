"""What is to be said of rules before they are in force: names, limits, and how far the guarantee goes. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.rules.expression import Comparison, Relation, leaves, signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collector.rules.expression import Leaf
    from collector.rules.rulefile import Rule, Rules


@dataclass(frozen=True, slots=True)
class Known:
    """A signal that some vehicle has. Minimum and maximum are what its DBC says it can be."""

    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Of one rule. `reckons_with`: signals for whose reconstructed values no guard answers; none: its verdicts are exact."""

    code: str
    severity: str
    signals: tuple[tuple[str, str], ...]  # name and unit
    reckons_with: tuple[str, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check(rules: Rules, known: Mapping[str, Known] | None) -> list[Report]:
    """`known`: by name, the signals that vehicles have; None: nobody said."""
    return [_report(rule, known) for rule in rules.rules]


def _report(rule: Rule, known: Mapping[str, Known] | None) -> Report:
    variants = rule.variants()
    stated = list(dict.fromkeys(leaf for one in variants for part in one.conditions for leaf in leaves(part)))
    names = tuple(dict.fromkeys(name for one in variants for name in one.signals))
    reckoned = (name for leaf in stated if isinstance(leaf, Relation) for name in signals(leaf))
    units = known or {}
    return Report(
        rule.code,
        rule.severity,
        tuple((name, units[name].unit if name in units else "") for name in names),
        tuple(dict.fromkeys(reckoned)),
        () if known is None else tuple(_unknown(names, known)),
        tuple(dict.fromkeys(_warnings(stated, units))),
    )


def _unknown(names: tuple[str, ...], known: Mapping[str, Known]) -> Iterator[str]:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or [
                one for one in known if one.rpartition(".")[2].lower() == name.lower()
            ]
            yield f"no signal {name}" + (f"; did you mean {near[0]}?" if near else "")


def _warnings(stated: list[Leaf], known: Mapping[str, Known]) -> Iterator[str]:
    """Comparisons that can never hold, or always do, by what the DBC says a signal can be."""
    for leaf in stated:
        one = known.get(leaf.signal) if isinstance(leaf, Comparison) else None
        if one is None or one.minimum is None or one.maximum is None or one.minimum >= one.maximum:
            continue
        assert isinstance(leaf, Comparison)
        if not one.minimum <= leaf.limit <= one.maximum:
            what = f"{leaf.signal} {leaf.operator} {leaf.limit:g}"
            reach = f"{one.minimum:g} to {one.maximum:g} {one.unit}".rstrip()
            yield f"{what}: the DBC says that {leaf.signal} is {reach}"
