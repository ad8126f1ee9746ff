"""Conditions of rules: text in, a small tree out.

    condition  := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation   := "not" negation | "(" condition ")" | comparison
    comparison := signal operator number | number operator signal
    operator   := > >= < <= == !=
    signal     := Name, Message.Name or bus:Message.Name

An error says what stands where: its `column` counts characters from 1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH_MAX = 4096  # characters; a longer one is a mistake, and parsing stays cheap
NESTING_MAX = 64  # brackets and nots; the parser and every walk over the tree recurse this deep

Operator = Literal[">", ">=", "<", "<=", "==", "!="]
_MIRRORED: dict[str, Operator] = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<operator>>=|<=|==|!=|>|<)|(?P<bracket>[()])|(?P<number>{_NUMBER})"
    r"|(?P<word>[^\W\d]\w*(?:[.:][^\W\d]\w*)*))"
)


class ExpressionError(ValueError):
    """A condition that cannot be read; `column` is where, from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Comparison:
    """`signal operator limit`."""

    signal: str
    operator: Operator
    limit: float


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Expression, ...]


Expression = Comparison | Not | And | Or


def parse(text: str) -> Expression:
    """The condition that `text` states. Raises ExpressionError."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"a condition of {len(text)} characters; at most {LENGTH_MAX}", LENGTH_MAX + 1)
    parser = _Parser(_tokens(text))
    condition = parser.condition(0)
    kind, found, column = parser.next
    if kind in {"operator", "number"}:
        raise ExpressionError(f"{found!r} after a whole comparison: join two with 'and'", column)
    if kind != "end":
        raise ExpressionError(f"expected 'and', 'or' or the end, found {found!r}", column)
    return condition


def comparisons(expression: Expression) -> Iterator[Comparison]:
    """Every comparison in it, from left to right."""
    match expression:
        case Comparison():
            yield expression
        case Not(operand):
            yield from comparisons(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from comparisons(operand)
        case _:
            assert_never(expression)


Token = tuple[str, str, int]  # kind, text, column


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
        tokens.append((kind, word, match.start(match.lastgroup or 0) + 1))
        at = match.end()
    return [*tokens, ("end", "the end", len(text.rstrip()) + 1)]


class _Parser:
    """Recursive descent over a list of tokens that ends with an "end"."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += token[0] != "end"
        return token

    def _joined(self, keyword: str, depth: int) -> list[Expression]:
        one = self._conjunction if keyword == "or" else self._negation
        operands = [one(depth)]
        while self.next[:2] == ("keyword", keyword):
            self._take()
            operands.append(one(depth))
        return operands

    def condition(self, depth: int) -> Expression:
        operands = self._joined("or", depth)
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _conjunction(self, depth: int) -> Expression:
        operands = self._joined("and", depth)
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _negation(self, depth: int) -> Expression:
        kind, text, column = self.next
        if depth > NESTING_MAX:
            raise ExpressionError(f"nested more than {NESTING_MAX} deep", column)
        if (kind, text) == ("keyword", "not"):
            self._take()
            return Not(self._negation(depth + 1))
        if (kind, text) == ("bracket", "("):
            self._take()
            inside = self.condition(depth + 1)
            if self.next[:2] != ("bracket", ")"):
                raise ExpressionError(
                    f"expected ')' for the '(' in column {column}, found {self.next[1]!r}", self.next[2]
                )
            self._take()
            return inside
        return self._comparison()

    def _comparison(self) -> Comparison:
        left = self._operand("a signal")
        kind, operator, column = self._take()
        if kind != "operator":
            raise ExpressionError(
                f"expected an operator ({' '.join(_MIRRORED)}) after {left[1]!r}, found {operator!r}", column
            )
        right = self._operand("a number" if left[0] == "word" else "a signal")
        if left[0] == right[0]:
            what = "two signals" if left[0] == "word" else "two numbers"
            raise ExpressionError(
                f"{left[1]!r} and {right[1]!r} are {what}: a comparison has one signal and one number",
                right[2],
            )
        if left[0] == "word":
            return Comparison(left[1], _MIRRORED[_MIRRORED[operator]], _number(right))
        return Comparison(right[1], _MIRRORED[operator], _number(left))

    def _operand(self, expected: str) -> Token:
        token = self._take()
        if token[0] not in {"word", "number"}:
            raise ExpressionError(f"expected {expected}, found {token[1]!r}", token[2])
        return token


def _number(token: Token) -> float:
    number = float(token[1])
    if not math.isfinite(number):
        raise ExpressionError(f"{token[1]} is too large for a number", token[2])
    return number
