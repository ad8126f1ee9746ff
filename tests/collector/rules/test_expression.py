from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rules.expression import And, Comparison, ExpressionError, Not, Or, comparisons, parse


def test_a_comparison_has_a_signal_and_a_number_in_either_order():
    assert parse("Temp > 45") == Comparison("Temp", ">", 45.0)
    assert parse("45 < Temp") == Comparison("Temp", ">", 45.0)
    assert parse("-1.5e2 >= Temp") == Comparison("Temp", "<=", -150.0)
    assert parse("Temp==45") == Comparison("Temp", "==", 45.0)


def test_names_may_say_message_and_bus():
    assert parse("can0:Battery.Temp > 1") == Comparison("can0:Battery.Temp", ">", 1.0)


def test_and_binds_closer_than_or_and_not_closest():
    a, b, c = (Comparison(name, ">", 1.0) for name in "abc")
    assert parse("a > 1 or b > 1 and c > 1") == Or((a, And((b, c))))
    assert parse("(a > 1 or b > 1) and not c > 1") == And((Or((a, b)), Not(c)))
    assert parse("NOT a > 1 AND b > 1") == And((Not(a), b))


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "expected a signal, found 'the end'"),
        ("Temp", 5, "expected an operator"),
        ("Temp >", 7, "expected a number, found 'the end'"),
        ("Temp = 45", 6, "'=='"),
        ("Temp > Limit", 8, "two signals"),
        ("1 > 2", 5, "two numbers"),
        ("Temp > 45 Speed > 1", 11, "expected 'and'"),
        ("40 < Temp < 45", 11, "join two with 'and'"),
        ("(Temp > 45", 11, "expected ')' for the '(' in column 1"),
        ("Temp > 45)", 10, "found ')'"),
        ("Temp > 45 and", 14, "expected a signal"),
        ("Temp > 45 & x > 1", 11, "'&' has no meaning"),
        ("Temp > 1e999", 8, "too large"),
        ("(" * 80 + "a > 1", 66, "nested more than"),
    ],
)
def test_an_error_says_what_stands_where(text, column, says):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert caught.value.column == column


atoms = st.builds(
    Comparison,
    st.sampled_from(["a", "B.c", "x1"]),
    st.sampled_from(["<", ">="]),
    st.integers(-9, 9).map(float),
)
trees = st.recursive(
    atoms,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(lambda parts: And(tuple(parts)), st.lists(inner, min_size=2, max_size=3))
        | st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=8,
)


def written(tree) -> str:
    match tree:
        case Comparison(signal, operator, limit):
            return f"{signal} {operator} {limit!r}"
        case Not(operand):
            return f"not ({written(operand)})"
        case And(operands):
            return "(" + " and ".join(f"({written(one)})" for one in operands) + ")"
        case Or(operands):
            return "(" + " or ".join(f"({written(one)})" for one in operands) + ")"


@given(trees)
def test_what_is_written_is_read(tree):
    assert parse(written(tree)) == tree
    assert list(comparisons(parse(written(tree)))) == list(comparisons(tree))


@given(st.text(alphabet="ab.:<>=!()1e-+ notr\t\n&é", max_size=40))
def test_any_text_is_a_condition_or_an_error_with_a_column_inside_it(text):
    try:
        parse(text)
        column = 1
    except ExpressionError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1
