from __future__ import annotations

import json

import pytest

from collector.reading.signals import QueryError
from collector.store import open_store
from collector.tail import Faults, Live, check_signals, rendered

ROW = {"timestamp": "2026-11-21T08:15:30.020Z", "vin": "asset:one", "late": False}


def styles(text):
    return {text.plain[span.start : span.end].split()[0]: str(span.style) for span in text.spans}


def test_good_values_are_green_and_those_in_a_fault_red_and_first():
    row = ROW | {"data": json.dumps({"Speed": 80.0, "Temp": 46.5, "Gear": None})}
    line = rendered(row, frozenset({"Temp"}), None, None)
    assert styles(line) == {"Temp": "bold red", "Speed": "green", "Gear": "dim"}
    assert line.plain.split()[:4] == ["2026-11-21T08:15:30.020Z", "asset:one", "Temp", "46.5"]


def test_a_line_fits_the_terminal_and_names_what_was_asked_for():
    row = ROW | {"data": json.dumps({f"Signal{n}": n for n in range(50)})}
    assert len(rendered(row, frozenset(), None, 120)) <= 120
    assert "Signal49" in rendered(row, frozenset(), ["Signal49"], 40).plain


def test_faults_are_news_once_when_they_open_and_once_when_they_end(bench, connected):
    faults = Faults(open_store(bench.path), None)
    assert list(faults.news()) == []
    bench.take(connected.drive(temp=46.0))
    assert [text.plain.split()[3] for text in faults.news()] == ["HOT:"]
    assert list(faults.news()) == []
    row = open_store(bench.path).latest(0)[0]
    assert faults.signals_at("asset:one", row["timestamp"]) == {"Temp"}
    assert faults.signals_at("asset:two", row["timestamp"]) == frozenset()
    bench.take(connected.drive(temp=40.0))
    assert [text.plain.endswith("HOT ended") for text in faults.news()] == [True]
    assert list(faults.news()) == []


def test_what_a_heartbeat_shows_beyond_what_is_stored_is_news_once_and_marked(bench, connected, monkeypatch):
    monkeypatch.setattr("collector.tail.LIVE_S", 0.0)
    live = Live(open_store(bench.path), None)
    backlog = connected.drive(temp=46.0, late=True)
    assert live.news() == []
    bench.take(connected.beat())
    (row,) = live.news()
    line = rendered(row, frozenset(), ["Temp"], None).plain
    assert line.startswith("2023-11-14T22:13:21.900Z  asset:one  live, provisional  Temp 4")
    assert live.news() == []
    bench.take(backlog, connected.beat())
    assert live.news() == [], "it is stored"


@pytest.mark.parametrize("vin", [None, "asset:one"])
def test_a_signal_that_nobody_has_is_named_with_those_that_are_meant(bench, connected, vin):
    store = open_store(bench.path)
    bench.take(connected.drive(temp=46.0))
    check_signals(store, vin, ["Temp"])
    with pytest.raises(QueryError, match="has no signal Tmp; did you mean Temp"):
        check_signals(store, vin, ["Temp", "Tmp"])


def test_before_anybody_came_any_signal_may(bench):
    check_signals(open_store(bench.path), None, ["Nope"])


def test_provisional_faults_are_news_once(bench, connected):
    faults = Faults(open_store(bench.path), None)
    backlog = connected.drive(temp=46.0, late=True)
    bench.take(connected.beat())
    assert ["provisional" in text.plain for text in faults.news()] == [True]
    assert list(faults.news()) == []
    bench.take(backlog)
    assert [text.plain.split()[3] for text in faults.news()] == ["HOT:"]
