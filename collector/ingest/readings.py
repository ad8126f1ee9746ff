"""How records are read: by which rules for a vehicle, and what these and the analyses come to on a schema.

The same for all vehicles of a model and of the same tags, and so made once for all of them: a fleet has few of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from codec.schema import Schema
from collector import battery
from collector.diagnosis import watch
from collector.ingest.materialise import Readable, Room
from collector.rules import bind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.battery.roles import Battery
    from collector.detectors.detection import Detectors
    from collector.detectors.window import Measured
    from collector.ingest.analyses import Analyses
    from collector.rules import BoundRules, Rule, Rules

READINGS_MAX = 256  # of either kind; what is beyond is made again


@dataclass(frozen=True, slots=True, eq=False)
class OwnRules:
    """Rules as they read for some vehicles. `watched`: with the conditions of signatures, which raise no fault."""

    rules: Rules
    watched: Rules
    by_code: Mapping[str, Rule]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A schema under some rules."""

    schema: Schema
    readable: Readable
    bound: BoundRules
    exact: frozenset[str]  # codes of the rules whose verdicts are exact under guards that nobody knows
    battery: Battery
    sources: Mapping[str, list[int]]  # see `watch.columns`
    measured: Measured | None  # what the detectors score; None: none is in force


class Readings:
    """Of one set of rules, as the whole fleet has it."""

    def __init__(self, rules: Rules, analyses: Analyses, detectors: Detectors) -> None:
        self._rules = rules
        self._analyses = analyses
        self._detectors = detectors
        self._room = Room()
        self._own = lru_cache(READINGS_MAX)(self._read_rules)
        self._of = lru_cache(READINGS_MAX)(self._read)

    def own_rules(self, vehicle: str, model: str) -> OwnRules:
        """As they read for one vehicle."""
        return self._own(model, self._rules.tags_of(vehicle))

    def of(self, own: OwnRules, content: bytes) -> Reading:
        """`content`: of a schema. Raises SchemaError."""
        return self._of(own, bytes(content))

    def _read_rules(self, model: str, tags: frozenset[str]) -> OwnRules:
        rules = self._rules.read_for(model, tags)
        return OwnRules(rules, watch.with_conditions(rules, self._analyses.catalogue), rules.by_code())

    def _read(self, own: OwnRules, content: bytes) -> Reading:
        schema = Schema.from_bytes(content)
        bound = bind(own.watched, schema)
        return Reading(
            schema,
            Readable(schema, self._room),
            bound,
            bound.exact_under(None),
            battery.bind(self._analyses.roles, schema),
            watch.columns(own.watched, self._analyses.catalogue, schema),
            self._detectors.measured(schema) if self._detectors.names else None,
        )
