"""Warming up takes the same way as real frames."""

from demo.vehicles import fleet
from demo.warm import RECORDS, warm_up


def test_records_come_through():
    assert RECORDS - 2 <= warm_up(fleet(60)[0].dbcs[0]) <= RECORDS
