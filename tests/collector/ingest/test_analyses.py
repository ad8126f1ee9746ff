"""Diagnoses, battery health and vehicle health in a real store: written with the block, alike after restarts, marked where wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import importer
from collector.diagnosis import load_catalogue
from collector.ingest.analyses import Analyses
from collector.ingest.ingest import Ingest
from collector.items import Beat, Farewell
from collector.store import open_store
from collector.store.health import battery_health_of, diagnoses_of, vehicle_health_of
from collector.store.ledger import StoreLedger
from tests.collector.vehicle import Bench, Vehicle

REPLAY = Path(__file__).resolve().parents[3] / "replay_logs"
CATALOGUE = load_catalogue(
    """
[[signature]]
code = "HOT_AND_FAST"
title = "hot and fast"
within_s = 10
[[signature.part]]
name = "hot"
fault = "HOT"
required = true
[[signature.part]]
name = "fast"
when = "Speed > 51"
required = true
[[signature.cause]]
cause = "haste"
base = 0.5
evidence = {hot = 3}
action = "slow down"
"""
)


class Analysed(Bench):
    catalogue = CATALOGUE

    def start(self) -> None:
        self.ledger = StoreLedger(self.path)
        self.ingest = Ingest(self.rules, analyses=Analyses(self.catalogue))


@pytest.fixture
def bench(where):
    one = Analysed(where)
    yield one
    one.ledger.close()


@pytest.fixture
def vehicle(bench):
    one = Vehicle()
    bench.take(one.greeting, one.schema, one.run())
    return one


def test_a_diagnosis_is_written_with_the_block_that_shows_it(bench, vehicle):
    bench.take(vehicle.drive(20), vehicle.drive(20, temp=50.0))
    store = open_store(bench.path)
    (row,) = diagnoses_of(store)
    assert (row["signature"], row["cause"], row["action"]) == ("HOT_AND_FAST", "haste", "slow down")
    assert row["confidence"] == 0.75
    assert row["ended_at"] is None
    assert [part["part"] for part in row["evidence"]["seen"]] == ["hot", "fast"]
    assert row["evidence"]["seen"][0]["values"]["Temp"] == pytest.approx(50.0, abs=0.5)
    assert [fault["code"] for fault in store.faults()] == ["HOT"]  # a condition is no fault


def test_it_ends_across_a_restart_where_its_part_was_gone(bench, vehicle):
    bench.take(vehicle.drive(20, temp=50.0))
    (row,) = diagnoses_of(open_store(bench.path))
    assert (row["last_seen_at"], row["ended_at"]) == (None, None)
    bench.take(vehicle.drive(20))
    (row,) = diagnoses_of(open_store(bench.path))
    last_seen_at = row["last_seen_at"]
    assert (last_seen_at, row["ended_at"]) == ("2023-11-14T22:13:22.000Z", None)
    bench.restart()
    bench.take(vehicle.drive(200))
    (row,) = diagnoses_of(open_store(bench.path))
    assert (row["end_reason"], row["last_seen_at"], row["ended_at"]) == (
        "cleared",
        last_seen_at,
        last_seen_at,
    )
    assert diagnoses_of(open_store(bench.path), only_open=True) == []


def test_a_catalogue_that_reads_differently_ends_what_it_found(bench, vehicle):
    bench.take(vehicle.drive(20, temp=50.0))
    bench.catalogue = load_catalogue("")
    bench.restart()
    bench.take(vehicle.drive(20, temp=50.0))
    (row,) = diagnoses_of(open_store(bench.path))
    assert row["end_reason"] == "catalogue changed"
    assert len(open_store(bench.path).faults(only_open=True)) == 1


def test_vehicle_health_has_a_row_for_each_change(bench, vehicle):
    def beat(**health):
        return Beat(vehicle.key, 0, 0, b"", b"", health)

    buses = [{"name": "can0", "state": "up"}]
    bench.take(
        beat(cpu_percent=3.0, buses=buses),
        beat(cpu_percent=9.0, buses=buses),
        beat(buses=[{"name": "can0", "state": "bus_off", "trouble": "no ack"}]),
        Farewell(vehicle.key, "parked"),
        vehicle.greeting,
    )
    rows = vehicle_health_of(open_store(bench.path), "asset:one")
    assert [(row["state"], row["health"], row["written_by"]) for row in rows] == [
        ("online", "", "greeting"),
        ("online", "can0 up", "heartbeat"),
        ("online", "can0 bus off (no ack)", "heartbeat"),
        ("parked", "can0 bus off (no ack)", "farewell"),
        ("online", "can0 bus off (no ack)", "greeting"),
    ]
    assert {(row["model"], row["firmware_version"]) for row in rows} == {("Model T", "1.0")}
    bench.ledger.nobody_is_online("2030-01-01T00:00:00.000Z")
    newest = vehicle_health_of(open_store(bench.path))[-1]
    assert (newest["state"], newest["at"], newest["written_by"]) == (
        "offline",
        "2030-01-01T00:00:00.000Z",
        "start of the collector",
    )


def found(path):
    store = open_store(path)
    rows = battery_health_of(store) + diagnoses_of(store)
    return [{key: value for key, value in row.items() if key != "id"} for row in rows]


def test_blocks_and_restarts_change_nothing_on_a_real_drive(tmp_path, monkeypatch):
    log, dbc, vin = REPLAY / "drives" / "overheating.log.gz", REPLAY / "car.dbc", "asset:one"
    importer.import_log(log, [dbc], vin, tmp_path / "a.db", lossless=True)
    monkeypatch.setattr(importer, "BLOCK_S", 7)
    monkeypatch.setattr(importer, "GROUP_BATCHES", 1)
    # Nothing stays in memory from one transaction to the next.
    monkeypatch.setattr(importer, "Ingest", lambda *given, **named: Ingest(*given, **named, signals_max=0))
    importer.import_log(log, [dbc], vin, tmp_path / "b.db", lossless=True)
    first, second = found(tmp_path / "a.db"), found(tmp_path / "b.db")
    assert {row.get("kind", row.get("signature")) for row in first} == {
        "COOLANT_FLOW",
        "resistance",
        "ripple",
        "imbalance",
    }
    assert first == second
