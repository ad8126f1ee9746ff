from __future__ import annotations

import csv
import io
import json

import pytest

from collector.__main__ import main
from collector.items import Beat, Farewell
from collector.query import print_table
from tests.collector.vehicle import Vehicle


@pytest.fixture
def ask(bench, connected, capsys):
    """Runs `collector query`; 40 records, of which 10 are too hot, then a gap, then 10 more."""
    bench.take(connected.drive(20), connected.drive(10, temp=46.0), connected.drive(10))
    connected.drive(10)
    bench.take(connected.gap(3, 3, 50), connected.drive(10, keyframe=True))

    def run(*arguments, status=0) -> str:
        assert main(["query", *arguments, "--store", str(bench.path)]) == status
        told = capsys.readouterr()
        return told.err if status else told.out

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_vehicles_faults_gaps_and_streams_in_every_format(ask):
    assert "asset:one" in ask("vehicles")
    assert "HOT" in ask("faults")
    assert json.loads(ask("faults", "--format", "json"))[0]["evidence"]["when"] == "Temp > 45"
    assert [row["records"] for row in rows(ask("gaps", "--format", "csv"))] == ["10"]
    (stream,) = json.loads(ask("streams", "--vin", "asset:one", "--format", "json"))
    assert (stream["records"], stream["began_at"]) == (50, "2023-11-14T22:13:20.000Z")


def test_how_the_buses_of_a_vehicle_are_is_shown(bench, connected, ask):
    assert rows(ask("vehicles", "--format", "csv"))[0]["buses"] == ""
    buses = [{"name": "can0", "state": "up"}, {"name": "can1", "state": "bus_off", "frames_dropped": 1999}]
    bench.take(Beat(connected.key, 0, 0, b"", b"", {"buses": [*buses, {}]}))
    (vehicle,) = rows(ask("vehicles", "--format", "csv"))
    shown = "can0 up, can1 bus off (1,999 frames lost), ? ?"
    assert vehicle["buses"] == shown
    bench.take(Farewell(connected.key, "offline"))
    (vehicle,) = rows(ask("vehicles", "--format", "csv"))
    assert vehicle["buses"] == f"{shown}, when last heard"


def test_a_signal_at_full_rate_over_a_range(ask):
    found = rows(
        ask(
            "signal",
            "Temp",
            "Gear",
            "--from",
            "2023-11-14T22:13:21.900Z",
            "--to",
            "2023-11-14T22:13:22.200Z",
            "--format",
            "csv",
        )
    )
    assert [row["timestamp"][-7:] for row in found] == ["21.900Z", "22.000Z", "22.100Z"]
    assert [float(row["Temp"]) for row in found] == pytest.approx([20, 46, 46], abs=0.5)
    assert {row["Gear"] for row in found} == {"D"}


def test_nothing_is_interpolated_in_a_gap(ask):
    found = [row["timestamp"] for row in rows(ask("signal", "Temp", "--format", "csv"))]
    assert len(found) == 50
    assert not [text for text in found if "22:13:24.000" <= text[11:23] < "22:13:25.000"]


def test_a_rate_thins_out(ask):
    found = json.loads(ask("signal", "Temp", "--rate", "1", "--format", "json"))
    assert [row["timestamp"][-7:] for row in found] == ["20.000Z", "21.000Z", "22.000Z", "23.000Z", "25.000Z"]


def test_without_a_name_signals_are_listed(ask):
    assert [row["signal"] for row in rows(ask("signal", "--format", "csv"))] == ["Gear", "Speed", "Temp"]


def test_what_heartbeats_show_is_marked_as_provisional_and_has_its_time(bench, ask):
    vehicle = Vehicle("asset:two", outbox=2)
    bench.take(vehicle.greeting, vehicle.run())
    backlog = vehicle.drive(temp=46.0, late=True)
    bench.take(vehicle.beat())
    shown = {row["vin"]: row["live_at"] for row in rows(ask("vehicles", "--format", "csv"))}
    assert shown == {"asset:one": "", "asset:two": "2023-11-14T22:13:21.900Z"}
    faults = rows(ask("faults", "--open", "--format", "csv"))
    assert [(row["vin"], row["provisional"], row["started_at"]) for row in faults] == [
        ("asset:two", "True", "")
    ]
    bench.take(backlog)
    assert {row["live_at"] for row in rows(ask("vehicles", "--format", "csv"))} == {""}
    faults = rows(ask("faults", "--open", "--format", "csv"))
    assert [(row["vin"], row["provisional"]) for row in faults] == [("asset:two", "False")]


def test_faults_by_severity(ask):
    assert json.loads(ask("faults", "--severity", "INFO", "--format", "json")) == []
    assert "none are stored" in ask("faults", "--open")


def test_where_there_is_no_fault_it_says_how_to_see_which_rules_fit(bench, connected, capsys):
    bench.take(connected.drive(20))
    assert main(["query", "faults", "--store", str(bench.path)]) == 0
    assert "rules check RULES --store" in capsys.readouterr().err


def test_faults_of_a_range_and_which_range_there_is(bench, ask, capsys):
    assert len(rows(ask("faults", "--from", "2023-11-14T22:13:22Z", "--format", "csv"))) == 1
    assert len(rows(ask("faults", "--from", "2023-11-14", "--to", "2023-11-15", "--format", "csv"))) == 1
    assert ask("faults", "--to", "2023-11-14T22:13:21Z", "--format", "csv").count("\n") == 1
    assert main(["query", "faults", "--from", "-1h", "--store", str(bench.path)]) == 0
    said = capsys.readouterr().err
    assert said == (
        "collector: nothing of that range; of asset:one stored are 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:26.000Z\n"
    )
    assert "is no time" in ask("gaps", "--to", "soon", status=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vehicles", "--vin", "asset:nobody"], "no vehicle asset:nobody"),
        (["signal", "Tmp"], "has no signal Tmp"),
        (["signal", "Temp", "--from", "yesterday"], "is no time"),
        (["signal", "Temp", "--rate", "0"], "must be more than 0"),
        (["streams", "--from", "-1h"], "--from and --to say nothing about streams"),
    ],
)
def test_a_question_without_an_answer_says_what_can_be_asked(ask, arguments, says):
    assert says in ask(*arguments, status=1)


def test_which_vehicle_must_be_said_where_there_are_more(bench, ask):
    bench.take(Vehicle("asset:two", outbox=2).greeting)
    assert "say which vehicle with --vin; known are asset:one, asset:two" in ask("signal", "Temp", status=1)


def test_a_store_that_is_missing_is_named(tmp_path, capsys):
    assert main(["query", "vehicles", "--store", str(tmp_path / "none.db")]) == 1
    assert "there is no store" in capsys.readouterr().err


def test_a_table_has_names_of_signals_as_they_are_written(capsys):
    row = {"timestamp": "2026-11-20T12:00:00.000Z", "pack_v": 123456.789, "Gear": "D"}
    print_table(tuple(row), [row], {"pack_v": "V"})
    assert capsys.readouterr().out.split()[:4] == ["timestamp", "pack_v", "(V)", "Gear"]
    print_table(tuple(row), [row])
    assert "123456.789" in capsys.readouterr().out


def test_a_terminal_that_is_too_narrow_costs_no_column_and_no_end_of_a_vin(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    row = {"vin": "5YJSA1E6XSF004523", "detected_at": "2026-11-20T12:00:00.000Z", "description": "Too hot"}
    print_table(tuple(row), [row])
    said = capsys.readouterr().out
    assert "5YJSA1E6XSF004523" in said
    assert "2026-11-20T12:00:00.000Z" in said
    assert "description" in said


def test_a_time_ago_that_is_beyond_all_numbers_is_an_error_in_words(bench, connected, capsys):
    bench.take(connected.drive())
    far = f"-{'9' * 400}d"
    for command in (["query", "faults"], ["rules", "backtest", "demo", "--vin", "asset:one"]):
        assert main([*command, "--from", far, "--store", str(bench.path)]) == 1
    assert capsys.readouterr().err.count("collector: ") == 2
