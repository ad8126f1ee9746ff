"""The stand, whole but small: six units, two processes, a real collector."""

from __future__ import annotations

import asyncio
import json

import pytest
from rich.console import Console

from demo import dyno
from demo.stand_units import Fate, StandUnit, made_up


@pytest.mark.timeout(240)
def test_everything_that_the_stand_sampled_arrives_whole_and_what_failed_was_flagged(tmp_path, monkeypatch):
    some = [one for one in made_up() if one.fate is Fate.REFERENCE][:3]
    some += [one for one in made_up() if one.fate is Fate.FAILS][:2]
    some += [one for one in made_up() if one.fate is Fate.LEAVES][:1]
    units = [StandUnit(one.name, one.fate, one.values) for one in some]
    monkeypatch.setattr(dyno, "units", lambda: (units, "six made-up units"))
    monkeypatch.setattr(dyno, "HOSTS", 2)
    report = tmp_path / "figures.json"
    folder = tmp_path / "run"
    folder.mkdir()
    with (tmp_path / "said.txt").open("w") as said:
        console = Console(file=said, width=160)
        status = asyncio.run(dyno.run(folder, console, wall_s=10.0, report=report))
    figures = json.loads(report.read_text())
    assert status == 0, (tmp_path / "said.txt").read_text()
    assert figures["ok"]
    assert sum(one["records_stored"] for one in figures["by_unit"]) == sum(len(one.values) for one in units)
    assert [one["verdict"] for one in figures["by_unit"] if one["fate"] == "fails"] == ["hold", "hold"]
    assert figures["testing"] == 0
