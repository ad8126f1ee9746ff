"""Kernels that were compiled ahead decode frames as those that numba compiles."""

from __future__ import annotations

from hypothesis import given

from codec.kernel import kernels_from
from decoder.frames import Frames
from decoder.sampler import Sampler
from decoder.values import BulkDecoder
from tests.decoder.test_sampler import BUS, S, drives, plan


@given(drives())
def test_compiled_ahead_they_give_the_same_bits(compiled, frames):
    def through():
        sampler, bulk = Sampler(plan()), BulkDecoder([BUS])
        sampler.feed(frames)
        for run in sampler.advance((sampler.newest_ns or 0) + 3 * S):
            yield run.first_tick, run.counts.tobytes(), run.states.tobytes()
        values = bulk.decode_values(frames)
        yield values.frame.tobytes(), values.signal.tobytes(), values.value.tobytes()

    with kernels_from(compiled.none):
        by_numba = list(through())
    with kernels_from(compiled.libraries):
        assert list(through()) == by_numba


def test_frames_that_are_views_of_others_are_taken(compiled):
    frames = Frames.from_rows([(k * S // 100, 0, 1 + k % 3, bytes([k])) for k in range(200)])
    decoder = BulkDecoder([BUS])
    found = []
    for libraries in (compiled.none, compiled.libraries):
        with kernels_from(libraries):
            found.append(decoder.decode_values(frames.take(slice(None, None, 3))).value.tolist())
    assert found[0] == found[1]
