from __future__ import annotations

from datetime import UTC, datetime

from collector.reading.rows import Fault, Gap
from collector.store import open_store


def test_faults_and_gaps_have_types(bench, connected):
    bench.take(connected.drive(20), connected.drive(10, temp=46.0))
    connected.drive(10)
    bench.take(connected.gap(2, 2, 40))
    vehicle = open_store(bench.path).vehicle("asset:one")
    (fault,) = vehicle.faults()
    assert isinstance(fault, Fault)
    assert (fault.code, fault.signal, fault.ended_at) == ("HOT", "Temp", None)
    assert fault.started_at == datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC)
    assert fault.evidence["when"] == "Temp > 45"
    assert vehicle.faults(severity="INFO") == []
    assert [(gap.first_seq, gap.records, gap.reason) for gap in vehicle.gaps()] == [(2, 10, "quota")]
    assert isinstance(vehicle.gaps()[0], Gap)
