from __future__ import annotations

import json

import pytest

from benchmarks.sampled import DRIVES
from collector.__main__ import main

BAD = '[[rule]]\ncode="A"\nwhen="MotorTmp > 45"\nseverity="INFO"\ndescription="d"\n'


@pytest.fixture
def stored(bench, connected):
    bench.take(*(connected.drive(temp=temp) for temp in (40.0, 46.0, 41.0, 46.0)))
    return bench, connected.key.vehicle


def test_a_sound_file_is_told_rule_by_rule(capsys):
    assert main(["rules", "check", "fleet", "--dbc", str(DRIVES / "car.dbc")]) == 0
    told = capsys.readouterr().out
    assert "BATTERY_LIMIT            CRITICAL  exact; of BatteryTempMax (degC)" in told
    assert (
        "COOLING_WEAK             WARNING   not covered by the guarantee: reckons with InverterTemp" in told
    )
    assert "fleet.toml: 11 rules, 8 of them exact" in told


def test_a_signal_that_is_not_there_is_an_error(capsys, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(BAD)
    assert main(["rules", "check", str(path)]) == 0
    assert "names of signals were not looked at" in capsys.readouterr().out
    assert main(["rules", "check", str(path), "--dbc", str(DRIVES / "car.dbc")]) == 1
    assert f"{path}: rule A: no signal MotorTmp; did you mean MotorTemp?" in capsys.readouterr().err
    path.write_text(BAD.replace("45", ""))
    assert main(["rules", "check", str(path)]) == 1
    assert f"{path}:3:17: rule A, when: expected a signal or a number" in capsys.readouterr().err
    assert main(["rules", "check", str(path), "--dbc", str(tmp_path / "no.dbc")]) == 1


def test_names_may_be_checked_against_a_store(stored, capsys, tmp_path):
    bench, _ = stored
    path = tmp_path / "rules.toml"
    path.write_text(BAD.replace("MotorTmp", "Temp"))
    assert main(["rules", "check", str(path), "--store", str(bench.path)]) == 0
    assert "exact; of Temp (degC)" in capsys.readouterr().out


def test_a_backtest_says_what_each_webhook_would_have_been_told(bench, connected, capsys, tmp_path):
    """Two faults: one that is driven into, one that a backlog brings and ends."""
    temps = ((46.0, False), (41.0, False), (46.0, True), (41.0, True), (20.0, False))
    bench.take(*(connected.drive(temp=temp, late=late) for temp, late in temps))
    hooks = tmp_path / "webhooks.toml"
    hooks.write_text(
        '[[webhook]]\nname = "ops"\nurl = "https://x.example"\n'
        '[[webhook]]\nname = "quiet"\nurl = "https://x.example"\nkinds = ["opened", "closed"]\n'
        '[[webhook.silence]]\nfrom = "22:00"\nto = "23:00"\n'
    )
    asked = ["rules", "backtest", "demo", "--vin", connected.key.vehicle, "--store", str(bench.path)]
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rule]]\ncode="HOT"\nwhen="Temp > 45"\nclear="Temp < 43"\nseverity="CRITICAL"\ndescription="hot"\n'
    )
    asked[2] = str(path)
    assert main([*asked, "--webhooks", str(hooks), "--format", "json"]) == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert (row["opens"], row["paged"], row["both"]) == (2, 1, 2)
    assert "would have paged 1 time (1 CRITICAL) and 1 in digests" in said.err
    assert "paged then: 1 time (1 CRITICAL) and 1 in digests" in said.err  # by the collector itself
    assert "ops would have been told 1 opened and 1 closed and 1 digest, in 2 deliveries" in said.err
    assert "quiet would have been told nothing; 2 were held by a silence at the end" in said.err
    hooks.write_text("[[webhook]]")
    assert main([*asked, "--webhooks", str(hooks)]) == 1


def test_a_backtest_says_what_would_have_been_raised_beside_what_was(stored, capsys, tmp_path):
    bench, vin = stored
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\ncode="HOT"\nwhen="Temp > 40.6"\nseverity="WARNING"\ndescription="d"\n')
    asked = ["rules", "backtest", str(path), "--vin", vin, "--store", str(bench.path), "--format", "json"]
    assert main(asked) == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert (row["code"], row["opens"], row["opened_then"], row["both"]) == ("HOT", 1, 2, 1)
    assert "would have paged 1 time (1 WARNING); paged then: 2 times (2 CRITICAL)" in said.err
    assert "silences, groups and rates of webhooks are not in this" in said.err
    assert main([*asked, "--faults", "--to", "2023-11-14T22:13:22Z"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main([*asked, "--from", "2023-11-14T22:13:27Z", "--faults"]) == 0
    (fault,) = json.loads(capsys.readouterr().out)
    assert (fault["ended_at"], fault["raised_then"], fault["approximate"]) == (None, True, True)
    assert main([*asked, "--from", "yesterday-ish"]) == 1
    assert main([*asked[:4], "asset:nobody", *asked[5:]]) == 1


def test_a_backtest_over_a_range_without_records_says_what_is_stored(stored, capsys):
    bench, vin = stored
    asked = ["rules", "backtest", "demo", "--vin", vin, "--from", "2001-01-01", "--to", "2001-01-02"]
    assert main([*asked, "--store", str(bench.path)]) == 1
    assert (
        f"{vin}: no record of that range is stored; stored are 2023-11-14T22:13:20" in capsys.readouterr().err
    )
