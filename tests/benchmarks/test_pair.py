"""What grows is told from what breathes."""

from __future__ import annotations

import pytest

from benchmarks.pair import RSS_GROWTH_MAX, Growth, Sample

MB = 1 << 20


def samples(rss, fds=lambda _: 20) -> list[Sample]:
    return [Sample(float(at), rss(at), fds(at), 0.0) for at in range(90)]


def test_warming_up_and_breathing_are_flat():
    growth = Growth.of(samples(lambda at: min(at, 20) * 5 * MB + at % 7 * MB))
    assert growth.flat
    assert growth.rss_bytes_max == 106 * MB


def test_memory_that_goes_on_growing_is_not():
    growth = Growth.of(samples(lambda at: at * MB))
    assert growth.rss_bytes > RSS_GROWTH_MAX
    assert not growth.flat


def test_descriptors_that_leak_are_not():
    assert not Growth.of(samples(lambda _: 50 * MB, lambda at: 20 + at // 10)).flat


def test_too_few_samples_are_no_verdict():
    with pytest.raises(ValueError, match="tell nothing"):
        Growth.of(samples(lambda _: MB)[:5])
