"""What a catalogue makes of records: which diagnoses it gives, and why every other signature gave none.

The same code as in the stream, over records that are stored; nothing is written. A range begins with no past, so what began before
it is seen from its start on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.diagnosis import watch
from collector.diagnosis.diagnose import Diagnosis, DiagnosisState, Seen, Stretch, advance
from collector.rules import BoundRules, RuleState, bind, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collector.diagnosis.catalogue import Catalogue, Cause, Part, Signature
    from collector.diagnosis.diagnose import Event
    from collector.rules import Rules
    from collector.store.stored import StoredRun


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One sighting of a part, in wall time. `ended_ns` None: to the end of the range."""

    began_ns: int
    ended_ns: int | None
    peak: float | None


@dataclass(slots=True)
class Examined:
    """What was found in a range: diagnoses with where they began in wall time, and the sightings of every source."""

    diagnoses: list[tuple[int, int | None, Diagnosis]] = field(default_factory=list)
    sightings: dict[str, list[Occurrence]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)  # sources that some schema of the range can tell
    records: int = 0


class _Outbox:
    """One outbox of the range on its way."""

    def __init__(self) -> None:
        self.rules = RuleState()
        self.state = DiagnosisState()
        self.offsets: dict[int, tuple[int, int]] = {}  # by stream_no: period and offset
        self.diagnoses: dict[tuple[str, int, int], Diagnosis] = {}
        self.seen: dict[tuple[str, int, int], Occurrence] = {}

    def wall_ns(self, stream_no: int, tick: int) -> int:
        period_ns, offset_ns = self.offsets[stream_no]
        return tick * period_ns + offset_ns

    def note(self, event: Event, stream_no: int) -> None:
        key = (event.source, event.stream_no, event.first_tick)
        began_ns = self.wall_ns(event.stream_no, event.first_tick)
        ended_ns = None if isinstance(event, Seen) else self.wall_ns(stream_no, event.tick)
        self.seen[key] = Occurrence(began_ns, ended_ns, event.peak)


def examine(catalogue: Catalogue, rules: Rules, runs: Iterable[StoredRun]) -> Examined:
    """`runs`: of one vehicle, by outbox, stream and seq."""
    watched = watch.with_conditions(rules, catalogue)
    outboxes: dict[bytes, _Outbox] = {}
    bound: dict[bytes, tuple[BoundRules, dict[str, list[int]]]] = {}
    found = Examined()
    for run in runs:
        name, schema, stream_no = run.schema.hash, run.schema, run.facts.stream_no
        if name not in bound:
            bound[name] = bind(watched, schema), watch.columns(watched, catalogue, schema)
            found.told |= bound[name][1].keys()
        outbox = outboxes.setdefault(run.outbox_id, _Outbox())
        outbox.offsets[stream_no] = (schema.period_ns, run.offset_ns)
        ready, needed = bound[name]
        spans, outbox.rules = evaluate(ready, outbox.rules, stream_no, run.records, frozenset())
        stretch = Stretch(
            stream_no, schema.period_ns, run.offset_ns, run.records.first_tick, run.records.end_tick
        )
        events = watch.events(catalogue, outbox.state, (spans, ()), outbox.rules, stretch)
        changed, outbox.state = advance(
            catalogue, outbox.state, stretch, events, watch.told(needed, run.records)
        )
        for event in events:
            outbox.note(event, stream_no)
        for one in changed:
            outbox.diagnoses[one.finding.code, one.finding.stream_no, one.finding.tick] = one
        found.records += len(run.records)
    for outbox in outboxes.values():
        for (source, _, _), occurrence in outbox.seen.items():
            found.sightings.setdefault(source, []).append(occurrence)
        for one in outbox.diagnoses.values():
            ended_ns = None if one.end is None else outbox.wall_ns(*one.end)
            found.diagnoses.append((outbox.wall_ns(one.finding.stream_no, one.finding.tick), ended_ns, one))
    return found


def ranked(signature: Signature, diagnosis: Diagnosis) -> list[tuple[float, Cause]]:
    """Its causes with their confidence, the most probable first."""
    seen, not_seen = diagnosis.finding.seen.keys(), diagnosis.finding.not_seen
    rated = [(cause.confidence(seen, not_seen), cause) for cause in signature.causes]
    return sorted(rated, key=lambda one: -one[0])


def why_not(signature: Signature, found: Examined) -> Iterator[str]:
    """Why a signature gave no diagnosis in the range."""
    missing = [part for part in signature.required if not found.sightings.get(part.source)]
    for part in missing:
        yield f"{part.name} is required and {_unseen(part, found)}"
    if not missing:
        names = ", ".join(part.name for part in signature.required)
        order = [part for part in signature.required if part.after]
        stated = "".join(f", {part.name} after {part.after}" for part in order)
        yield f"{names} were seen, but never within {signature.within_s:g} s of one another{stated}"


def _unseen(part: Part, found: Examined) -> str:
    if part.kind == "anomaly":
        return f"was not looked for: no detector runs here ({_stated(part)})"
    if part.source in found.told:
        return f"did not hold ({_stated(part)})"
    if part.kind == "fault":
        return f"cannot be told: no rule {part.source} whose signals this vehicle has"
    return f"cannot be told: this vehicle does not have every signal of {_stated(part)}"


def _stated(part: Part) -> str:
    if part.condition is None:
        return f"{part.kind} {part.source}"
    wait = f" for {part.condition.for_s:g} s" if part.condition.for_s else ""
    return f"{part.condition.when}{wait}"


def status(part: Part, found: Examined) -> str:
    """One part over the range, in words."""
    sightings = found.sightings.get(part.source, [])
    if not sightings:
        return _unseen(part, found)
    return (
        f"held {len(sightings)} times ({_stated(part)})" if len(sightings) > 1 else f"held ({_stated(part)})"
    )
