"""`collector diagnosis` on the drives that are shipped, from the log to what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.__main__ import main
from collector.diagnosis import DEFAULT_CATALOGUE
from collector.importer import import_log

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
