"""The demo's output holds what a reader looks for, with or without a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

from rich.console import Console

from demo.view import LiveView, PlainView, Snapshot, bytes_table, draw, fleet_table, verdict_table
from tests.demo.test_verdict import GOOD

ONE = Snapshot("Model 3", "city", "no network", 12345, 7, 4321, 4_000_000, faults_open=1, faults=2)

WIDE = Snapshot("Model S Plaid", "overheating", "no network", 30_500, 123, 99_999, 9_900_000, 1, 12)
BUSY = replace(
    GOOD, model="Model S Plaid", records_sampled=30_500, bytes_wire=99_999, bytes_protobuf=9_999_999
)


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=140, force_terminal=terminal), out


def test_the_fleet_at_a_glance():
    where, out = console()
    where.print(fleet_table(12.3, [ONE]))
    for text in (
        "12.3 s",
        "Model 3",
        "city",
        "no network",
        "12,345",
        " 7 ",
        "4,321",
        "99.89%",
        "1 open",
    ):
        assert text in out.getvalue()


def test_nothing_is_claimed_before_there_is_something_to_compare_with():
    assert Snapshot("", "", "", 0, 0, 100, 0, 0, 0).reduction is None


def test_the_verdict_as_a_table():
    where, out = console()
    where.print(verdict_table([GOOD]))
    where.print(bytes_table([GOOD]))
    for text in (
        "Model 3",
        "1,050",
        "1,000",
        "50",
        "1.00",
        "1 of 1",
        "whole",
        "200,000",
        "99.50%",
        "500,000",
        "99.80%",
    ):
        assert text in out.getvalue()


def test_tables_fit_a_terminal_of_80_columns():
    for table in (fleet_table(12.3, [WIDE]), verdict_table([BUSY]), bytes_table([BUSY])):
        where, out = console()
        where.print(table)
        assert max(len(line.rstrip()) for line in out.getvalue().splitlines()) <= 80


def test_the_picture_tells_the_story_and_needs_nothing_from_the_network():
    svg = draw(26.7, [ONE], [(8.4, "dead zone 1"), (26.4, "SIGKILL to the agent")], [GOOD])
    for text in ("SIGKILL", "dead", "Model", "whole"):
        assert text in svg
    assert "font-face" not in svg
    assert re.findall(r"https?://(?!www\.w3\.org|www\.textualize\.io)", svg) == []


def test_plain_lines_come_now_and_then():
    where, out = console()
    view = PlainView(where)
    view.event(1.0, "dead zone 1")
    for tenth in range(100):
        view.show(tenth / 10, [ONE])
    view.close()
    lines = out.getvalue().splitlines()
    assert "dead zone 1" in lines[0]
    assert len(lines) == 1 + 2
    assert (
        "no network, 12,345 records, 7 blocks in outbox, 4,321 bytes sent, 99.89% saved, 2 faults found, 1 open"
        in lines[1]
    )


def test_the_live_view_keeps_the_latest_events():
    where, out = console(terminal=True)
    view = LiveView(where)
    for number in range(20):
        view.event(float(number), f"event {number}")
    view.show(1.0, [ONE])
    view.close()
    last_picture = out.getvalue().rpartition("deadreckon")[2]
    assert "event 19" in last_picture
    assert "event 5" not in last_picture
