from __future__ import annotations

import operator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rules.expression import And, Comparison, Or, Relation
from collector.rules.parser import parse


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2 * x + 1 > 7", "x > 3"),
        ("7 < 1 + x * 2", "x > 3"),
        ("-x > 3", "x < -3"),
        ("10 - 2 * (x - 1) >= 2", "x <= 5"),
        ("x / 4 == 0.25", "x == 1"),
        ("x > 2 * x - 5", "x < 5"),
        ("0.1 * x > 0.3", "x > 3"),  # 0.3 / 0.1 is 2.9999999999999996 in float64
        ("abs(x) > 5", "x > 5 or x < -5"),
        ("5 > abs(2 * x)", "x < 2.5 and x > -2.5"),
        ("abs(x) == 2", "x == 2 or x == -2"),
        ("abs(x) != 2", "x != 2 and x != -2"),
        ("max(x, y) > 5", "x > 5 or y > 5"),
        ("max(x, y + 1) <= 5", "x <= 5 and y <= 4"),
        ("min(x, y) > 5", "x > 5 and y > 5"),
        ("5 >= min(x, y)", "x <= 5 or y <= 5"),
        ("max(abs(x), y) > 5", "(x > 5 or x < -5) or y > 5"),
    ],
)
def test_what_comes_to_comparisons_becomes_them(text, same):
    assert parse(text) == parse(same)
    assert not isinstance(parse(text), Relation)


@pytest.mark.parametrize(
    "text",
    [
        "x + y > 1",
        "x * x > 4",
        "1 / x > 2",
        "3 * x > 1",  # no decimals say a third
        "abs(x) > -1",
        "max(x, y) == 5",
        "max(x, 3) > 2",
        "abs(x) > y",
        "x - x > 1",
        "rate(x, 1s) > 1",
        "x / 1e300 > 1e308",
    ],
)
def test_anything_else_stays_as_it_is(text):
    assert isinstance(parse(text), Relation)


OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne}  # fmt: skip
tenths = st.integers(-60, 60).map(lambda n: Fraction(n, 10))


def holds(condition, x):
    match condition:
        case Comparison(_, name, limit):
            return OPERATORS[name](x, Fraction(repr(limit)))
        case And(operands):
            return all(holds(one, x) for one in operands)
        case Or(operands):
            return any(holds(one, x) for one in operands)


@given(tenths, tenths, tenths, tenths, st.sampled_from(sorted(OPERATORS)), st.booleans())
def test_a_reduced_condition_says_the_same_of_every_value(factor, offset, limit, x, name, magnitude):
    """In exact arithmetic: the decimals that were written, and nothing rounded."""
    written = f"{float(factor)!r} * x + {float(offset)!r}"
    condition = parse(f"{'abs' if magnitude else ''}({written}) {name} {float(limit)!r}")
    value = factor * x + offset
    if not isinstance(condition, Relation):
        assert holds(condition, x) == OPERATORS[name](abs(value) if magnitude else value, limit)
