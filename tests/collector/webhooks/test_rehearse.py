"""The same plan as the sender's, told by a clock that runs as fast as it likes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, time

from hypothesis import given
from hypothesis import strategies as st

from collector.webhooks.rehearse import rehearse
from collector.webhooks.targets import Silence
from tests.collector.webhooks.samples import NOW, NS, TARGET, notice

MINUTE, HOUR = 60 * NS, 3600 * NS
# NOW is 07:15:30.
MORNING = Silence(frozenset(range(7)), time(7), time(9), UTC, frozenset({"CRITICAL"}), ("*",), ("*",))


def test_notices_go_together_and_no_more_often_than_is_allowed():
    target = replace(TARGET, group_s=5.0, per_minute=2)
    burst = [notice(k, noted_ns=NOW + k * NS) for k in range(1, 19)]
    told = rehearse(target, burst, NOW + HOUR)
    assert (told.deliveries, told.notices) == (3, {"opened": 18})  # after 6 s, 12 s and 66 s


def test_a_silence_holds_back_and_what_is_over_when_it_ends_is_not_told():
    target = replace(TARGET, silences=(MORNING,))
    notices = [
        notice(1, noted_ns=NOW, page="a"),
        notice(2, "closed", noted_ns=NOW + MINUTE, page="a"),
        notice(3, noted_ns=NOW + 2 * MINUTE, page="b"),
    ]
    told = rehearse(target, notices, NOW + 3 * HOUR)
    assert (told.deliveries, told.notices, told.wanted, told.held) == (1, {"opened": 1}, 3, 0)
    told = rehearse(target, notices, NOW + HOUR)
    assert (told.deliveries, told.held) == (0, 3)


def test_nothing_is_told_of_nothing():
    assert rehearse(TARGET, [], NOW).deliveries == 0


@given(
    st.lists(st.integers(0, 7200), max_size=30),
    st.floats(0, 60),
    st.integers(1, 5),
    st.booleans(),
)
def test_everything_that_is_wanted_is_told_or_held(seconds, group_s, per_minute, silent):
    silences = (MORNING,) if silent else ()
    target = replace(TARGET, group_s=group_s, per_minute=per_minute, silences=silences)
    notices = [notice(k, noted_ns=NOW + at * NS) for k, at in enumerate(sorted(seconds), 1)]
    told = rehearse(target, notices, NOW + 3 * HOUR)
    assert sum(told.notices.values()) + told.held == told.wanted == len(notices)
    assert told.held == 0
    assert told.deliveries <= len(notices)
