"""What the stand writes is what agents and collector take, and its verdicts are those of the stored rows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from collector.config import load_config as collector_config
from collector.rules import load_rules
from decoder import dbc
from demo import line
from demo.stand_units import SENSORS, Fate, StandUnit, made_up
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config as agent_config
from replay_logs.read import open_log
from replay_logs.recording import load_recording


def unit(fate: Fate = Fate.FAILS, cycles: int = 200) -> StandUnit:
    return StandUnit("unit-001", fate, np.zeros((cycles, len(SENSORS))))


def found(fate=Fate.FAILS, *, ended=True, anomalies=(), faults=()):
    return line.result(unit(fate), ended=ended, anomalies=anomalies, faults=faults, first_tick=1000)


ANOMALY = {"first_tick": 1129, "detector": "forest:stand-v1", "signal": "CoreSpeed", "confidence": 0.9995}
FAULT = {"detected_tick": 1119, "code": "EXHAUST_HOT"}


def test_a_verdict_is_what_is_stored_of_a_unit():
    assert found(Fate.LEAVES).verdict == "pass"
    assert found(ended=False, anomalies=[ANOMALY]).verdict == "testing"
    held = found(anomalies=[ANOMALY])
    assert (held.verdict, held.flagged_cycle, held.lead, held.confidence) == ("hold", 130, 70, 0.9995)
    assert held.why == "stand-v1: CoreSpeed"
    earlier = found(anomalies=[ANOMALY], faults=[FAULT])
    assert (earlier.flagged_cycle, earlier.why, earlier.confidence) == (120, "EXHAUST_HOT", None)


def test_the_line_is_summed_up_without_its_references():
    results = [
        found(anomalies=[ANOMALY]),
        found(),
        found(anomalies=[ANOMALY | {"first_tick": 1005}]),
        found(Fate.LEAVES),
        found(Fate.LEAVES, faults=[FAULT]),
        found(Fate.REFERENCE, faults=[FAULT]),
        found(Fate.LEAVES, ended=False),
    ]
    summed = line.summary(results)
    assert (summed["units"], summed["passed"], summed["held"], summed["testing"]) == (7, 2, 3, 1)
    assert summed["yield"] == pytest.approx(0.4)
    assert (summed["failing"], summed["failing_flagged_before"], summed["failing_flagged_too_early"]) == (
        3,
        1,
        1,
    )
    assert (summed["leaving_healthy"], summed["healthy_held"]) == (3, 1)
    assert summed["lead_cycles_median"] == 70
    assert line.summary([])["yield"] is None


def test_all_units_have_one_dbc_and_a_log_with_every_cycle(tmp_path):
    units = made_up()[:4]
    path = line.write_logs(units, tmp_path)
    loaded = dbc.load(path)
    assert {signal.name for message in loaded.messages for signal in message.signals} == {
        one.name for one in SENSORS
    }
    for one in units:
        frames = load_recording(open_log(tmp_path / f"{one.name}.log")).frames
        assert len(frames) == len(one.values) * len(loaded.messages)


def test_settings_are_taken_by_those_whom_they_are_for(tmp_path):
    units = made_up()[:2]
    line.write_logs(units, tmp_path)
    (tmp_path / "rules.toml").write_text(line.RULES)
    text = line.collector_settings(tmp_path / "c.db", tmp_path / "rules.toml", tmp_path / "m.forest")
    (tmp_path / "c.toml").write_text(text)
    config = collector_config(tmp_path / "c.toml", {}, {})
    assert (config.detectors.zscore, config.detectors.models) == (False, (str(tmp_path / "m.forest"),))
    names = {name for rule in load_rules(Path(config.rules)).rules for name in rule.signals}
    assert names <= {one.name for one in SENSORS}
    (tmp_path / "a.toml").write_text(line.agent_settings(units[1], tmp_path, "127.0.0.1:1", 0.0, 5.0))
    assert tomllib.loads((tmp_path / "a.toml").read_text())["vehicle"]["id"] == "asset:unit-002"
    plan, _ = make_plan(agent_config(tmp_path / "a.toml", {}))
    assert plan.schema.rate_hz == 1
    assert [signal.threshold for signal in plan.schema.signals] == [0.0] * len(SENSORS)


def test_what_is_usual_is_learnt_from_references_alone():
    units = made_up()
    forest = line.learn(units, "2026-01-01T00:00:00.000Z")
    assert set(forest.header.vehicles) == {one.vehicle for one in units if one.fate is Fate.REFERENCE}
    moving = [at for at, one in enumerate(SENSORS) if one.name in forest.signals]
    worn = np.array([one.values[-10:, moving].mean(axis=0) for one in units if one.fate is Fate.FAILS])
    assert (forest.judge(worn).confidence > 0.999).mean() > 0.9
