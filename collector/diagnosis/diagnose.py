"""Diagnosis as a stream over what rules and conditions find: sightings and state in, diagnoses and state out.

Rules
- A part of a signature is seen from where its fault or condition opened (after its wait) to where it cleared. It counts for a
  signature at an instant if it is open then, or cleared no longer than `within_s` before.
- A diagnosis opens at the first instant at which every required part counts, in the order that is stated, and stands until one
  of them has been gone for longer than `within_s`; it ends where that part was gone. What is seen meanwhile is added to it,
  and nothing is taken from it.
- While one of them is gone and `within_s` has not passed, by records, the diagnosis stands and says where it was last seen: where
  no records follow, nobody knows more.
- A part that is not seen counts against causes only if it could have been: the signals of its condition are there and available
  at that record. What cannot be told changes nothing.
- Only sightings move it, and time is that of the records: the same diagnoses come out however a stream is cut into blocks.
- Between streams time is the wall clock's, as the streams were labelled when they came, and never runs backwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, assert_never

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from collector.diagnosis.catalogue import Catalogue, Part, Signature

SIGHTINGS_MAX = 8  # of one source, the newest: orders are told by these
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Sighting:
    """One episode of a fault, condition or anomaly. Ticks count in their streams; `began_ns` and the like are event time."""

    source: str
    stream_no: int
    first_tick: int
    began_ns: int
    known_ns: int  # when it had lasted long enough
    ended_ns: int | None = None
    ended_stream_no: int = 0
    ended_tick: int = 0
    peak: float | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)  # when it was known
    approximate: bool = False

    @property
    def key(self) -> tuple[str, int, int]:
        return self.source, self.stream_no, self.first_tick


@dataclass(frozen=True, slots=True)
class Seen:
    """A fault, condition or anomaly as it stands: opened at `tick`, or changed there."""

    tick: int
    source: str
    stream_no: int
    first_tick: int
    peak: float | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class Cleared:
    """It holds no longer, at `tick`."""

    tick: int
    source: str
    stream_no: int
    first_tick: int
    peak: float | None = None
    approximate: bool = False


Event = Seen | Cleared


@dataclass(frozen=True, slots=True)
class Stretch:
    """The records that events are of. wall time = tick * period_ns + offset_ns."""

    stream_no: int
    period_ns: int
    offset_ns: int
    first_tick: int
    end_tick: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One open diagnosis. `seen`: by part; `not_seen`: parts that could be told, and did not hold.

    `gone`: where the first of its required parts was gone, (stream_no, tick); None while all of them hold.
    """

    code: str
    signature_hash: str
    stream_no: int
    tick: int
    seen: Mapping[str, Sighting]
    not_seen: tuple[str, ...]
    gone: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding as readers get it. `end`: (stream_no, tick), None while it stands."""

    finding: Finding
    end: tuple[int, int] | None = None
    end_reason: str | None = None

    @property
    def approximate(self) -> bool:
        return any(sighting.approximate for sighting in self.finding.seen.values())


@dataclass(frozen=True, slots=True)
class DiagnosisState:
    """What one outbox carries from block to block. `clock`: stream_no and what its ticks are offset by in event time."""

    clock: tuple[int, int] | None = None
    last_ns: int = 0  # of the last event, or stretch that began a stream
    sightings: Mapping[str, tuple[Sighting, ...]] = field(default_factory=dict)  # by source, in order
    findings: Mapping[str, Finding] = field(default_factory=dict)  # by signature

    @property
    def empty(self) -> bool:
        return not self.sightings and not self.findings

    def to_text(self) -> str:
        return "" if self.clock is None else json.dumps(self.to_json(), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> DiagnosisState:
        """Inverse of `to_text`."""
        return cls.from_json(json.loads(text)) if text else cls()

    def to_json(self) -> dict[str, Any]:
        return {
            "clock": self.clock,
            "last_ns": self.last_ns,
            "sightings": {source: [_plain(one) for one in found] for source, found in self.sightings.items()},
            "findings": {
                code: _plain(one) | {"seen": {name: _plain(s) for name, s in one.seen.items()}}
                for code, one in self.findings.items()
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DiagnosisState:
        clock = document["clock"]
        return cls(
            None if clock is None else (clock[0], clock[1]),
            document["last_ns"],
            {
                source: tuple(Sighting(**one) for one in found)
                for source, found in document["sightings"].items()
            },
            {code: _finding(one) for code, one in document["findings"].items()},
        )


def _plain(value: Any) -> dict[str, Any]:
    return {one.name: getattr(value, one.name) for one in fields(value)}


def _finding(document: Mapping[str, Any]) -> Finding:
    seen = {name: Sighting(**one) for name, one in document["seen"].items()}
    gone = document.get("gone")
    place = None if gone is None else tuple(gone)
    return Finding(**{**document, "seen": seen, "not_seen": tuple(document["not_seen"]), "gone": place})


def withdraw(catalogue: Catalogue, state: DiagnosisState) -> tuple[list[Diagnosis], DiagnosisState]:
    """Diagnoses of signatures that are gone or read differently now, ended, and the state without them."""
    hashes = {signature.code: signature.hash for signature in catalogue.signatures}
    gone = [one for one in state.findings.values() if hashes.get(one.code) != one.signature_hash]
    if not gone:
        return [], state
    kept = {code: one for code, one in state.findings.items() if one not in gone}
    ended = [Diagnosis(one, (one.stream_no, one.tick), "catalogue changed") for one in gone]
    return ended, replace(state, findings=kept)


def advance(
    catalogue: Catalogue,
    state: DiagnosisState,
    stretch: Stretch,
    events: Sequence[Event],
    told: Callable[[int], frozenset[str]],
) -> tuple[list[Diagnosis], DiagnosisState]:
    """Go on by one stretch. `told(tick)`: the sources that could be told at a tick, seen or not.

    Returns the diagnoses that opened, changed or ended, as they stand after it, and the new state.
    """
    if not events and state.empty:
        return [], state
    run = _Run(catalogue, state, stretch, told)
    for event in sorted(
        events, key=lambda one: (one.tick, isinstance(one, Cleared), one.source, one.first_tick)
    ):
        run.take(event)
    return run.end()


class _Run:
    """One stretch on its way. Event time in ns."""

    def __init__(
        self,
        catalogue: Catalogue,
        state: DiagnosisState,
        stretch: Stretch,
        told: Callable[[int], frozenset[str]],
    ) -> None:
        self._catalogue = catalogue
        self._stretch = stretch
        self._told = told
        self._sightings = dict(state.sightings)
        self._findings = dict(state.findings)
        self._changed: dict[tuple[str, int, int], Diagnosis] = {}
        self._last_ns = state.last_ns
        if state.clock is not None and state.clock[0] == stretch.stream_no:
            self._offset_ns = state.clock[1]
        else:
            began_ns = stretch.first_tick * stretch.period_ns + stretch.offset_ns
            back_ns = max(0, state.last_ns - began_ns) if state.clock is not None else 0
            self._offset_ns = stretch.offset_ns + back_ns
            self._last_ns = began_ns + back_ns

    def _at(self, tick: int) -> int:
        return tick * self._stretch.period_ns + self._offset_ns

    def take(self, event: Event) -> None:
        now_ns = self._last_ns = self._at(event.tick)
        self._expire(now_ns)
        found = list(self._sightings.get(event.source, ()))
        key = (event.source, event.stream_no, event.first_tick)
        index = next((number for number, one in enumerate(found) if one.key == key), None)
        match event:
            case Seen() if index is None:
                began_ns = (
                    self._at(event.first_tick) if event.stream_no == self._stretch.stream_no else now_ns
                )
                found.append(
                    Sighting(
                        *key,
                        began_ns,
                        now_ns,
                        peak=event.peak,
                        values=event.values,
                        approximate=event.approximate,
                    )
                )
            case Seen():
                assert index is not None
                found[index] = replace(found[index], peak=event.peak, approximate=event.approximate)
            case Cleared():
                if index is None:
                    return  # forgotten: it was of other rules
                found[index] = replace(
                    found[index],
                    ended_ns=now_ns,
                    ended_stream_no=self._stretch.stream_no,
                    ended_tick=event.tick,
                    peak=event.peak,
                    approximate=event.approximate,
                )
            case _:
                assert_never(event)
        self._sightings[event.source] = tuple(found[-SIGHTINGS_MAX:])
        for signature in self._catalogue.using.get(event.source, ()):
            self._update(signature, now_ns, event.tick)

    def _update(self, signature: Signature, now_ns: int, tick: int) -> None:
        counting = self._counting(signature, now_ns)
        before = self._findings.get(signature.code)
        if before is None:
            if any(part.name not in counting for part in signature.required):
                return
            seen = counting
            place = (self._stretch.stream_no, tick)
        else:
            newest = {one.key: one for found in self._sightings.values() for one in found}
            seen = {name: newest.get(one.key, one) for name, one in before.seen.items()}
            seen |= {name: one for name, one in counting.items() if name not in seen}
            place = (before.stream_no, before.tick)
        told = self._told(tick)
        not_seen = tuple(
            part.name for part in signature.parts if part.name not in seen and part.source in told
        )
        if before is not None and seen.keys() == before.seen.keys():
            not_seen = before.not_seen  # reckoned at what was seen last
        finding = Finding(signature.code, signature.hash, *place, seen, not_seen)
        first = self._first_gone(signature, finding)
        if first is not None:
            finding = replace(finding, gone=(first.ended_stream_no, first.ended_tick))
        if finding != before:
            self._findings[signature.code] = finding
            self._changed[signature.code, *place] = Diagnosis(finding)

    def _counting(self, signature: Signature, now_ns: int) -> dict[str, Sighting]:
        """The first sighting of each part that counts now, in the order that is stated."""
        counting: dict[str, Sighting] = {}
        since_ns = now_ns - round(signature.within_s * _NS)
        for part in signature.parts:
            if part.after and part.after not in counting:
                continue
            earliest = counting[part.after].began_ns if part.after else None
            for one in self._sightings.get(part.source, ()):
                late = earliest is not None and one.began_ns < earliest
                if not late and (one.ended_ns is None or one.ended_ns >= since_ns):
                    counting[part.name] = one
                    break
        return counting

    def _expire(self, now_ns: int) -> None:
        for code, finding in list(self._findings.items()):
            signature = self._catalogue.signature(code)
            if signature is None:
                continue  # `withdraw` ends it
            first = self._first_gone(signature, finding)
            if first is None or (first.ended_ns or 0) + round(signature.within_s * _NS) >= now_ns:
                continue
            del self._findings[code]
            end = (first.ended_stream_no, first.ended_tick)
            self._changed[code, finding.stream_no, finding.tick] = Diagnosis(finding, end, "cleared")

    def _first_gone(self, signature: Signature, finding: Finding) -> Sighting | None:
        """The last sighting of the required part that is gone for longest; None while all hold."""
        ends = [self._gone(part, finding) for part in signature.required]
        past = [one for one in ends if one is not None and one.ended_ns is not None]
        return min(past, key=lambda one: one.ended_ns or 0, default=None)

    def _gone(self, part: Part, finding: Finding) -> Sighting | None:
        """The last sighting of a part that holds no longer; None while it does."""
        found = self._sightings.get(part.source, ()) or (finding.seen[part.name],)
        if any(one.ended_ns is None for one in found):
            return None
        return max(found, key=lambda one: one.ended_ns or 0)

    def end(self) -> tuple[list[Diagnosis], DiagnosisState]:
        now_ns = self._at(self._stretch.end_tick)
        self._expire(now_ns)
        longest = max((one.within_s for one in self._catalogue.signatures), default=0.0)
        since_ns = now_ns - round(longest * _NS)
        kept = {
            source: recent
            for source, found in self._sightings.items()
            if source in self._catalogue.using and (recent := _since(found, since_ns))
        }
        if not kept and not self._findings:
            return list(self._changed.values()), DiagnosisState()
        clock = (self._stretch.stream_no, self._offset_ns)
        return list(self._changed.values()), DiagnosisState(clock, self._last_ns, kept, self._findings)


def _since(found: Iterable[Sighting], since_ns: int) -> tuple[Sighting, ...]:
    return tuple(one for one in found if one.ended_ns is None or one.ended_ns >= since_ns)
