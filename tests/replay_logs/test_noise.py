from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_logs.noise import Noise, wander


@given(st.integers(0, 2**32), st.text(max_size=8), st.integers(1, 200), st.integers(0, 200))
def test_the_first_samples_do_not_depend_on_how_many_follow(seed, name, count, more):
    assert np.array_equal(Noise(seed, name).normal(count), Noise(seed, name).normal(count + more)[:count])


def test_streams_differ_by_seed_and_name():
    samples = [Noise(seed, name).normal(5).tolist() for seed in (1, 2) for name in ("a", "b")]
    assert len({tuple(row) for row in samples}) == 4


def test_samples_are_the_same_on_every_machine():
    assert Noise(1, "speed").normal(3).tolist() == pytest.approx(
        [-0.9503074782562926, -1.1943792740595258, -0.8788434678770892], abs=0
    )


def test_moments():
    samples = Noise(3, "x").normal(200_000)
    assert samples.mean() == pytest.approx(0, abs=0.01)
    assert samples.std() == pytest.approx(1, abs=0.01)
    assert np.abs(samples).max() < 3.5
    assert 0 <= Noise(3, "x").uniform(1000).min() < Noise(3, "x").uniform(1000).max() < 1


def test_a_walk_wanders_as_far_as_asked():
    walk = np.array(wander(Noise(5, "w").normal(200_000), correlation_steps=50, deviation=2.0))
    assert walk.std() == pytest.approx(2.0, rel=0.1)
    assert np.corrcoef(walk[:-50], walk[50:])[0, 1] == pytest.approx(np.exp(-1), abs=0.06)
