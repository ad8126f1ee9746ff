from __future__ import annotations

from collector.__main__ import main
from collector.store import open_store


def faults_of(bench):
    return open_store(bench.path).faults()


def test_what_an_operator_says_of_a_fault_stands_beside_it(bench, connected, capsys):
    bench.take(connected.drive(20, temp=50.0))
    (fault,) = faults_of(bench)
    assert (fault["acknowledged_at"], fault["mark"]) == (None, None)
    where = ["--store", str(bench.path)]
    said = ["faults", "ack", str(fault["id"]), "--by", "ann"]
    assert main([*said, *where]) == 0
    assert main([*said, "--mark", "false_alarm", "--note", "sensor, replaced", *where]) == 0
    assert "HOT of asset:one" in capsys.readouterr().out
    bench.take(connected.drive(20, temp=20.0))  # it ends, and what was said stays
    (fault,) = faults_of(bench)
    assert fault["ended_at"] is not None
    assert (fault["acknowledged_by"], fault["mark"], fault["note"]) == (
        "ann",
        "false_alarm",
        "sensor, replaced",
    )


def test_a_fault_that_is_not_there_is_named(bench, capsys):
    assert main(["faults", "ack", "7", "--store", str(bench.path)]) == 1
    assert "there is no fault 7; `collector query faults` shows their ids" in capsys.readouterr().err
