"""Conditions of rules: text in, a tree of expression.py out.

    condition   := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation    := "not" negation | "(" condition ")" | availability | comparison
    availability := "missing" "(" signal ")" | "stale" "(" signal "," duration ")"
    comparison  := term operator term
    operator    := > >= < <= == !=
    term        := product (("+" | "-") product)*
    product     := factor (("*" | "/") factor)*
    factor      := ("+" | "-") factor | number | signal | "(" term ")"
                 | "abs" "(" term ")" | ("min" | "max") "(" term ("," term)+ ")"
                 | ("mean" | "std" | "min" | "max") "(" term "," duration ")" | "rate" "(" term ["," duration] ")"
    signal      := Name, Message.Name or bus:Message.Name
    duration    := number ("ms" | "s" | "min" | "h")

An error says what stands where: its `column` counts characters from 1.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import Literal, cast

from collector.rules.expression import (
    And,
    Arithmetic,
    Expression,
    Missing,
    Not,
    Number,
    Operator,
    Or,
    Pick,
    Stale,
    Term,
    Value,
    Window,
    longest_window_s,
)
from collector.rules.reduce import NoSignalError, linear, reduced

LENGTH_MAX = 4096  # characters; a longer one is a mistake, and parsing stays cheap
NESTING_MAX = 32  # brackets, nots and signs; the parser recurses ten calls for each
ARITHMETIC_MAX = 100  # operators: walks over the tree recurse as deep
WINDOW_S_MAX = 600.0  # of records that are kept in memory for each vehicle
RATE_WINDOW_S = 1.0

_OPERATORS = (">", ">=", "<", "<=", "==", "!=")
_UNITS_S = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<operator>>=|<=|==|!=|>|<)|(?P<bracket>[(),])|(?P<sign>[-+*/])"
    rf"|(?P<duration>{_NUMBER}\s*(?:ms|s|min|h)\b)|(?P<number>{_NUMBER})"
    r"|(?P<word>[^\W\d]\w*(?:[.:][^\W\d]\w*)*))"
)
_WINDOWS = ("rate", "mean", "std", "min", "max")
FUNCTIONS = ("abs", *_WINDOWS, "missing", "stale")

Token = tuple[str, str, int]  # kind, text, column
Node = Expression | Term


class ExpressionError(ValueError):
    """A condition that cannot be read; `column` is where, from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


def parse(text: str) -> Expression:
    """The condition that `text` states. Raises ExpressionError."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"a condition of {len(text)} characters; at most {LENGTH_MAX}", LENGTH_MAX + 1)
    parser = _Parser(_tokens(text))
    condition = parser.disjunction(0)
    kind, found, column = parser.next
    if kind != "end":
        if not _is_term(condition) and kind in {"operator", "number", "word", "duration"}:
            raise ExpressionError(f"{found!r} after a whole comparison: join two with 'and'", column)
        expected = f"an operator ({' '.join(_OPERATORS)})" if _is_term(condition) else "'and', 'or'"
        raise ExpressionError(f"expected {expected} or the end, found {found!r}", column)
    return _condition(condition, parser.next)


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            hint = " (equal is written '==')" if text[start] == "=" else ""
            raise ExpressionError(f"{text[start]!r} has no meaning here{hint}", start + 1)
        kind = str(match.lastgroup)
        word = match[kind]
        if kind == "word" and word.lower() in {"and", "or", "not"}:
            kind, word = "keyword", word.lower()
        tokens.append((kind, word, match.start(kind if kind != "keyword" else "word") + 1))
        at = match.end()
    return [*tokens, ("end", "the end", len(text.rstrip()) + 1)]


def _is_term(node: Node) -> bool:
    return isinstance(node, Term)


def _condition(node: Node, token: Token) -> Expression:
    """The node, which has to be true or false. `token`: what follows it."""
    if isinstance(node, Term):
        raise ExpressionError(
            f"expected an operator ({' '.join(_OPERATORS)}) before {token[1]!r}: this is a value, and no condition",
            token[2],
        )
    return node


def _term(node: Node, column: int) -> Term:
    """The node, which has to be a value."""
    if not isinstance(node, Term):
        raise ExpressionError(
            "a condition where a value is expected; join conditions with 'and' or 'or'", column
        )
    return node


class _Parser:
    """Recursive descent over a list of tokens that ends with an "end". What a bracket holds is known at its end only."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._arithmetic = 0  # operators so far

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += token[0] != "end"
        return token

    def _bracket(self, wanted: str, why: str) -> None:
        kind, found, column = self.next
        if (kind, found) != ("bracket", wanted):
            raise ExpressionError(f"expected {wanted!r} {why}, found {found!r}", column)
        self._take()

    def disjunction(self, depth: int) -> Node:
        return self._joined("or", depth)

    def _joined(self, keyword: str, depth: int) -> Node:
        first = self._joined("and", depth) if keyword == "or" else self._negation(depth)
        operands = [first]
        while self.next[:2] == ("keyword", keyword):
            operands[-1] = _condition(operands[-1], self._take())
            operands.append(self._joined("and", depth) if keyword == "or" else self._negation(depth))
        if len(operands) == 1:
            return first
        conditions = (*cast("list[Expression]", operands[:-1]), _condition(operands[-1], self.next))
        return Or(conditions) if keyword == "or" else And(conditions)

    def _negation(self, depth: int) -> Node:
        if self.next[:2] != ("keyword", "not"):
            return self._comparison(depth)
        self._nest(depth)
        self._take()
        return Not(_condition(self._negation(depth + 1), self.next))

    def _nest(self, depth: int) -> None:
        if depth > NESTING_MAX:
            raise ExpressionError(f"nested more than {NESTING_MAX} deep", self.next[2])

    def _comparison(self, depth: int) -> Node:
        start = self.next[2]
        left = self._sum(depth)
        kind, operator, column = self.next
        if kind != "operator":
            return left
        one = _term(left, start)
        self._take()
        start = self.next[2]
        other = _term(self._sum(depth), start)
        if self.next[0] == "operator":
            raise ExpressionError(
                f"{self.next[1]!r} after a whole comparison: join two with 'and'", self.next[2]
            )
        try:
            return reduced(one, cast("Operator", operator), other)
        except NoSignalError:
            raise ExpressionError("compares two numbers: name a signal on one side", column) from None

    def _sum(self, depth: int) -> Node:
        return self._chain(("+", "-"), depth)

    def _chain(self, signs: tuple[str, str], depth: int) -> Node:
        """Operands joined by these signs, from left to right."""
        products = signs == ("+", "-")
        start = self.next[2]
        left = self._chain(("*", "/"), depth) if products else self._factor(depth)
        while self.next[0] == "sign" and self.next[1] in signs:
            _, sign, column = self._take()
            self._arithmetic += 1
            if self._arithmetic > ARITHMETIC_MAX:
                raise ExpressionError(f"more than {ARITHMETIC_MAX} of + - * /", column)
            start, before = self.next[2], start
            right = _term(self._chain(("*", "/"), depth) if products else self._factor(depth), start)
            divisor = linear(right)
            if sign == "/" and divisor is not None and not divisor[0] and not divisor[1]:
                raise ExpressionError("divides by 0", column)
            left = Arithmetic(cast('Literal["+", "-", "*", "/"]', sign), _term(left, before), right)
        return left

    def _factor(self, depth: int) -> Node:
        kind, text, column = self.next
        self._nest(depth)
        self._take()
        match kind:
            case "sign" if text in "+-":
                inner = _term(self._factor(depth + 1), self.next[2])
                return _negative(inner) if text == "-" else inner
            case "bracket" if text == "(":
                inside = self.disjunction(depth + 1)
                self._bracket(")", f"for the '(' in column {column}")
                return inside
            case "number":
                return Number(_number(text, column))
            case "word":
                if self.next[:2] == ("bracket", "("):
                    return self._call(text, column, depth + 1)
                return Value(text)
            case _:
                hint = "; a time belongs to a window, as in mean(x, 10s)" if kind == "duration" else ""
                raise ExpressionError(f"expected a signal or a number, found {text!r}{hint}", column)

    def _call(self, name: str, column: int, depth: int) -> Node:
        if name not in FUNCTIONS:
            near = difflib.get_close_matches(name, FUNCTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FUNCTIONS)}"
            raise ExpressionError(f"{name} is no function; {hint}", column)
        self._take()
        start = self.next[2]
        terms = [_term(self._sum(depth), start)]
        window_s = None
        while window_s is None and self.next[:2] == ("bracket", ","):
            self._take()
            if self.next[0] == "duration":
                window_s = self._duration()
            else:
                at = self.next[2]
                terms.append(_term(self._sum(depth), at))
        self._bracket(")", f"at the end of {name}(")
        return _called(name, terms, window_s, (column, start))

    def _duration(self) -> float:
        _, text, column = self._take()
        unit = re.sub(r"^.*?(ms|s|min|h)$", r"\1", text)
        seconds = _number(text.removesuffix(unit), column) * _UNITS_S[unit]
        if not 0 < seconds <= WINDOW_S_MAX:
            raise ExpressionError(
                f"a window of {text}: must be more than 0 and at most {WINDOW_S_MAX:g} s", column
            )
        return seconds


def _called(name: str, terms: list[Term], window_s: float | None, columns: tuple[int, int]) -> Node:
    """A function of its arguments. `columns`: of its name, and of its first argument."""
    column, inside = columns
    first, *others = terms
    if name in {"missing", "stale"}:
        if others or not isinstance(first, Value):
            raise ExpressionError(f"{name} is asked of one signal", inside)
        if (window_s is None) != (name == "missing"):
            how = "missing(signal), or stale(signal, 5s)"
            raise ExpressionError(f"{name} with{'' if window_s else 'out'} a time: write {how}", column)
        return Missing(first.signal) if window_s is None else Stale(first.signal, window_s)
    if window_s is None and name == "rate":
        window_s = RATE_WINDOW_S
    if window_s is not None:
        if name not in _WINDOWS or others:
            raise ExpressionError(f"{name} takes no time, or too many values with it", column)
        if longest_window_s(first):
            raise ExpressionError("a window inside of a window", inside)
        return Window(cast('Literal["rate", "mean", "std", "min", "max"]', name), first, window_s)
    if name in {"mean", "std"}:
        raise ExpressionError(f"{name} needs a time: write {name}(signal, 10s)", column)
    if (name == "abs") != (not others) or name == "rate":
        how = {"abs": "abs(x)", "rate": "rate(x, 1s)"}.get(name, f"{name}(a, b), or {name}(x, 10s) over time")
        raise ExpressionError(f"{name} of {len(terms)} values: write {how}", column)
    return Pick(cast('Literal["abs", "min", "max"]', name), tuple(terms))


def _negative(term: Term) -> Term:
    return Number(-term.value) if isinstance(term, Number) else Arithmetic("*", Number(-1.0), term)


def _number(text: str, column: int) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ExpressionError(f"{text} is too large for a number", column)
    return number
