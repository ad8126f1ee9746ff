from __future__ import annotations

import sys

import pytest

from benchmarks.sampled import DRIVES
from collector.dbcs import DbcsUnread, signals_of


def test_signals_have_the_names_that_they_have_in_a_schema():
    found = signals_of([DRIVES / "car.dbc"])
    assert found["VehicleSpeed"].unit == "km/h"
    (message,) = (name.partition(".")[0] for name in found if name.endswith(".VehicleSpeed"))
    assert found[f"{message}.VehicleSpeed"] is found["VehicleSpeed"]


def test_a_dbc_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DbcsUnread, match="no\\.dbc"):
        signals_of([tmp_path / "no.dbc"])


def test_a_collector_without_the_libraries_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cantools", None)
    for name in [name for name in sys.modules if name.startswith(("decoder.dbc", "cantools."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("decoder.dbc", raising=False)
    with pytest.raises(DbcsUnread, match=r"cantools\S* is missing: pip install .*requirements/logs\.lock"):
        signals_of([DRIVES / "car.dbc"])
