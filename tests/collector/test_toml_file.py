"""What is wrong with a file that somebody wrote is said with its place; what is right comes as it was written."""

from __future__ import annotations

import pytest

from collector.toml_file import Table, document_of, nearest, shown, text_of


class Wrong(ValueError):
    pass


def table(text):
    return Table(document_of(text, "f.toml", Wrong), "f.toml", Wrong)


def test_what_is_right_comes_as_it_was_written():
    one = table(
        'name = "a"\nsize = 3\non = true\nkinds = ["b"]\n[[part]]\nname = "p"\n[[part]]\n[[part.hole]]\nsize = 1\n'
    )
    one.only("name", "size", "on", "kinds", "part")
    assert (one.text("name"), one.number("size", 0, 5), one.flag("on")) == ("a", 3.0, True)
    assert (one.text("other", "c"), one.number("other", 0, 5, 2), one.flag("other")) == ("c", 2.0, False)
    assert one.one_of("name", ("a", "b"), "b") == "a"
    assert one.some_of("kinds", ("a", "b"), frozenset()) == {"b"}
    assert one.some_of("others", ("a", "b"), frozenset({"a"})) == {"a"}
    first, second = one.tables("part", 2, "name")
    (hole,) = second.tables("hole", 1, "")
    assert (first.place, second.place, hole.place) == ("part p", "part 2", "part 2, hole 1")


@pytest.mark.parametrize(
    ("text", "ask", "says"),
    [
        ("nam = 1", lambda one: one.only("name"), "f.toml: unknown key 'nam'; did you mean name?"),
        ("zz = 1", lambda one: one.only("a", "b"), "f.toml: unknown key 'zz'; known are a, b"),
        ("", lambda one: one.text("name"), "f.toml: name is missing"),
        ('name = ""', lambda one: one.text("name"), "f.toml: name is missing"),
        ("name = 1", lambda one: one.text("name"), "f.toml: name: must be a text in quotes, not 1"),
        ("", lambda one: one.number("n", 0, 1), "f.toml: n is missing"),
        ("n = true", lambda one: one.number("n", 0, 1), "f.toml: n: must be a number from 0 to 1, not True"),
        ("n = nan", lambda one: one.number("n", 0, 1), "f.toml: n: must be a number from 0 to 1, not nan"),
        ("n = 2", lambda one: one.number("n", 0, 1), "f.toml: n: must be a number from 0 to 1, not 2"),
        (
            f"n = 0x{'f' * 9999}",
            lambda one: one.number("n", 0, 1),
            "f.toml: n: must be a number from 0 to 1, not a number of thousands of digits",
        ),
        ("on = 1", lambda one: one.flag("on"), "f.toml: on: must be true or false, not 1"),
        ("l = [1]", lambda one: one.texts("l"), "f.toml: l: must be a list of texts in quotes, not [1]"),
        (
            'l = ["c"]',
            lambda one: one.some_of("l", ("a", "b"), frozenset()),
            "f.toml: l: 'c' is none of a, b",
        ),
        ("l = []", lambda one: one.some_of("l", ("a",), frozenset()), "f.toml: l: is empty"),
        ('k = "c"', lambda one: one.one_of("k", ("a", "b"), "a"), "f.toml: k: 'c' is none of a, b"),
        ("[p]", lambda one: one.tables("p", 1, ""), "f.toml: write each p as a table, with two brackets"),
        ("[[p]]\n[[p]]", lambda one: one.tables("p", 1, ""), "f.toml: 2 of p; at most 1"),
        ("[[p]]\nn = 3", lambda one: one.tables("p", 1, "n")[0].text("m"), "f.toml: p 3: m is missing"),
        ("[[p]]\nm = 3", lambda one: one.tables("p", 1, "")[0].text("m"), "f.toml: p 1, m: must be a text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, ask, says):
    with pytest.raises(Wrong) as caught:
        ask(table(text))
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory; name another file"),
        (b"a = '\xff'", "not UTF-8 at byte 5"),
        (b"a =", "not TOML: "),
        (b"a = " + b"9" * 9999, "not TOML: "),
        (b"a = " + b"[" * 9999, "not TOML: brackets within brackets without end"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path, content, says):
    path = tmp_path / "f.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Wrong) as caught:
        document_of(text_of(path, Wrong), str(path), Wrong)
    assert str(caught.value).startswith(f"{path}: {says}")


def test_names_that_are_near():
    assert nearest("speeed", ["power", "speed"]) == "; did you mean speed?"
    assert shown("x") == "'x'"
