import pytest
from sqlalchemy import func, select

from collector.store import rowwise, statements
from collector.store.address import address_of
from collector.store.engine import open_engine
from collector.store.tables import rollups, vehicles

PLACE = {"outbox": 1, "stream_no": 0, "tick": 0, "timestamp": "2026-11-21T08:15:30.020Z"}


@pytest.fixture
def connection(where):
    engine = open_engine(address_of(where), write=True)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_defaults_of_columns_that_rows_lack_are_written(connection):
    rows = [
        {
            "vin": f"asset:{number}",
            "state": "online",
            "first_seen": PLACE["timestamp"],
            "last_seen": PLACE["timestamp"],
        }
        for number in range(3)
    ]
    rowwise.execute(connection, statements.insert_new(connection.dialect.name, vehicles), rows)
    found = connection.execute(
        select(vehicles.c.vin, vehicles.c.model, vehicles.c.first_seen).order_by("vin")
    ).all()
    assert found == [(row["vin"], "", row["first_seen"]) for row in rows]


def test_constants_of_a_statement_stay_what_they_are(connection):
    """A text that is empty leaves what is there: the empty text is a parameter of the statement."""
    statement = statements.changes(connection.dialect.name)["vehicles"]
    row = {
        "vin": "asset:one", "model": "T", "firmware_version": "1", "agent_version": "1", "state": "online",
        "first_seen": PLACE["timestamp"], "last_seen": PLACE["timestamp"],
    }  # fmt: skip
    rowwise.execute(connection, statement, [row])
    rowwise.execute(connection, statement, [{**row, "model": ""}])
    assert connection.execute(select(vehicles.c.model)).scalar_one() == "T"


def test_it_says_how_many_rows_it_met(connection):
    rows = [
        {**PLACE, "vin": "asset:one", "signal": name, "min": 0.0, "max": 1.0, "mean": 0.5, "count": 2}
        for name in "abc"
    ]
    rowwise.execute(connection, statements.changes(connection.dialect.name)["rollups"], rows)
    assert connection.execute(select(func.count()).select_from(rollups)).scalar_one() == 3
    gone = [
        {"of_vin": "asset:one", "of_outbox": 1, "of_stream_no": 0, "of_tick": 0, "of_signal": name}
        for name in "abd"
    ]
    assert rowwise.execute(connection, statements.changes(connection.dialect.name)["rollups_gone"], gone) == 2
