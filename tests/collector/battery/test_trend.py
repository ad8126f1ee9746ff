from __future__ import annotations

import numpy as np
import pytest

from collector.battery.trend import Trend, noted, slope

DAY_NS = 86_400 * 10**9


def test_a_drift_is_told_apart_from_the_load():
    random = np.random.default_rng(1)
    trend = None
    for minute in range(400):
        day, load = minute / 20, float(random.uniform(0, 200))
        trend = noted(trend, int(day * DAY_NS), load, 10 + 0.5 * day + 0.05 * load + random.normal(0, 0.5))
    value, error = slope(trend)
    assert value == pytest.approx(0.5, abs=3 * error)
    assert error < 0.05


def test_the_state_is_what_it_is_after_a_restart():
    trend = noted(noted(None, 0, 1.5, 7.25), DAY_NS // 3, 2.5, 8.125)
    assert Trend.from_json(trend.to_json()) == trend


def test_too_few_minutes_or_no_time_between_them_tell_nothing():
    trend = None
    for _ in range(9):
        trend = noted(trend, DAY_NS, 1.0, 5.0)
    assert slope(trend) is None
    assert slope(noted(trend, DAY_NS, 2.0, 6.0)) is None


def test_an_old_pack_is_forgotten():
    trend = None
    for minute in range(200):
        trend = noted(trend, minute * DAY_NS // 10, 0.0, 100.0 - minute)
    for minute in range(2000):
        trend = noted(trend, (200 + minute) * DAY_NS // 10, 0.0, 5.0)
    value, _ = slope(trend)
    assert abs(value) < 0.05
