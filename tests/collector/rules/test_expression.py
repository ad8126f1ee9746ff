from __future__ import annotations

from collector.rules.expression import Comparison, comparisons, leaves, longest_window_s, signals
from collector.rules.parser import parse

CONDITION = parse("a > 1 and (mean(b + c, 20s) > d or not missing(e)) and (stale(f, 30s) or abs(a) > 2)")


def test_leaves_and_comparisons_are_found_from_left_to_right():
    assert [type(leaf).__name__ for leaf in leaves(CONDITION)] == [
        "Comparison", "Relation", "Missing", "Stale", "Comparison", "Comparison"
    ]  # fmt: skip
    assert list(comparisons(CONDITION)) == [
        Comparison("a", ">", 1.0),
        Comparison("a", ">", 2.0),
        Comparison("a", "<", -2.0),
    ]


def test_every_signal_is_named():
    assert list(signals(CONDITION)) == ["a", "b", "c", "d", "e", "f", "a", "a"]


def test_the_longest_window_counts():
    assert longest_window_s(CONDITION) == 30.0
    assert longest_window_s(parse("a > 1")) == 0.0
    assert longest_window_s(parse("a * max(1, rate(b, 5s)) > 1")) == 5.0
