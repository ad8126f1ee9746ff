"""`collector sentinel`: one look over the store for what somebody should know.

Rules
- Findings are a function of rows and of the time now (`findings`); the same store at the same time gives the same ones.
- A fault of the severity that pages is a finding while it is open, any other once it has been open for long. One that an operator
  acknowledged is no news: it is left out, or shown on demand, and never counted.
- A vehicle is silent when nothing was heard of it for long and it has not said that it is parked. What never reported itself (an
  imported log) cannot fall silent.
- A vehicle lags when it is heard of, but what is stored of it is long behind that, or what it has not yet sent is old.
- A gap is a finding while it is new.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from collector import times
from collector.store import open_store
from collector.words import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collector.config import Config

    Row = Mapping[str, Any]

COLUMNS = ("kind", "vin", "severity", "since", "what")


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind`: fault, silent, lag or gap. `since`: text in UTC."""

    kind: str
    vin: str
    severity: str
    since: str
    what: str
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on things are findings, in seconds. `severity`: of faults that are findings at once."""

    severity: str
    fault_s: float
    silent_s: float
    lag_s: float
    gap_s: float

    @classmethod
    def of(cls, config: Config) -> Limits:
        return cls(
            config.sentinel_severity,
            config.sentinel_fault_s,
            config.sentinel_silent_s,
            config.sentinel_lag_s,
            config.sentinel_gap_s,
        )


def run(config: Config, options: argparse.Namespace) -> int:
    """Look, print, and return how many findings there are that nobody acknowledged. Raises StoreError."""
    now_ns = time.time_ns()
    store = open_store(config.store)
    found = findings(
        store.vehicles(counted=False),
        store.faults(only_open=True),
        store.gaps(),
        store.newest_ns(),
        Limits.of(config),
        now_ns,
    )
    news = [one for one in found if not one.acknowledged]
    shown = found if options.all else news
    if options.format == "json":
        document = {"at": times.to_text(now_ns), "findings": [asdict(one) for one in shown]}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _print_table(shown)
        hidden = len(found) - len(shown)
        if hidden:
            print(f"{counted(hidden, 'acknowledged fault')} left out; --all shows them")
    return len(news)


def findings(
    vehicles: Sequence[Row],
    open_faults: Sequence[Row],
    gaps: Sequence[Row],
    newest_ns: Mapping[str, int],
    limits: Limits,
    now_ns: int,
) -> list[Finding]:
    """Rows as the store gives them; newest_ns: wall time of each vehicle's newest record, where its clock was set."""
    found = [
        *_faults(open_faults, limits, now_ns),
        *_silent(vehicles, limits, now_ns),
        *_lagging(vehicles, newest_ns, limits),
        *_gaps(gaps, limits, now_ns),
    ]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.vin, one.since))


KINDS = ("fault", "silent", "lag", "gap")


def _faults(rows: Iterable[Row], limits: Limits, now_ns: int) -> Iterator[Finding]:
    for row in rows:
        age_s = _age_s(row["started_at"], now_ns)
        if row["severity"] == limits.severity or age_s > limits.fault_s:
            by = row["acknowledged_by"]
            seen = f"; acknowledged by {by}" if by is not None else ""
            what = f"{row['code']}: {row['description']}; open for {_span(age_s)}{seen}"
            yield Finding("fault", row["vin"], row["severity"], row["started_at"], what, by is not None)


def _silent(rows: Iterable[Row], limits: Limits, now_ns: int) -> Iterator[Finding]:
    for row in rows:
        age_s = _age_s(row["last_seen"], now_ns)
        if _reports(row) and row["state"] != "parked" and age_s > limits.silent_s:
            what = f"{row['state']}, and nothing was heard of it for {_span(age_s)}"
            yield Finding("silent", row["vin"], "WARNING", row["last_seen"], what)


def _lagging(rows: Iterable[Row], newest_ns: Mapping[str, int], limits: Limits) -> Iterator[Finding]:
    for row in rows:
        if not _reports(row) or row["state"] != "online":
            continue
        health = (row["heartbeat"] or {}).get("health") or {}
        oldest_s = float(health.get("outbox_oldest_s", 0.0))
        newest = newest_ns.get(row["vin"])
        behind_s = (
            0.0 if newest is None else _age_s(times.to_text(newest), times.from_text(row["last_seen"], 0))
        )
        if max(behind_s, oldest_s) > limits.lag_s:
            batches = health.get("outbox_batches", 0)
            waiting = (
                f"; {batches:,} batches wait on the vehicle, the oldest for {_span(oldest_s)}"
                if batches
                else ""
            )
            why = waiting
            if row["heartbeat"] and not batches:
                why = ", and nothing waits on it: its clock is wrong, or its bus plays a recorded log"
            what = f"what is stored ends {_span(behind_s)} before it was last heard of{why}"
            since = times.to_text(newest) if newest is not None else row["last_seen"]
            yield Finding("lag", row["vin"], "WARNING", since, what)


def _gaps(rows: Iterable[Row], limits: Limits, now_ns: int) -> Iterator[Finding]:
    by_vehicle: dict[str, list[Row]] = {}
    for row in rows:
        if _age_s(row["noted_at"], now_ns) <= limits.gap_s:
            by_vehicle.setdefault(row["vin"], []).append(row)
    for vin, new in by_vehicle.items():
        known = sum(row["records"] or 0 for row in new)
        unknown = " and nobody knows how many more" if any(row["records"] is None for row in new) else ""
        reasons = ", ".join(sorted({row["reason"] for row in new}))
        many = "a gap" if len(new) == 1 else f"{len(new)} gaps"
        what = f"{many} ({reasons}): {known:,} records are lost{unknown}"
        yield Finding("gap", vin, "WARNING", min(row["noted_at"] for row in new), what)


def _reports(row: Row) -> bool:
    """Whether an agent ever spoke for it."""
    return bool(row["agent_version"] or row["heartbeat"])


def _age_s(text: str, now_ns: int) -> float:
    return (now_ns - times.from_text(text, now_ns)) / times.NS


def _span(seconds: float) -> str:
    """For people: 40 s, 12 min, 5 h, 3 days, 4 years."""
    for unit, length in (("years", 365.25 * 86400.0), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _print_table(found: Sequence[Finding]) -> None:
    if not found:
        print("nothing found")
        return
    from collector.query import print_table

    print_table(COLUMNS, (asdict(one) for one in found))
