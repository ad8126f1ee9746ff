"""`collector tail`: the live stream, one line for each vehicle and second, as the store gets it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from collector.reading.signals import chosen_signals, known_signals
from collector.rules.expression import signals
from collector.rules.parser import parse
from collector.store import Store, StoreUnavailable, open_store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from rich.text import Text

POLL_S = 0.25
LIVE_S = 1.0  # heartbeats come every 2 s, and each look reads those of every vehicle
LINES_MAX = 10_000
SEEN_MAX = 200  # ended faults that are looked at again: one that was open at the last look may be among them
DIGITS = 6  # significant, on a screen


def run(options: argparse.Namespace) -> None:
    """Print until Ctrl-C. Raises StoreError and QueryError."""
    from rich.console import Console

    store = open_store(options.store)
    vin = None if options.vin is None else store.vehicle(options.vin).vin
    check_signals(store, vin, options.signal or ())
    console = Console(highlight=False)
    width = console.width if console.is_terminal else None
    after_id = store.last_id(min(max(options.lines, 0), LINES_MAX), vin)
    faults, live = Faults(store, vin), Live(store, vin)
    while True:
        try:
            rows = store.latest(after_id, vin)
            for text in faults.news():
                console.print(text, soft_wrap=True)
            shown = live.news()
        except StoreUnavailable:  # a writer holds it for a moment; what came is still there at the next look
            rows, shown = [], []
        for row in rows:
            after_id = row["id"]
            line = rendered(row, faults.signals_at(row["vin"], row["timestamp"]), options.signal, width)
            console.print(line, soft_wrap=True)
        for row in shown:
            console.print(rendered(row, frozenset(), options.signal, width), soft_wrap=True)
        if not rows:
            time.sleep(POLL_S)


def check_signals(store: Store, vin: str | None, names: Sequence[str]) -> None:
    """Raises QueryError where nobody has a signal of that name; before any stream is known, any may come."""
    known = known_signals(store.schemas()) if vin is None else store.vehicle(vin).signals()
    if names and known:
        chosen_signals(names, known, vin or "the fleet")


def rendered(row: dict[str, Any], red: frozenset[str], only: Sequence[str] | None, width: int | None) -> Text:
    """One line: those in a fault first and red, the others green, as many as fit into `width` (None: all)."""
    from rich.text import Text

    values = json.loads(row["data"]) if isinstance(row["data"], str) else row["data"]
    names = list(only) if only else sorted(values, key=lambda name: name not in red)
    line = Text(f"{row['timestamp']}  {row['vin']}", style="default")
    if row["late"]:
        line.append("  late", style="yellow")
    if row.get("live"):
        line.append("  live, provisional", style="cyan")
    for name in names:
        value = values.get(name)
        shown = "-" if value is None else f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)
        part = f"  {name} {shown:<6}"  # padded, so that columns stand still
        if width is not None and not only and len(line) + len(part) > width:
            break
        line.append(part, style="bold red" if name in red else "dim" if value is None else "green")
    return line


class Live:
    """What heartbeats show while a backlog drains, looked at again and again."""

    def __init__(self, store: Store, vin: str | None) -> None:
        self._store, self._vin = store, vin
        self._seen: dict[str, str] = {}
        self._looked_at = 0.0

    def news(self) -> list[dict[str, Any]]:
        """Rows for `rendered`: of each vehicle the newest, where it is newer than at the last look."""
        if time.monotonic() - self._looked_at < LIVE_S:
            return []
        self._looked_at = time.monotonic()
        rows = [row for row in self._store.live(self._vin) if self._seen.get(row["vin"]) != row["timestamp"]]
        self._seen |= {row["vin"]: row["timestamp"] for row in rows}
        return [row | {"late": False, "live": True} for row in rows]


class Faults:
    """Faults of the store, looked at again and again."""

    def __init__(self, store: Store, vin: str | None) -> None:
        self._store = store
        self._vin = vin
        self._rows = store.faults(vin)
        self._seen: dict[int, str | None] = {row["id"]: row["ended_at"] for row in self._rows}
        self._after_id = max(0, max(self._seen, default=0) - SEEN_MAX)
        self._provisional: set[str] = set()  # pages

    def news(self) -> Iterator[Text]:
        """A line for each fault that opened or ended since the last look."""
        from rich.text import Text

        self._rows = self._store.faults(self._vin, after_id=self._after_id)
        for row in self._rows:
            if row["id"] not in self._seen:
                what = f"{row['detected_at']}  {row['vin']}  {row['severity']}  {row['code']}: {row['description']}"
                yield Text(what, style="bold red" if row["severity"] == "CRITICAL" else "bold yellow")
            if row["ended_at"] and not self._seen.get(row["id"]):
                yield Text(f"{row['ended_at']}  {row['vin']}  {row['code']} ended", style="bold green")
            self._seen[row["id"]] = row["ended_at"]
        shown = self._store.provisional_faults(self._vin)
        for row in shown:
            if row["page"] not in self._provisional:
                what = f"{row['detected_at']}  {row['vin']}  {row['severity']}  {row['code']}, provisional: {row['description']}"
                yield Text(what, style="bold red" if row["severity"] == "CRITICAL" else "bold yellow")
        self._provisional = {row["page"] for row in shown}

    def signals_at(self, vin: str, timestamp: str) -> frozenset[str]:
        """Signals of the vehicle that were in a fault then: those its rule names."""
        return frozenset(
            name
            for row in self._rows
            if row["vin"] == vin and row["started_at"] <= timestamp and (row["ended_at"] or "~") >= timestamp
            for name in (row["signal"], *signals(parse(row["evidence"]["when"])))
        )
