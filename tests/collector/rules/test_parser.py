from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rules.expression import (
    And,
    Arithmetic,
    Comparison,
    Missing,
    Not,
    Number,
    Or,
    Pick,
    Relation,
    Stale,
    Value,
    Window,
    comparisons,
    signals,
)
from collector.rules.parser import ExpressionError, parse


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


def test_arithmetic_binds_as_everywhere():
    x, y = Value("x"), Value("y")
    assert parse("x + y * 2 > y") == Relation(Arithmetic("+", x, Arithmetic("*", y, Number(2.0))), ">", y)
    assert parse("(x + y) * 2 > y").left == Arithmetic("*", Arithmetic("+", x, y), Number(2.0))
    assert parse("x - y - 1 > y").left == Arithmetic("-", Arithmetic("-", x, y), Number(1.0))
    assert parse("-x * y > 1").left == Arithmetic("*", Arithmetic("*", Number(-1.0), x), y)
    assert parse("x -1 > y").left == Arithmetic("-", x, Number(1.0))


def test_a_time_makes_a_window():
    x = Value("x")
    assert parse("mean(x, 10s) > 1") == Relation(Window("mean", x, 10.0), ">", Number(1.0))
    assert parse("max(x, 500ms) - min(x, 0.5 s) >= 2").left == Arithmetic(
        "-", Window("max", x, 0.5), Window("min", x, 0.5)
    )
    assert parse("std(x * Current, 2min) < 1").left.term == Arithmetic("*", x, Value("Current"))
    assert parse("rate(x) > 1").left == Window("rate", x, 1.0)
    assert parse("max(x, y, 3) != 1").left == Pick("max", (x, Value("y"), Number(3.0)))
    assert parse("missing(x) or stale(can0:M.x, 5s)") == Or((Missing("x"), Stale("can0:M.x", 5.0)))


def test_functions_are_names_where_no_bracket_follows():
    assert parse("rate > 1 and min < 2") == And((Comparison("rate", ">", 1.0), Comparison("min", "<", 2.0)))


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "expected a signal or a number, found 'the end'"),
        ("Temp", 5, "expected an operator"),
        ("Temp >", 7, "expected a signal or a number, found 'the end'"),
        ("Temp = 45", 6, "'=='"),
        ("1 > 2", 3, "two numbers"),
        ("max(1, 2) > 2", 11, "two numbers"),
        ("Temp > 45 Speed > 1", 11, "join two with 'and'"),
        ("40 < Temp < 45", 11, "join two with 'and'"),
        ("(Temp > 45", 11, "expected ')' for the '(' in column 1"),
        ("Temp > 45)", 10, "found ')'"),
        ("Temp > 45 and", 14, "expected a signal or a number"),
        ("Temp and Speed > 1", 6, "this is a value, and no condition"),
        ("not Temp", 9, "this is a value, and no condition"),
        ("(Temp > 45) + 1 > 2", 1, "a condition where a value is expected"),
        ("Temp > 45 & x > 1", 11, "'&' has no meaning"),
        ("Temp > 1e999", 8, "too large"),
        ("(" * 80 + "a > 1", 34, "nested more than"),
        ("a" + " + a" * 101 + " > 1", 403, "more than 100 of + - * /"),
        ("Temp / (2 - 2) > 1", 6, "divides by 0"),
        ("Temp > 5s", 8, "a time belongs to a window"),
        ("men(Temp, 10s) > 1", 1, "did you mean mean?"),
        ("foo(Temp) > 1", 1, "known are abs, rate"),
        ("mean(Temp) > 1", 1, "write mean(signal, 10s)"),
        ("mean(Temp, 2h) > 1", 12, "at most 600 s"),
        ("mean(mean(Temp, 1s), 1s) > 1", 6, "a window inside of a window"),
        ("missing(Temp + 1)", 9, "asked of one signal"),
        ("stale(Temp)", 1, "write missing(signal), or stale(signal, 5s)"),
        ("missing(Temp, 5s)", 1, "write missing(signal), or stale(signal, 5s)"),
        ("abs(Temp, 2) > 1", 1, "write abs(x)"),
        ("min(Temp) > 1", 1, "write min(a, b), or min(x, 10s)"),
        ("mean(Temp, 1s > 1", 15, "expected ')' at the end of mean("),
    ],
)
def test_an_error_says_what_stands_where(text, column, says):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert caught.value.column == column


names = st.sampled_from(["a", "B.c", "x1"])
terms = st.recursive(
    names.map(Value) | st.integers(0, 9).map(lambda n: Number(float(n))),
    lambda inner: (
        st.builds(Arithmetic, st.sampled_from("+-*"), inner, inner)
        | st.builds(lambda one: Pick("abs", (one,)), inner)
        | st.builds(lambda *two: Pick("max", two), inner, inner)
    ),
    max_leaves=4,
)
windows = st.builds(Window, st.sampled_from(["rate", "mean", "std", "min", "max"]), terms, st.just(2.5))
atoms = (
    st.builds(Comparison, names, st.sampled_from(["<", ">="]), st.integers(-9, 9).map(float))
    | st.builds(Missing, names)
    | st.builds(Stale, names, st.just(1.5))
    | st.builds(Relation, windows, st.sampled_from(["<", "!="]), st.just(Number(1.0)))
).filter(lambda leaf: any(True for _ in signals(leaf)))
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
        case Missing(signal):
            return f"missing({signal})"
        case Stale(signal, window_s):
            return f"stale({signal}, {window_s}s)"
        case Relation(left, operator, right):
            return f"{stated(left)} {operator} {stated(right)}"
        case Not(operand):
            return f"not ({written(operand)})"
        case And(operands):
            return "(" + " and ".join(f"({written(one)})" for one in operands) + ")"
        case Or(operands):
            return "(" + " or ".join(f"({written(one)})" for one in operands) + ")"


def stated(term) -> str:
    match term:
        case Number(value):
            return repr(value)
        case Value(signal):
            return signal
        case Arithmetic(operator, left, right):
            return f"({stated(left)} {operator} {stated(right)})"
        case Pick(function, terms):
            return f"{function}({', '.join(map(stated, terms))})"
        case Window(function, term, window_s):
            return f"{function}({stated(term)}, {window_s}s)"


@given(trees)
def test_what_is_written_is_read(tree):
    assert parse(written(tree)) == tree
    assert list(comparisons(parse(written(tree)))) == list(comparisons(tree))


@given(st.text(alphabet="ab.:<>=!()1e-+*/,ms notr\t\n&é", max_size=40))
def test_any_text_is_a_condition_or_an_error_with_a_column_inside_it(text):
    try:
        parse(text)
        column = 1
    except ExpressionError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1
