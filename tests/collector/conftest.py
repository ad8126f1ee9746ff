from __future__ import annotations

import pytest

from benchmarks import postgresql
from tests.collector.vehicle import Bench, Vehicle


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    why_not = postgresql.missing()
    if why_not:
        pytest.skip(why_not)
    server = postgresql.Server()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    """Where a store can be made, on each backend."""
    if request.param == "sqlite":
        yield tmp_path / "store.db"
        return
    server = request.getfixturevalue("postgres")
    url = server.database()
    yield url
    server.take_back(url)


@pytest.fixture
def bench(where):
    one = Bench(where)
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
