from __future__ import annotations

import pytest

from tests.collector.vehicle import Bench, Vehicle


@pytest.fixture
def bench(tmp_path):
    one = Bench(tmp_path / "store.db")
    yield one
    one.ledger.close()


@pytest.fixture
def vehicle():
    return Vehicle()


@pytest.fixture
def connected(bench, vehicle):
    """A vehicle whose first stream is described."""
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    return vehicle
