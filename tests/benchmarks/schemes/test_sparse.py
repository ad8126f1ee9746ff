"""Send-on-delta keeps its bound. The open loop does not, which is what it is here for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.codec import cut
from benchmarks.schemes import sparse
from benchmarks.values import judge, values_of
from codec.records import Records
from codec.schema import Schema, Signal
from tests.benchmarks.drives import TICK, runs, schema


@pytest.mark.parametrize("share", [1.0, 0.1, 0.0])
def test_send_on_delta_keeps_its_bound(share):
    blocks = cut(runs(), 50)
    found = sparse.decode_send_on_delta(schema(share), sparse.encode_send_on_delta(schema(share), blocks))
    assert judge(schema(share), values_of(schema(share), blocks), found).records_out == 0


def test_the_open_loop_drifts_until_the_next_resync():
    """A speed that rises slowly: the vehicle predicts it well, and the receiver never hears of it."""
    speed = Schema(50, (Signal("Speed", factor=0.05, threshold=2.0),))
    ramp = np.arange(3001, dtype=np.int64)[:, None]
    run = Records(TICK, ramp, np.zeros(ramp.shape, np.uint8))
    contents = sparse.encode_open_loop(speed, [run])
    found = sparse.decode_open_loop(speed, contents)
    error = judge(speed, values_of(speed, [run]), found)
    assert error.beyond_counts == 1499 - 40  # 75 mph after 30 s, where 2 are allowed
    assert found[1500, 0] == 1500
    assert found[3000, 0] == 3000
    assert sum(len(content) > 8 for content in contents) == 3  # nothing but the resyncs


def test_a_zero_is_sent_and_a_hole_is_told():
    values = Schema(50, (Signal("A"),))
    run = Records(TICK, np.array([[5], [0], [0], [0]]), np.array([[0], [0], [2], [0]], np.uint8))
    found = sparse.decode_send_on_delta(values, sparse.encode_send_on_delta(values, [run]))
    assert np.array_equal(found[:, 0], [5, 0, np.nan, 0], equal_nan=True)
