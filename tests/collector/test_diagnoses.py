"""`collector diagnosis` on the drives that are shipped, from the log to what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collector import times
from collector.__main__ import main
from collector.diagnosis import DEFAULT_CATALOGUE
from collector.importer import import_log
from collector.store import open_store

REPLAY = Path(__file__).resolve().parent.parent.parent / "replay_logs"
VIN = "5YJ3E1EA7KF000001"


def stored(tmp_path, drive):
    store = tmp_path / "s.db"
    import_log(REPLAY / "drives" / f"{drive}.log.gz", [REPLAY / "car.dbc"], VIN, store)
    return store


@pytest.mark.parametrize("drive", ["city", "highway", "charging"])
def test_healthy_drives_have_none(tmp_path, capsys, drive):
    store = stored(tmp_path, drive)
    assert main(["diagnosis", "explain", "--vin", VIN, "--store", str(store)]) == 0
    printed = capsys.readouterr().out
    assert "0 diagnoses" in printed
    assert "no COOLANT_FLOW: battery-hot is required and did not hold (fault BATTERY_OVERTEMP)" in printed


def test_the_overheating_drive_has_lost_its_coolant_flow(tmp_path, capsys):
    store = stored(tmp_path, "overheating")
    assert main(["diagnosis", "explain", "--vin", VIN, "--store", str(store)]) == 0
    printed = capsys.readouterr().out
    assert "1 diagnosis" in printed
    causes = printed.partition("COOLANT_FLOW from")[2].splitlines()[1:]
    assert causes[0].startswith("  0.71  Battery coolant flow lost or low")


def test_a_drive_that_ends_soon_after_its_faults_leaves_its_diagnoses_open_and_says_when_they_were_last_seen(
    tmp_path, capsys
):
    store = stored(tmp_path, "aggressive")
    assert main(["query", "diagnoses", "--open", "--format", "json", "--store", str(store)]) == 0
    motor, supply = json.loads(capsys.readouterr().out)
    ended = {row["code"]: row["ended_at"] for row in open_store(store).faults()}
    assert (motor["signature"], supply["signature"]) == ("MOTOR_HEAT", "SUPPLY_12V")
    for row, code in ((motor, "MOTOR_OVERTEMP"), (supply, "LOW_12V")):
        gap_s = times.from_text(row["last_seen_at"], 0) - times.from_text(ended[code], 0)
        assert gap_s == 20_000_000  # the tick after
    assert main(["diagnosis", "explain", "--vin", VIN, "--store", str(store)]) == 0
    assert (
        "still open at the end, which comes less than 300 s after it was last seen" in capsys.readouterr().out
    )


def test_check(tmp_path, capsys):
    assert main(["diagnosis", "check", "--dbc", str(REPLAY / "car.dbc")]) == 0
    assert "8 signatures" in capsys.readouterr().out
    mine = tmp_path / "mine.toml"
    mine.write_text(DEFAULT_CATALOGUE.read_text().replace('"LOW_12V"', '"LOW_12"'))
    assert main(["diagnosis", "check", str(mine)]) == 1
    assert (
        f"{mine}: signature CONTACTOR_ISOLATION, part supply-was-low, fault: no rule LOW_12; did you mean LOW_12V?"
        in (capsys.readouterr().err)
    )
    mine.write_text("[[signature]]\ncode = 3")
    assert main(["diagnosis", "check", str(mine)]) == 1
    assert "code: must be a text in quotes, not 3" in capsys.readouterr().err
