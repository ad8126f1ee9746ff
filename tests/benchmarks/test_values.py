"""The judge of all schemes."""

from __future__ import annotations

import numpy as np

from benchmarks.values import Error, from_physical, judge, to_physical, values_of
from tests.benchmarks.drives import runs, schema


def test_what_was_sampled_is_right():
    values = values_of(schema(), runs())
    assert judge(schema(), values, values.copy()) == Error(0.0, 0)


def test_an_error_of_the_bound_passes_and_one_count_more_does_not():
    expected = values_of(schema(), runs()[:1])
    found = expected.copy()
    found[0, 0] += 40
    assert judge(schema(), expected, found) == Error(0.0, 0)
    found[150, 0] += 41
    found[150, 2] += 9
    assert judge(schema(), expected, found) == Error(5.0, 1)


def test_on_a_circle_the_short_way_counts():
    expected = values_of(schema(), runs()[:1])
    found = expected.copy()
    found[:, 1] = (found[:, 1] + 3600 - 50) % 3600
    assert judge(schema(), expected, found) == Error(0.0, 0)


def test_a_value_where_there_was_none_is_out_of_bound_and_so_is_none_where_there_was_one():
    expected = values_of(schema(), runs()[:1])
    found = expected.copy()
    found[0, 2] = 1.0
    found[1, 0] = np.nan
    assert judge(schema(), expected, found).records_out == 2
    assert judge(schema(), expected, found, availability=False).records_out == 1


def test_counts_survive_their_physical_values():
    values = values_of(schema(), runs())
    assert np.array_equal(from_physical(schema(), to_physical(schema(), values)), values, equal_nan=True)
