"""Our stream, by the decoder that a collector uses."""

from __future__ import annotations

import pytest

from benchmarks.codec import cut
from benchmarks.schemes.ours import deadreckon
from benchmarks.values import judge, values_of
from codec.stream import is_keyframe
from codec.training import train
from tests.benchmarks.drives import TICK, runs, schema


@pytest.mark.parametrize("share", [1.0, 0.1, 0.0])
@pytest.mark.parametrize("trained", [False, True])
def test_every_value_is_within_its_bound(share, trained):
    other = [(schema(share), run) for run in runs(seed=2)]
    scheme = deadreckon(TICK, train(other) if trained else None)
    blocks = cut(runs(), 500)
    found = scheme.decode(schema(share), scheme.encode(schema(share), blocks))
    assert judge(schema(share), values_of(schema(share), blocks), found).records_out == 0


def test_a_keyframe_every_30_seconds_of_records():
    blocks = cut(runs(), 50)
    contents = deadreckon(TICK).encode(schema(), blocks)
    assert [at for at, content in enumerate(contents) if is_keyframe(content)] == [0, 30]
