from __future__ import annotations

import pytest

from collector.ingest.health import SUMMARY_CHARACTERS_MAX, summary


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({}, ""),
        ({"cpu_percent": 3.0, "rss_bytes": 10, "disk_free_bytes": 10**12}, ""),
        (
            {"buses": [{"name": "can0", "state": "up"}, {"name": "can1", "state": "bus_off"}]},
            "can0 up; can1 bus off",
        ),
        (
            {"buses": [{"name": "can0", "state": "down", "trouble": "no such device"}]},
            "can0 down (no such device)",
        ),
        ({"buses": [{}]}, "? ?"),
        ({"outbox_oldest_s": 601.0, "temperature_c": 95.0}, "backlog; computer hot"),
        ({"disk_free_bytes": 1000}, "disk nearly full"),
        ({"disk_free_bytes": 0}, ""),  # not known
        ({"outboxes_set_aside": 1}, "1 damaged outbox set aside"),
        ({"outboxes_set_aside": 2, "temperature_c": 95.0}, "2 damaged outboxes set aside; computer hot"),
    ],
)
def test_it_says_only_what_stays(health, words):
    assert summary(health) == words


def test_it_is_bounded():
    buses = [{"name": "n" * 100, "state": "up"}] * 50
    assert len(summary({"buses": buses})) == SUMMARY_CHARACTERS_MAX
