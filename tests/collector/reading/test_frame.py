from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from collector import open_store
from collector.reading import frame as frames
from collector.reading.frame import units, worded
from collector.reading.signals import QueryError, SignalInfo


@pytest.fixture
def one(bench, connected):
    """20 records, a gap of 10, 10 more."""
    bench.take(connected.drive(20, step=0.1))
    connected.drive(10)
    bench.take(connected.gap(1, 1, 30), connected.drive(10, keyframe=True))
    return open_store(bench.path).vehicle("asset:one")


def test_a_frame_has_utc_times_units_and_nan_in_the_gap(one):
    frame = one.frame(["Temp", "Gear"], "2023-11-14T22:13:20Z", pd.Timestamp("2023-11-14 22:13:24", tz="UTC"))
    assert list(frame.columns) == ["Temp", "Gear"]
    assert frame.index.name == "time"
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert frame.index[0] == pd.Timestamp("2023-11-14T22:13:20Z")
    assert (frame.index[1:] - frame.index[:-1] == pd.Timedelta("100ms")).all()
    assert frame.Temp.isna().sum() == frame.Gear.isna().sum() == 10
    assert frame.attrs["vin"] == "asset:one"
    assert units(frame) == {"Temp": "degC", "Gear": ""}
    assert units(frame[["Temp"]]) == {"Temp": "degC"}
    assert frame.attrs["thresholds"]["Temp"] == 0.5
    assert frame.attrs["time_uncertain"] == []
    assert frame.resample("1s").mean(numeric_only=True).Temp.isna().sum() == 1


def test_a_frame_of_the_whole_vehicle_and_of_one_signal(one):
    assert list(one.frame().columns) == ["Gear", "Speed", "Temp"]
    assert len(one.frame("Speed")) == 40
    assert len(one.frame("Speed", rate_hz=1)) == 4


def test_enumerations_are_categories_words_or_numbers(one):
    gear = one.frame("Gear").Gear
    assert list(gear.cat.categories) == ["P", "D"]
    assert gear.iloc[0] == "D"
    text = one.frame("Gear", words="text").Gear
    assert text.iloc[0] == "D"
    assert text.isna().sum() == 10
    assert one.frame("Gear", words="number").Gear.iloc[0] == 1.0
    with pytest.raises(QueryError, match="category, text, number"):
        one.frame("Gear", words="words")


def test_a_value_without_a_word_is_its_number(monkeypatch):
    info = SignalInfo("Gear", "", 0.0, None, None, "", ((0.0, "P"), (1.5, "D")))
    assert worded(info, np.array([1.5, np.nan, 7.0, 0.0, 0.1])).tolist() == ["D", None, "7", "P", "0.1"]
    assert worded(info, np.array([])).tolist() == []
    found = frames._categories(pd, info, np.array([7.0, 1.5, np.nan, 7.0]))
    assert list(found.categories) == ["P", "D", "7"]
    assert list(found.codes) == [2, 1, -1, 2]


def test_an_empty_range_is_an_empty_frame(one):
    with pytest.warns(
        UserWarning, match="asset:one: no record of that range is stored; stored are 2023-11-14T22"
    ):
        frame = one.frame(["Temp", "Gear"], "2030-01-01")
    assert frame.shape == (0, 2)
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"


def test_more_than_a_notebook_holds_is_refused_in_words(one, monkeypatch):
    monkeypatch.setattr(frames, "FRAME_BYTES_MAX", 100)
    with pytest.raises(QueryError, match="shorter range"):
        one.frame()


def test_without_pandas_it_says_what_to_install(one, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(QueryError, match=r"requirements/reading\.lock"):
        one.frame()


@pytest.mark.parametrize(
    ("vin", "says"), [("asset:on", "did you mean asset:one?"), ("NOBODY", "known are asset:one")]
)
def test_a_vehicle_that_is_not_there_is_said(bench, one, vin, says):
    with pytest.raises(QueryError, match=f"no vehicle {vin}.*{says[:-1]}"):
        open_store(bench.path).vehicle(vin)
