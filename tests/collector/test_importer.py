from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from collector.importer import ImportRefused, import_log, too_old
from collector.rules import evaluate_all, load_rules
from collector.store import open_store
from collector.times import NS

ROOT = Path(__file__).resolve().parent.parent.parent
DBC = """VERSION ""
BS_:
BU_: ECU
BO_ 256 Battery: 8 ECU
 SG_ BatteryTempMax : 0|16@1- (0.1,0) [-40|120] "degC" ECU
 SG_ Current : 16|16@1- (0.1,0) [-500|500] "A" ECU
"""
START_S = 1_700_000_000


@pytest.fixture
def log(tmp_path):
    """A minute at 10 frames a second; the battery warms from 40 to 46 degC."""
    lines = []
    for number in range(600):
        temp = 400 + number // 10
        data = (
            temp.to_bytes(2, "little", signed=True)
            + ((number % 50) * 10).to_bytes(2, "little", signed=True)
            + bytes(4)
        )
        lines.append(f"({START_S + number / 10:.6f}) can0 100#{data.hex().upper()}\n")
    (tmp_path / "drive.log").write_text("".join(lines))
    (tmp_path / "car.dbc").write_text(DBC)
    return tmp_path / "drive.log"


def take(log, **options):
    return import_log(log, [log.with_name("car.dbc")], "asset:one", log.with_name("s.db"), **options)


def test_a_log_goes_in_as_if_its_vehicle_had_sent_it(log):
    imported = take(log, model="Recorded")
    store = open_store(log.with_name("s.db"))
    (row,) = store.vehicles()
    assert (row["model"], row["state"], row["records"]) == ("Recorded", "offline", imported.records)
    assert imported.records == pytest.approx(59.9 * 50, abs=2)
    (fault,) = store.faults()
    assert (fault["code"], fault["approximate"], fault["late"]) == ("BATTERY_OVERTEMP", False, True)
    assert fault["detected_at"] == "2023-11-14T22:14:11.000Z"


def test_that_rows_of_an_old_log_will_not_be_kept_is_said(log):
    (said,) = [one for one in take(log).warnings if "keep_rows_days" in one]
    assert "its records are of 2023-11-14: `collector serve` deletes rows" in said
    now_ns = 1_700_000_000 * NS
    assert too_old(now_ns - 364 * 86_400 * NS, now_ns) == ()


def test_the_same_log_is_taken_once(log):
    first = take(log)
    again = take(log)
    assert (first.batches_new, again.batches_new) == (first.batches, 0)
    assert len(list(open_store(log.with_name("s.db")).runs("asset:one"))) == first.batches


def test_an_import_that_was_cut_short_goes_on(log, monkeypatch):
    monkeypatch.setattr("collector.importer.GROUP_BATCHES", 2)
    from collector import importer

    commit, count = importer.commit, iter(range(4))

    def cut(*arguments):
        if next(count, None) is None:
            raise KeyboardInterrupt
        return commit(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(importer, "commit", cut)
        with pytest.raises(KeyboardInterrupt):
            take(log)
    partly = sum(len(run.records) for run in open_store(log.with_name("s.db")).runs("asset:one"))
    imported = take(log)
    runs = list(open_store(log.with_name("s.db")).runs("asset:one"))
    assert 0 < partly < imported.records == sum(len(run.records) for run in runs)
    assert [a.records.end_tick for a in runs[:-1]] == [b.records.first_tick for b in runs[1:]]


def test_lossless_is_lossless_and_verdicts_are_the_same(log):
    take(log, lossless=True)
    runs = [(0, run.records) for run in open_store(log.with_name("s.db")).runs("asset:one")]
    schema = open_store(log.with_name("s.db")).streams()[0].schema
    assert {signal.threshold for signal in schema.signals} == {0.0}
    temps = np.concatenate([records.counts[:, schema.index("BatteryTempMax")] for _, records in runs])
    assert set(temps) == set(range(400, 460))
    assert [span.code for span in evaluate_all(load_rules(), schema, runs)] == ["BATTERY_OVERTEMP"]


@pytest.mark.parametrize("what", ["vin", "log", "dbc", "match"])
def test_what_cannot_be_taken_is_said(log, what):
    arguments = {"log": log, "dbc": log.with_name("car.dbc"), "vin": "asset:one"}
    other = log.with_name("other")
    if what == "vin":
        arguments["vin"] = "NOVIN"
    if what in {"log", "dbc"}:
        other.write_text("nothing of the kind")
        arguments[what] = other
    if what == "match":
        arguments["dbc"].write_text(DBC.replace("256", "257"))
    with pytest.raises(ImportRefused):
        import_log(arguments["log"], [arguments["dbc"]], arguments["vin"], log.with_name("s.db"))
    assert not log.with_name("s.db").exists()


def test_of_more_signals_than_a_schema_holds_the_rest_is_named(log, monkeypatch):
    monkeypatch.setattr("decoder.defaults.SIGNALS_MAX", 1)
    imported = take(log)
    assert imported.records > 0
    assert "2 signals occur, and 1 can be sampled: 1 left out" in imported.warnings[0]


def test_a_stamp_of_the_year_2100_moves_no_record(log):
    lines = log.read_text().splitlines()
    lines[300] = f"(4102444800.000000){lines[300].partition(')')[2]}"
    log.write_text("\n".join(lines) + "\n")
    assert take(log).records == pytest.approx(59.9 * 50, abs=2)
    (fault,) = open_store(log.with_name("s.db")).faults()
    assert fault["detected_at"].startswith("2023-11-14")
