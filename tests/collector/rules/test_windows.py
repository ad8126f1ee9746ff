from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rules import windows

values = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))
columns = st.lists(values, min_size=1, max_size=50).map(lambda one: np.array(one, np.float64))
first_ticks = st.integers(-(1 << 40), 1 << 40)
widths = st.integers(1, 12)


def rolling(column, width, reckon):
    """One window after the other, as anybody would."""
    found = []
    for end in range(1, len(column) + 1):
        part = column[max(0, end - width) : end]
        known = part[~np.isnan(part)]
        full = end >= width and 2 * len(known) >= width
        found.append(reckon(known) if full else np.nan)
    return np.array(found)


@given(columns, first_ticks, widths)
def test_windows_are_what_one_after_the_other_comes_to(column, first_tick, width):
    spread = np.nanmax(np.abs(column), initial=1.0)
    for found, reckon in (
        (windows.mean(column, first_tick, width), np.mean),
        (windows.deviation(column, first_tick, width), np.std),
        (windows.extreme(column, first_tick, width, largest=True), np.max),
        (windows.extreme(column, first_tick, width, largest=False), np.min),
    ):
        np.testing.assert_allclose(found, rolling(column, width, reckon), rtol=1e-9, atol=1e-9 * spread)
    counts = [np.count_nonzero(~np.isnan(column[max(0, i + 1 - width) : i + 1])) for i in range(len(column))]
    assert windows.counted(column, width).tolist() == counts


@given(columns, first_ticks, widths, st.integers(0, 49))
def test_the_same_bits_come_out_however_much_is_known_of_what_was_before(column, first_tick, width, cut):
    cut = min(cut, len(column) - 1)
    for reckon in (windows.mean, windows.deviation):
        whole, rest = reckon(column, first_tick, width), reckon(column[cut:], first_tick + cut, width)
        assert whole[cut + width - 1 :].tobytes() == rest[width - 1 :].tobytes()


def test_a_small_deviation_of_large_values_is_not_lost_in_rounding():
    column = 1e9 + np.tile([0.0, 0.001], 50)
    found = windows.deviation(column, 7, 10)
    assert found[-1] == pytest.approx(0.0005, rel=1e-3)
    assert np.all(np.isnan(found[:9]))


def test_a_change_is_reckoned_over_the_window_and_the_short_way_round_a_circle():
    column = np.array([350.0, 355.0, 2.0, np.nan, 12.0])
    assert windows.change(column, 2).tolist()[2] == -348.0
    assert windows.change(column, 2, 360.0).tolist()[2:3] == [12.0]
    assert np.isnan(windows.change(column, 2, 360.0)[[0, 1, 3]]).all()
