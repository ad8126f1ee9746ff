from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.stream import Clock
from collector import times
from collector.__main__ import main
from collector.config import Config, ConfigError
from collector.items import Beat, Farewell
from collector.sentinel import Finding, Limits, findings
from collector.store import open_store
from collector.writer import commit
from tests.collector.vehicle import NOW_NS, START_TICK

LIMITS = Limits.of(Config())
HOUR = 3600 * times.NS
TEXT = times.to_text


def vehicle(vin="V1", *, seen_h=0.0, state="online", agent="0.1", **health):
    seen = TEXT(NOW_NS - round(seen_h * HOUR))
    return {
        "vin": vin,
        "state": state,
        "last_seen": seen,
        "agent_version": agent,
        "heartbeat": {"health": health},
    }


def fault(severity="CRITICAL", age_h=0.0, vin="V1", by=None):
    started = TEXT(NOW_NS - round(age_h * HOUR))
    return {
        "vin": vin,
        "severity": severity,
        "code": "HOT",
        "description": "hot",
        "started_at": started,
        "acknowledged_by": by,
    }


def gap(age_h=0.0, records=7, reason="quota", vin="V1"):
    return {"vin": vin, "records": records, "reason": reason, "noted_at": TEXT(NOW_NS - round(age_h * HOUR))}


def kinds(vehicles=(), faults=(), gaps=(), newest=None, limits=LIMITS):
    return [one.kind for one in findings(vehicles, faults, gaps, newest or {}, limits, NOW_NS)]


def test_nothing_is_found_where_all_is_well():
    assert kinds([vehicle(), vehicle("V2", state="parked", seen_h=900)], newest={"V1": NOW_NS}) == []


def test_a_critical_fault_counts_at_once_and_any_other_after_a_while():
    assert kinds(faults=[fault("CRITICAL")]) == ["fault"]
    assert kinds(faults=[fault("WARNING", 23)]) == []
    assert kinds(faults=[fault("WARNING", 25)]) == ["fault"]
    (found,) = findings([], [fault("INFO", 72)], [], {}, LIMITS, NOW_NS)
    assert found == Finding("fault", "V1", "INFO", TEXT(NOW_NS - 72 * HOUR), "HOT: hot; open for 3 days")


def test_what_somebody_acknowledged_is_no_news():
    (found,) = findings([], [fault(by="ann")], [], {}, LIMITS, NOW_NS)
    assert found.acknowledged
    assert found.what.endswith("; acknowledged by ann")


def test_a_vehicle_falls_silent_unless_it_is_parked_or_never_spoke():
    assert kinds([vehicle(seen_h=25, state="offline")]) == ["silent"]
    assert kinds([vehicle(seen_h=23, state="offline")]) == []
    assert kinds([vehicle(seen_h=25, state="parked")]) == []
    assert kinds([vehicle(seen_h=25, state="offline", agent="") | {"heartbeat": None}]) == []


def test_a_vehicle_lags_by_what_is_stored_or_by_what_waits():
    assert kinds([vehicle()], newest={"V1": NOW_NS - HOUR}) == ["lag"]
    assert kinds([vehicle()], newest={"V1": NOW_NS - HOUR // 6}) == []
    assert kinds([vehicle(outbox_oldest_s=1000.0, outbox_batches=3)], newest={"V1": NOW_NS}) == ["lag"]
    assert kinds([vehicle(state="offline")], newest={"V1": NOW_NS - HOUR}) == []
    (found,) = findings([vehicle(outbox_oldest_s=7200.0, outbox_batches=1200)], [], [], {}, LIMITS, NOW_NS)
    assert "1,200 batches wait on the vehicle, the oldest for 2 h" in found.what


def test_a_vehicle_of_which_nothing_waits_has_a_wrong_clock_or_plays_a_log():
    (found,) = findings([vehicle()], [], [], {"V1": NOW_NS - 4 * 8766 * HOUR}, LIMITS, NOW_NS)
    assert found.what == (
        "what is stored ends 4 years before it was last heard of, and nothing waits on it: its clock is wrong, or its bus "
        "plays a recorded log"
    )


def test_new_gaps_of_a_vehicle_are_one_finding():
    new = [gap(1), gap(2, records=None, reason="outbox_lost"), gap(30), gap(3, vin="V2")]
    one, two = findings([], [], new, {}, LIMITS, NOW_NS)
    assert one.what == "2 gaps (outbox_lost, quota): 7 records are lost and nobody knows how many more"
    assert one.since == TEXT(NOW_NS - 2 * HOUR)
    assert (two.vin, two.what) == ("V2", "a gap (quota): 7 records are lost")


@given(st.lists(st.sampled_from([0.0, 1.0, 30.0, 9000.0]), max_size=6), st.sampled_from([0.0, 86400.0, 1e8]))
def test_a_longer_limit_never_finds_more(ages, limit_s):
    rows = [vehicle(f"V{n}", seen_h=age, state="offline") for n, age in enumerate(ages)]
    faults = [fault("WARNING", age) for age in ages]
    tight = replace(LIMITS, silent_s=limit_s, fault_s=limit_s)
    loose = replace(tight, silent_s=limit_s * 2 + 1, fault_s=limit_s * 2 + 1)
    assert set(kinds(rows, faults, limits=loose)) <= set(kinds(rows, faults, limits=tight))
    assert len(kinds(rows, faults, limits=loose)) <= len(kinds(rows, faults, limits=tight))


# The command, on a real store


@pytest.fixture
def look(bench, capsys):
    def run(*arguments, status):
        assert main(["sentinel", "--store", str(bench.path), *arguments]) == status
        told = capsys.readouterr()
        return told.err if status == 2 else told.out

    return run


def test_exit_status_says_whether_something_was_found(bench, connected, look):
    def take(item):
        commit(bench.ledger, bench.ingest, [item], time.time_ns())

    take(connected.greeting)
    assert "nothing found" in look("--lag-s", "1e8", status=0)
    take(connected.drive(20))
    found = json.loads(look("--format", "json", status=1))["findings"]
    assert [one["kind"] for one in found] == ["lag"]
    assert found[0]["since"] == TEXT((START_TICK + 19) * 100_000_000)
    take(connected.drive(10, temp=46.0))
    assert "HOT" in look("--lag-s", "1e8", status=1)
    take(Beat(connected.key, 0, 0, b"", b"", {"outbox_oldest_s": 5000.0, "outbox_batches": 9}))
    take(connected.drive(10, temp=20.0))
    take(Farewell(connected.key, "parked"))
    assert "nothing found" in look("--silent-s", "0", status=0)


def test_a_store_that_is_missing_or_a_limit_that_is_none_is_no_finding(look, tmp_path, capsys):
    assert main(["sentinel", "--store", str(tmp_path / "none.db")]) == 2
    assert "there is no store" in capsys.readouterr().err
    assert "must be 0 to" in look("--gap-s", "-1", status=2)


def test_an_acknowledged_fault_is_left_out_and_shown_on_demand(bench, connected, look):
    commit(bench.ledger, bench.ingest, [connected.greeting, connected.drive(10, temp=50.0)], time.time_ns())
    quiet = ("--lag-s", "1e8")
    assert "HOT" in look(*quiet, status=1)
    (row,) = open_store(bench.path).faults()
    assert main(["faults", "ack", str(row["id"]), "--by", "ann", "--store", str(bench.path)]) == 0
    said = look(*quiet, status=0)
    assert "nothing found" in said
    assert "1 acknowledged fault left out; --all shows them" in said
    assert "acknowledged by ann" in look(*quiet, "--all", status=0)
    (found,) = json.loads(look(*quiet, "--all", "--format", "json", status=0))["findings"]
    assert found["acknowledged"]


def test_limits_come_from_the_collectors_file(bench, connected, tmp_path, capsys):
    commit(bench.ledger, bench.ingest, [connected.greeting, connected.drive(10)], time.time_ns())
    file = tmp_path / "collector.toml"
    for limit, status in (("900.0", 1), ("1e8", 0), ("1e9", 2)):
        file.write_text(f'store = "{bench.path}"\nsentinel_lag_s = {limit}\n')
        assert main(["sentinel", "--config", str(file)]) == status
    assert "sentinel_lag_s: 1e+09: must be 0 to" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="sentinel_severity"):
        Config(sentinel_severity="BAD")


def test_the_newest_record_of_a_vehicle_whose_clock_was_set(bench, vehicle):
    bench.take(
        vehicle.greeting, vehicle.schema, vehicle.run(clock=Clock(7, synchronised=True)), vehicle.drive(10)
    )
    assert open_store(bench.path).newest_ns() == {"asset:one": (START_TICK + 9) * 100_000_000 + 7}
    bench.take(vehicle.run(clock=Clock(-5, synchronised=False)))
    assert open_store(bench.path).newest_ns() == {"asset:one": (START_TICK + 9) * 100_000_000 + 7}


def test_its_unit_is_hardened_as_the_collectors():
    units = Path(__file__).parents[2] / "systemd"
    service, collector = (
        {
            line
            for line in (units / f"{name}.service").read_text().splitlines()
            if "=" in line and line[0] != "#"
        }
        for name in ("collector-sentinel", "collector")
    )
    own = (
        "Description",
        "After",
        "Type",
        "ExecStart",
        "Restart",
        "Timeout",
        "CacheDirectory",
        "Environment=",
        "WantedBy",
    )
    assert {line for line in collector - service if not line.startswith(own)} == set()
    assert "Unit" not in (units / "collector-sentinel.timer").read_text().replace("[Unit]", "")
