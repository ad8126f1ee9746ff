from __future__ import annotations

import numpy as np
import pytest

from demo.stand_units import FAILS_AFTER, SENSORS, SHORT, UNITS, Fate, from_cmapss, made_up
from tests.data_folder import recording


def fates(units):
    return {fate: sum(unit.fate is fate for unit in units) for fate in Fate}


def test_made_up_units_wear_until_they_fail_or_leave_before_that():
    units = made_up()
    assert fates(units) == {Fate.REFERENCE: 20, Fate.LEAVES: 40, Fate.FAILS: 40}
    assert len({unit.vehicle for unit in units}) == UNITS
    for unit in units:
        assert unit.values.shape[1] == len(SENSORS)
        assert len(unit.values) == SHORT or unit.fate is Fate.FAILS
    failing = [unit for unit in units if unit.fate is Fate.FAILS]
    assert all(FAILS_AFTER[0] <= len(unit.values) < FAILS_AFTER[1] for unit in failing)
    hot = next(at for at, one in enumerate(SENSORS) if one.name == "LptOutletTemp")
    for unit in failing:
        assert unit.values[-10:, hot].mean() > unit.values[:30, hot].mean() + 15


def test_the_same_seed_makes_the_same_units():
    np.testing.assert_array_equal(made_up(3)[7].values, made_up(3)[7].values)


def test_engines_of_the_data_folder_are_tested_as_they_are():
    units = from_cmapss(recording("cmapss/train_FD001.txt").read_text())
    assert fates(units) == {Fate.REFERENCE: 20, Fate.LEAVES: 40, Fate.FAILS: 40}
    assert units[1].values[0, :4] == pytest.approx([518.67, 641.89, 1583.84, 1391.28])


def test_a_file_of_something_else_is_refused():
    with pytest.raises(ValueError, match="columns"):
        from_cmapss("1 2 3\n4 5 6\n")
