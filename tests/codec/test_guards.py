import operator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import SchemaError
from codec.guards import OPERATORS, Guard, GuardSet, limit_interval, schema_intervals
from codec.schema import Kind, Schema, Signal

PYTHON = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
DECIMALS = st.decimals(-1000, 1000, places=2).map(float)


@given(
    st.sampled_from([0.05, 0.1, 1.0, 0.5, -0.1, 3.0]), st.sampled_from([0.0, -40.0, 0.3]),
    st.sampled_from(OPERATORS), DECIMALS, st.lists(st.integers(-30000, 30000), max_size=20),
)  # fmt: skip
def test_a_limit_holds_as_it_would_in_exact_decimals(factor, offset, op, limit, counts):
    signal = Signal("a", factor=factor, offset=offset)
    exact = Fraction(repr(factor)), Fraction(repr(offset)), Fraction(repr(limit))
    near = int((exact[2] - exact[1]) / exact[0])
    counts = np.array([*counts, *range(near - 2, near + 3)], np.int64)
    wanted = [PYTHON[op](int(c) * exact[0] + exact[1], exact[2]) for c in counts]
    assert limit_interval(signal, op, limit).holds(signal, counts).tolist() == wanted


def test_three_counts_of_a_twentieth_are_not_more_than_0_15():
    signal = Signal("a", factor=0.05)
    assert 3 * 0.05 > 0.15
    assert limit_interval(signal, ">", 0.15).holds(signal, np.array([3, 4])).tolist() == [False, True]


@given(st.sampled_from(OPERATORS), st.floats(-100, 100, width=32), st.lists(st.floats(width=32), min_size=1))
def test_float_signals_compare_physical_values_and_nothing_holds_for_nan(op, limit, values):
    signal = Signal("a", kind=Kind.FLOAT32)
    raw = np.array([*values, limit], np.float32)
    wanted = [bool(PYTHON[op](float(v), limit)) and not np.isnan(v) for v in raw]
    counts = raw.view(np.uint32).astype(np.int64)
    assert limit_interval(signal, op, limit).holds(signal, counts).tolist() == wanted


def test_limits_beyond_every_count_hold_always_or_never():
    signal = Signal("a", factor=1e-6)
    assert limit_interval(signal, ">", 1e300).holds(signal, np.array([0, 1 << 40])).tolist() == [False, False]
    assert limit_interval(signal, "<", 1e300).holds(signal, np.array([0, 1 << 40])).tolist() == [True, True]


ROWS = st.lists(
    st.builds(Guard, st.text(min_size=1), st.sampled_from(OPERATORS), DECIMALS, st.floats(0, 60)), max_size=8
)


@given(ROWS)
def test_a_guard_set_is_named_by_its_content_not_its_order(rows):
    guards = GuardSet(tuple(rows))
    assert GuardSet(tuple(reversed(rows))).hash == guards.hash
    assert GuardSet.from_bytes(guards.to_bytes()) == guards
    assert (guards.hash == b"") == (not rows)


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[1]", b'[["a",">","x",0]]', b'[["a","~",1,0]]', b'[["a",">",1e999,0]]']
)
def test_other_bytes_are_no_guard_set(content):
    with pytest.raises(SchemaError):
        GuardSet.from_bytes(content)


def test_guards_on_signals_that_a_vehicle_lacks_are_left_out():
    schema = Schema(50, (Signal("a"), Signal("b")))
    guards = GuardSet((Guard("b", ">", 1), Guard("elsewhere", ">", 1)))
    assert [len(row) for row in schema_intervals(schema, guards)] == [0, 1]
