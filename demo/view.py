"""What the demo shows: a live table on a terminal, plain lines elsewhere, and the verdict."""

from __future__ import annotations

import io
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from demo.verdict import Verdict

EVENTS_SHOWN = 10
SVG_COLUMNS = 82
PLAIN_EVERY_S = 5.0
_STATE_STYLES = {
    "online": "green",
    "no network": "red",
    "no answer": "red",
    "killed": "bold red",
    "arrived": "cyan",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One vehicle as it stands now."""

    model: str
    drive: str
    state: str
    sampled: int  # records
    outbox_batches: int  # not acknowledged yet
    bytes_wire: int
    bytes_protobuf: int
    faults_open: int
    faults: int

    @property
    def reduction(self) -> float | None:
        return 1 - self.bytes_wire / self.bytes_protobuf if self.bytes_protobuf > self.bytes_wire else None


class View(Protocol):
    """Where the demo's news go."""

    def event(self, at_s: float | None, text: str) -> None: ...
    def show(self, at_s: float, fleet: Sequence[Snapshot]) -> None: ...
    def close(self) -> None: ...


class LiveView:
    """A table that stays in its place, with the latest events below."""

    def __init__(self, console: Console) -> None:
        self._events: deque[Text] = deque(maxlen=EVENTS_SHOWN)
        self._table: RenderableType = Text("starting", style="dim")
        self._live = Live(self.picture(), console=console, refresh_per_second=4)
        self._live.start()

    def event(self, at_s: float | None, text: str) -> None:
        self._events.append(_event_line(at_s, text))
        self._live.update(self.picture())

    def show(self, at_s: float, fleet: Sequence[Snapshot]) -> None:
        self._table = fleet_table(at_s, fleet)
        self._live.update(self.picture())

    def close(self) -> None:
        self._live.stop()

    def picture(self) -> RenderableType:
        return Group(self._table, *self._events)


class PlainView:
    """A line for each event, and the fleet now and then: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due_s = 0.0

    def event(self, at_s: float | None, text: str) -> None:
        self._console.print(_event_line(at_s, text), soft_wrap=True)

    def show(self, at_s: float, fleet: Sequence[Snapshot]) -> None:
        if at_s < self._due_s:
            return
        self._due_s = at_s + PLAIN_EVERY_S
        for one in fleet:
            self._console.print(_plain_line(at_s, one), soft_wrap=True, highlight=False)

    def close(self) -> None:
        pass


def fleet_table(at_s: float, fleet: Sequence[Snapshot]) -> Table:
    table = _table(f"deadreckon  {at_s:5.1f} s", ("vehicle", "drive", "link"))
    for heading in ("records", "outbox", "bytes\nsent", "saved", "faults"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in fleet:
        faults = (
            Text(f"{one.faults_open} open", style="bold red") if one.faults_open else Text("-", style="dim")
        )
        if one.faults and not one.faults_open:
            faults = Text(f"{one.faults} past", style="yellow")
        table.add_row(
            one.model,
            one.drive,
            Text(f"{one.state:10}", style=_STATE_STYLES.get(one.state, "yellow")),  # as wide as the widest
            f"{one.sampled:,}",
            f"{one.outbox_batches:,}",
            f"{one.bytes_wire:,}",
            "" if one.reduction is None else f"{one.reduction:.2%}",
            faults,
        )
    return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Whether everything arrived."""
    table = _table("Sampled on the vehicles, against what the collector gives back", ("vehicle",))
    table.caption = "lost: killed before the commit; worst error: in thresholds, 1.00 passes"
    table.caption_justify = "left"
    for heading in (
        "records\nsampled",
        "stored",
        "missing",
        "twice",
        "lost",
        "worst\nerror",
        "faults\nfound",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in verdicts:
        table.add_row(
            one.model,
            f"{one.records_sampled:,}",
            f"{one.comparison.stored:,}",
            _count(one.comparison.missing),
            _count(one.comparison.duplicated),
            f"{one.lost_at_kill}" if one.kills or one.lost_at_kill else "-",
            f"{one.comparison.max_error_over_threshold:.2f}",
            f"{len(one.found)} of {len(one.expected)}",
            Text("whole", style="bold green") if one.ok else Text("FAILED", style="bold red"),
        )
    return table


def bytes_table(verdicts: Sequence[Verdict]) -> Table:
    """What it took, against the same records as one message each."""
    table = _table("TCP payload both ways, against one message a record", ("vehicle",))
    for heading in ("on the\nwire", "as\nprotobuf", "saved", "as\nJSON", "saved"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in verdicts:
        table.add_row(
            one.model,
            f"{one.bytes_wire:,}",
            f"{one.bytes_protobuf:,}",
            Text(f"{one.reduction:.2%}", style="green"),
            f"{one.bytes_json:,}",
            Text(f"{one.reduction_json:.2%}", style="green"),
        )
    return table


def draw(
    at_s: float, fleet: Sequence[Snapshot], events: Sequence[tuple[float, str]], verdicts: Sequence[Verdict]
) -> str:
    """An SVG of the fleet at one instant, what happened to it, and how it ended."""
    canvas = Console(record=True, width=SVG_COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    canvas.print(fleet_table(at_s, fleet), "", *(_event_line(*event) for event in events), "", sep="\n")
    canvas.print(verdict_table(verdicts), "", bytes_table(verdicts), sep="\n")
    svg = canvas.export_svg(title="make demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # the reader's own monospace will do


def _table(title: str, texts: Sequence[str]) -> Table:
    """Tables that fit a terminal of 80 columns."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.show_edge, table.pad_edge, table.padding = False, False, (0, 1, 0, 0)
    for heading in texts:
        table.add_column(heading, no_wrap=True)
    return table


def _count(number: int) -> Text:
    return Text(f"{number:,}", style="bold red" if number else "green")


def _event_line(at_s: float | None, text: str) -> Text:
    mark = Text(f"{at_s:6.1f} s  " if at_s is not None else "          ", style="dim")
    style = (
        "red"
        if "SIGKILL" in text or text.startswith("dead zone")
        else "green"
        if "again" in text or "back" in text
        else ""
    )
    return mark.append(Text(text, style=style))


def _plain_line(at_s: float, one: Snapshot) -> str:
    saved = "" if one.reduction is None else f", {one.reduction:.2%} saved"
    return (
        f"{at_s:6.1f} s    {one.model}: {one.state}, {one.sampled:,} records, {counted(one.outbox_batches, 'block')} in outbox, "
        f"{one.bytes_wire:,} bytes sent{saved}, {counted(one.faults, 'fault')} found, {one.faults_open} open"
    )
