"""From what the rules say of a block to what diagnosis hears of it.

Conditions of signatures are evaluated with the rules, as rules of their own whose episodes raise no fault: so a gap, a value that
is not available and a restart mean the same to both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from codec.records import Availability
from collector.diagnosis.catalogue import ANOMALY
from collector.diagnosis.diagnose import Cleared, DiagnosisState, Event, Seen, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from codec.records import Records
    from codec.schema import Schema
    from collector.detectors.episodes import Episode
    from collector.diagnosis.catalogue import Catalogue
    from collector.rules import FaultSpan, Rules, RuleState


def with_conditions(rules: Rules, catalogue: Catalogue) -> Rules:
    """What is evaluated: the rules, and the conditions of the signatures."""
    return replace(rules, rules=(*rules.rules, *catalogue.conditions))


def columns(rules: Rules, catalogue: Catalogue, schema: Schema) -> dict[str, list[int]]:
    """By source, the columns that it needs; sources that this schema cannot tell are left out. `rules`: with conditions."""
    places = {name: column for column, name in enumerate(schema.names)}
    needed = {
        rule.code: [places[name] for name in rule.signals]
        for rule in rules.rules
        if rule.code in catalogue.using and all(name in places for name in rule.signals)
    }
    watched = {
        source: source.removeprefix(ANOMALY) for source in catalogue.using if source.startswith(ANOMALY)
    }
    return needed | {source: [places[name]] for source, name in watched.items() if name in places}


def told(needed: Mapping[str, list[int]], records: Records) -> Callable[[int], frozenset[str]]:
    """Which sources could be told at a tick of these records: every signal of theirs was available."""

    def at(tick: int) -> frozenset[str]:
        index = min(max(tick - records.first_tick, 0), len(records) - 1)
        known = (records.states[index] == Availability.AVAILABLE).tolist()
        return frozenset(source for source, wanted in needed.items() if all(known[one] for one in wanted))

    return at


def events(
    catalogue: Catalogue,
    state: DiagnosisState,
    found: tuple[Iterable[FaultSpan], Iterable[Episode]],
    rule_state: RuleState,
    stretch: Stretch,
) -> Sequence[Event]:
    """What changed in this stretch. `found`: by rules, and by detectors. `rule_state`: after it."""
    spans, episodes = found
    open_before = {one.key for found in state.sightings.values() for one in found if one.ended_ns is None}
    happened: list[Event] = []
    for span in spans:
        if span.code not in catalogue.using:
            continue
        key = (span.code, span.stream_no, span.first_tick)
        values = dict(span.evidence.at_detection) if span.evidence else {}
        if key not in open_before:
            tick = max(span.detected_tick, stretch.first_tick)
            happened.append(Seen(tick, *key, span.peak, values, span.approximate))
        elif span.cleared_tick is None:
            happened.append(Seen(stretch.end_tick - 1, *key, span.peak, values, span.approximate))
        open_before.discard(key)
        if span.cleared_tick is not None:
            happened.append(Cleared(span.cleared_tick, *key, span.peak, span.approximate))
    still = {
        (code, one.stream_no, one.first_tick)
        for code, one in rule_state.episodes.items()
        if one.detected_tick is not None
    }
    # Of rules that are gone or read differently now: nothing clears them.
    happened += [
        Cleared(stretch.first_tick, *key) for key in open_before - still if not key[0].startswith(ANOMALY)
    ]
    return [*happened, *_anomalies(catalogue, episodes, stretch)]


def _anomalies(catalogue: Catalogue, episodes: Iterable[Episode], stretch: Stretch) -> Iterator[Event]:
    for one in episodes:
        key = (ANOMALY + one.signal, one.stream_no, one.first_tick)
        if key[0] not in catalogue.using:
            continue
        here = one.stream_no == stretch.stream_no
        yield Seen(max(one.first_tick, stretch.first_tick) if here else stretch.first_tick, *key, one.peak)
        if one.ended:
            after = max(one.last_tick + 1, stretch.first_tick) if here else stretch.first_tick
            yield Cleared(after, *key, one.peak)
