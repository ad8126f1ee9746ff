"""`collector rules`: whether rules are sound, and what they would have raised on stored records."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from collector import times
from collector.dbcs import signals_of
from collector.query import PRINTERS
from collector.reading.moments import as_ns
from collector.reading.signals import QueryError, known_signals
from collector.rules import load_rules
from collector.rules.backtest import Raised, backtest, compare, warm_up_s
from collector.rules.check import Known, check
from collector.store import Store, open_store
from collector.webhooks.notice import KINDS, Kind, Notice
from collector.webhooks.rehearse import Told, rehearse
from collector.webhooks.targets import load_targets
from collector.words import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from collector.rules.check import Report

NS = 1_000_000_000
SUMMARY_COLUMNS = (
    "code", "severity", "opens", "paged", "approximate", "open_s", "longest_s", "opened_then", "both", "only_then",
)  # fmt: skip
FAULT_COLUMNS = (
    "code", "severity", "started_at", "detected_at", "ended_at", "peak", "paged", "approximate", "raised_then",
)  # fmt: skip


class Unsound(ValueError):
    """Rules that name what no vehicle has, one a line."""


def run_check(options: argparse.Namespace) -> None:
    """Raises RuleError, DbcsUnread, Unsound, StoreError."""
    rules = load_rules(options.file)
    known: dict[str, Known] | None
    if options.store is not None:
        known = _of_store(open_store(options.store))
    else:
        known = _of_dbcs(options.dbc) if options.dbc else None
    reports = check(rules, known)
    for report in reports:
        print(_line(report))
        for warning in report.warnings:
            print(f"  warning: {warning}")
    covered = sum(not report.reckons_with for report in reports)
    print(f"{options.file}: {counted(len(reports), 'rule')}, {covered} of them exact")
    if known is None:
        print("names of signals were not looked at: name the vehicles' DBCs with --dbc, or a --store")
    errors = [f"{options.file}: rule {one.code}: {error}" for one in reports for error in one.errors]
    if errors:
        raise Unsound("\n".join(errors))


def _line(report: Report) -> str:
    named = ", ".join(f"{name} ({unit})" if unit else name for name, unit in report.signals)
    verdict = (
        f"not covered by the guarantee: reckons with {', '.join(report.reckons_with)}"
        if report.reckons_with
        else "exact"
    )
    return f"{report.code:<24} {report.severity:<9} {verdict}; of {named}"


def _of_store(store: Store) -> dict[str, Known]:
    schemas = {span.schema.hash: span.schema for vin in store.vins() for span in store.spans(vin)}
    return {one.name: Known(one.unit, one.minimum, one.maximum) for one in known_signals(schemas.values())}


def _of_dbcs(paths: Sequence[Path]) -> dict[str, Known]:
    return {
        name: Known(signal.unit or "", _number(signal.minimum), _number(signal.maximum))
        for name, signal in signals_of(paths).items()
    }


def _number(number: Any) -> float | None:
    return None if number is None else float(number)


def run_backtest(options: argparse.Namespace) -> None:
    """Raises RuleError, TargetError, QueryError, StoreError."""
    targets = () if options.webhooks is None else load_targets(options.webhooks, os.environ)
    store = open_store(options.store)
    vehicle = store.vehicle(options.vin)
    vin = vehicle.vin
    model = next(row["model"] for row in store.vehicles(counted=False) if row["vin"] == vin)
    rules = load_rules(options.file).for_vehicle(vin, model)
    now_ns = time.time_ns()
    start_ns, end_ns = (as_ns(text, now_ns) for text in (options.start, options.end))
    spans = store.spans(vin, start_ns, end_ns)
    if not spans:
        raise QueryError(f"{vin}: no record of that range is stored; {vehicle.stored()}")
    began_ns = None if start_ns is None else start_ns - round(warm_up_s(rules) * NS)
    raised = backtest(rules, store.runs(vin, began_ns, end_ns), store.guards, start_ns)
    then = _raised_then(store, vin, start_ns, end_ns)
    last_ns = max(span.end_ns for span in spans)
    if end_ns is not None:
        last_ns = min(last_ns, end_ns)
    if options.faults:
        PRINTERS[options.format](FAULT_COLUMNS, (_fault_row(one, then) for one in raised))
    else:
        PRINTERS[options.format](
            SUMMARY_COLUMNS, (_rounded(asdict(one)) for one in compare(raised, then, last_ns))
        )
    print(f"{vin}: would have paged {_pages(raised)}; paged then: {_pages(then)}", file=sys.stderr)
    for target in targets:
        told = rehearse(target, notices_of(vin, raised), last_ns)
        print(f"{vin}: {target.name} would have been told {_told(told)}", file=sys.stderr)
    if not targets:
        print(
            "silences, groups and rates of webhooks are not in this; --webhooks F puts them in",
            file=sys.stderr,
        )
    if store.unreadable:
        print(
            f"collector: {store.unreadable} stored blocks could not be read and are left out", file=sys.stderr
        )


def _raised_then(store: Store, vin: str, start_ns: int | None, end_ns: int | None) -> list[Raised]:
    """Stored faults that were open in the range."""
    found = [
        Raised(
            row["code"],
            row["severity"],
            times.from_text(row["started_at"], 0),
            times.from_text(row["detected_at"], 0),
            None if row["ended_at"] is None else times.from_text(row["ended_at"], 0),
            row["peak"],
            row["approximate"],
            row["page"] is not None,
        )
        for row in store.faults(vin)
    ]
    return [
        one
        for one in found
        if (end_ns is None or one.detected_ns < end_ns)
        and (start_ns is None or one.ended_ns is None or one.ended_ns >= start_ns)
    ]


def _fault_row(one: Raised, then: Sequence[Raised]) -> dict[str, Any]:
    return {
        "code": one.code,
        "severity": one.severity,
        "started_at": times.to_text(one.started_ns),
        "detected_at": times.to_text(one.detected_ns),
        "ended_at": None if one.ended_ns is None else times.to_text(one.ended_ns),
        "peak": one.peak,
        "paged": one.paged,
        "approximate": one.approximate,
        "raised_then": any(one.meets(other) for other in then),
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def _pages(raised: Sequence[Raised]) -> str:
    paged = [one for one in raised if one.paged]
    counts = Counter(one.severity for one in paged)
    each = [f"{counts[name]} {name}" for name in ("CRITICAL", "WARNING", "INFO") if counts[name]]
    digest = len(raised) - len(paged)
    return (
        counted(len(paged), "time")
        + (f" ({', '.join(each)})" if each else "")
        + (f" and {digest} in digests" if digest else "")
    )


def notices_of(vin: str, raised: Sequence[Raised]) -> list[Notice]:
    """What would have been noted of faults at the times of their records, numbered from 1."""
    moments: list[tuple[int, Kind, int, Raised]] = []
    for number, one in enumerate(raised):
        if one.paged:
            moments.append((one.detected_ns, "opened", number, one))
        if one.ended_ns is not None:
            moments.append((one.ended_ns, "closed" if one.paged else "digest", number, one))
    moments.sort(key=lambda moment: moment[0])
    return [
        Notice(id_, kind, at_ns, f"{number}", vin, one.code, one.severity, "", times.to_text(one.detected_ns))
        for id_, (at_ns, kind, number, one) in enumerate(moments, 1)
    ]


def _told(told: Told) -> str:
    """In words: 3 opened and 2 closed, in 4 deliveries."""
    each = [f"{told.notices[kind]} {kind}" for kind in KINDS if told.notices[kind]]
    many = counted(told.deliveries, "delivery", "deliveries")
    over = told.wanted - sum(told.notices.values()) - told.held
    return (
        (f"{' and '.join(each)}, in {many}" if each else "nothing")
        + (
            f"; {counted(over, 'notice')} of faults that were over before a silence ended left out"
            if over
            else ""
        )
        + (f"; {told.held} were held by a silence at the end" if told.held else "")
    )
