"""What `paging` decides, in one transaction: its rows, and the state that an outbox goes on with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from collector.ingest import paging, rows
from collector.ingest.paging import Kind
from collector.rules import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from codec.guards import Guard
    from collector.ingest.changes import Ledger, Row
    from collector.ingest.outbox import Outbox
    from collector.ingest.paging import FaultKey, Notice, Paging, Place, Provisional
    from collector.rules import FaultSpan, Known, Rule
    from collector.rules.evaluate import Episode

CAME_OUT_WRONG = "came out wrong"  # a fault opened in what a block claimed, and had not


class Pager:
    """`now_ns` (wall clock) labels rows, and tells how old a fault is."""

    def __init__(self, ledger: Ledger, now_ns: int) -> None:
        self._ledger = ledger
        self._now_ns = now_ns

    def found(self, outbox: Outbox, spans: Iterable[FaultSpan], since: Place, *, late: bool) -> None:
        """What a block that begins at `since` opened, changed or ended."""
        faults = [(_fault(span, outbox.own.by_code[span.code]), _end(span)) for span in spans]
        if faults or (outbox.paging.open and not late):
            self._take(outbox, paging.found(outbox.paging, faults, since, late=late))

    def go_on(self, outbox: Outbox, spans: Iterable[FaultSpan]) -> None:
        """Faults that were taken back in this transaction and opened again at the same tick did not end, and nobody is told."""
        changes = self._ledger.changes
        ended = {
            (one["of_stream_no"], one["of_first_tick"], one["of_code"]): one
            for one in changes.faults_ended
            if (one["of_outbox"], one["end_reason"]) == (outbox.id, CAME_OUT_WRONG)
        }
        for span in spans if ended else ():
            fault = _fault(span, outbox.own.by_code[span.code])
            row = ended.get(fault.key)
            if row is None:
                continue
            changes.faults_ended.remove(row)
            told = next(
                (one for one in reversed(changes.notices) if _about(one) == (outbox.id, *fault.key)), None
            )
            if told is not None:
                changes.notices.remove(told)
                fault = replace(fault, page=told["page"] if told["kind"] == Kind.CLOSED.value else "")
                outbox.paging = replace(outbox.paging, open={**outbox.paging.open, fault.key: fault})

    def passed(self, outbox: Outbox) -> None:
        """Ingest has come further."""
        if outbox.paging.provisional:
            self._take(outbox, paging.passed(outbox.paging, outbox.position))

    def backlog_over(self, outbox: Outbox) -> None:
        """The vehicle has sent everything."""
        self._take(outbox, paging.backlog_over(outbox.paging))

    def shown(self, outbox: Outbox, place: Place, verdicts: Mapping[Guard, Known]) -> None:
        """A heartbeat told how guards are at this place."""
        stream_no, tick = place
        seen = [
            (
                paging.Provisional(
                    rule.code, rule.severity, rule.description, rule.hash, stream_no, tick, ""
                ),
                lasts,
            )
            for rule, lasts in lasting(outbox.own.rules, verdicts)
        ]
        changes = self._ledger.changes
        number = f"{outbox.revision}.{len(changes.notices)}"
        notices, after = paging.shown(outbox.paging, seen, outbox.position, number)
        if notices:  # the next ones are of another revision
            changes.outboxes[outbox.id] = outbox
        self._take(outbox, (notices, after))

    def withdraw(self, outbox: Outbox, *, everything: bool = False) -> None:
        """Provisional faults of rules that are gone or read differently now, or all there are."""
        current = {} if everything else {rule.code: rule.hash for rule in outbox.own.rules.rules}
        self._take(outbox, paging.withdrawn(outbox.paging, current))

    def lost(self, outbox: Outbox, why: str) -> None:
        """Another outbox took its place, or left it. Its rules know what was open, in case it is here after all."""
        for code, episode in outbox.rule_state.episodes.items():
            if (episode.stream_no, episode.first_tick, code) in outbox.paging.open:
                self.ended(outbox, code, episode, why)

    def forgotten(self, outbox: Outbox) -> bool:
        """Open faults of which its rules know nothing end where they were detected. Whether there were any.

        Both are written in one transaction: what the rules carried was damaged.
        """
        episodes = outbox.rule_state.episodes.items()
        known = {(e.stream_no, e.first_tick, code) for code, e in episodes if e.detected_tick is not None}
        unknown = [fault for key, fault in outbox.paging.open.items() if key not in known]
        for fault in unknown:
            self._ended(outbox, fault.key, (fault.stream_no, fault.detected_tick), "state damaged")
        return bool(unknown)

    def ended(self, outbox: Outbox, code: str, episode: Episode, why: str) -> None:
        """An open fault ended otherwise than by its rule."""
        key = (episode.stream_no, episode.first_tick, code)
        self._ended(outbox, key, (episode.seen_stream_no, episode.seen_tick), why)

    def _ended(self, outbox: Outbox, key: FaultKey, at: Place, why: str) -> None:
        row = rows.fault_ended(outbox.id, key, at, outbox.wall_ns(*at, self._ledger), why)
        self._ledger.changes.faults_ended.append(row)
        self._take(outbox, paging.ended(outbox.paging, key, at))

    def _take(self, outbox: Outbox, decided: tuple[list[Notice], Paging]) -> None:
        notices, after = decided
        before, outbox.paging = outbox.paging, after
        changes = self._ledger.changes
        for notice in notices:
            changes.notices.append(self._notice(outbox, notice))
            if isinstance(notice.fault, paging.Fault) and notice.fault.page:
                changes.faults_paged.append(rows.fault_paged(outbox.id, notice.fault))
        for code in before.provisional.keys() - after.provisional.keys():
            changes.provisional.pop((outbox.id, code), None)
            changes.provisional_gone[outbox.id, code] = {"of_outbox": outbox.id, "of_code": code}
        for code, one in after.provisional.items():
            if one != before.provisional.get(code):
                changes.provisional_gone.pop((outbox.id, code), None)
                changes.provisional[outbox.id, code] = self._provisional(outbox, one)

    def _notice(self, outbox: Outbox, notice: Notice) -> Row:
        wall_ns, certain = self._when(outbox, notice.fault)
        ended_ns = None if notice.ended is None else outbox.wall_ns(*notice.ended, self._ledger)
        return rows.notice(
            outbox.id, outbox.key.vehicle, notice, wall_ns, ended_ns, self._now_ns, certain=certain
        )

    def _provisional(self, outbox: Outbox, one: Provisional) -> Row:
        wall_ns, certain = self._when(outbox, one)
        ended_ns = None if one.ended is None else outbox.wall_ns(*one.ended, self._ledger)
        rule = outbox.own.by_code[one.code]
        return rows.provisional(outbox.id, outbox.key.vehicle, rule, one, wall_ns, ended_ns, certain=certain)

    def _when(self, outbox: Outbox, fault: paging.Fault | Provisional) -> tuple[int, bool]:
        """When it was detected, and whether that is certain."""
        tick = fault.detected_tick if isinstance(fault, paging.Fault) else fault.tick
        certain = outbox.is_certain(fault.stream_no, self._ledger)
        return outbox.wall_ns(fault.stream_no, tick, self._ledger), certain


def _about(notice: Row) -> tuple[int, int, int, str]:
    return notice["outbox"], notice["stream_no"], notice["first_tick"], notice["code"]


def _fault(span: FaultSpan, rule: Rule) -> paging.Fault:
    return paging.Fault(
        span.code, span.severity, rule.description, span.stream_no, span.first_tick, span.detected_tick
    )


def _end(span: FaultSpan) -> Place | None:
    if span.last_stream_no is None or span.last_tick is None:
        return None
    return span.last_stream_no, span.last_tick
