from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import times


def test_times_are_utc_with_milliseconds():
    assert times.to_text(1_795_249_730_020_999_999) == "2026-11-21T08:28:50.020Z"
    assert times.to_text(-1) == "1969-12-31T23:59:59.999Z"


@given(
    st.integers(times.EARLIEST_NS, times.LATEST_NS - 1), st.integers(times.EARLIEST_NS, times.LATEST_NS - 1)
)
def test_they_sort_as_text_and_come_back_to_the_millisecond(a, b):
    assert (times.to_text(a) <= times.to_text(b)) == (a // 1_000_000 <= b // 1_000_000)
    assert times.from_text(times.to_text(a), 0) == a // 1_000_000 * 1_000_000


def test_a_clock_that_was_never_set_has_a_time_all_the_same():
    assert times.to_text(-(1 << 90)) == "0001-01-01T00:00:00.000Z"
    assert times.to_text(1 << 90).startswith("9999-12-31T23:59:59")


def test_times_can_be_written_shorter_or_as_ago():
    now_ns = 10**18
    assert times.from_text("-15m", now_ns) == now_ns - 900 * 10**9
    assert times.from_text("-1.5h", now_ns) == now_ns - 5400 * 10**9
    assert times.from_text("2026-11-21", 0) == times.from_text("2026-11-21T01:00:00+01:00", 0)


def test_what_is_no_time_is_told_what_one_is():
    with pytest.raises(ValueError, match="write 2026-"):
        times.from_text("yesterday", 0)
