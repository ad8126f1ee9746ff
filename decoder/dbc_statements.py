"""A DBC's text cut into statements.

A statement begins with its keyword, at the start of a line or after a semicolon. So a missing semicolon, a quote that was
never closed or a line of nonsense costs one statement, never the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Longer keywords first: a statement begins with the longest that fits.
KEYWORDS = (
    "BA_DEF_DEF_REL_", "BA_DEF_DEF_", "BA_DEF_REL_", "BA_DEF_SGTYPE_", "BA_DEF_", "BA_REL_", "BA_SGTYPE_", "BA_", "BO_TX_BU_", "BO_",
    "BS_", "BU_BO_REL_", "BU_EV_REL_", "BU_SG_REL_", "BU_", "CAT_DEF_", "CAT_", "CM_", "ENVVAR_DATA_", "EV_DATA_", "EV_", "FILTER",
    "NS_DESC_", "NS_", "SGTYPE_VAL_", "SGTYPE_", "SG_MUL_VAL_", "SG_", "SIGTYPE_VALTYPE_", "SIG_GROUP_", "SIG_TYPE_REF_",
    "SIG_VALTYPE_", "VAL_TABLE_", "VAL_", "VERSION",
)  # fmt: skip
STRING = r'"((?:\\"|[^"])*)"'
_ANY_KEYWORD = "|".join(KEYWORDS)
_START = re.compile(rf"\s*({_ANY_KEYWORD})(?=[\s:\";]|$)")
# Beyond doubt a statement, though a string seems to be open: somebody forgot a quote.
_SURE_START = re.compile(
    r'\s*(BO_\s+\d+\s+\w+\s*:|SG_\s+\S[^:]*:\s*\d+\|\d+@|CM_\s+[SB][GO]_\s+\d+|VAL_\s+\d+\s+\w+\s+-?\d+\s+")'
)
_END = re.compile(rf"{STRING}|;(?=\s*(?:{_ANY_KEYWORD})\s)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, from its keyword on; `line` is where it begins."""

    line: int
    keyword: str
    text: str


def statements(text: str, warn: Callable[[int, str], None]) -> Iterator[Statement]:
    """The statements of a DBC, without those that are a keyword and nothing else."""
    collected: list[str] = []
    first_line, keyword, string_is_open = 0, "", False
    for number, line in enumerate(text.splitlines(), 1):
        start = _START.match(line)
        if start and string_is_open:
            if _SURE_START.match(line):
                warn(
                    first_line,
                    f"a quote of this {keyword} is never closed; closed at the end of line {number - 1}",
                )
                collected.append('"')
            else:
                start = None
        if start:
            yield from _split(first_line, keyword, "\n".join(collected))
            collected, first_line, keyword, string_is_open = [], number, start.group(1), False
        collected.append(line)
        string_is_open ^= (line.count('"') - line.count('\\"')) % 2 == 1
    yield from _split(first_line, keyword, "\n".join(collected))


def _split(line: int, keyword: str, text: str) -> Iterator[Statement]:
    """One statement as a rule; more where several stand on one line."""
    if not keyword or len(text.strip()) <= len(keyword):
        return  # what stands before the first keyword, and the list below NS_
    begin = 0
    for piece in _END.finditer(text):
        if piece.group().startswith('"'):
            continue
        yield Statement(line, keyword, text[begin : piece.start() + 1].strip())
        begin = piece.end()
        following = _START.match(text, begin)
        keyword = following.group(1) if following else keyword
    yield Statement(line, keyword, text[begin:].strip())
