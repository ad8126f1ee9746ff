"""Where a key of a rules file stands: TOML's reader does not tell. Pure.

A file is written a key a line nearly always; what is not found so has no place, and the message names rule and key alone.
"""

from __future__ import annotations

import re

_TABLE = re.compile(r"\s*\[\[\s*rule\s*(?P<override>\.\s*override\s*)?\]\]")
_KEY = re.compile(r"\s*(?P<key>\w+)\s*=\s*")


class Places:
    """Lines and columns count from 1."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._found: dict[tuple[int, int | None, str], int] = {}  # rule, override, key ("": the table): line
        rule, override = -1, None
        for number, line in enumerate(self._lines, 1):
            table, key = _TABLE.match(line), _KEY.match(line)
            if table and table["override"]:
                override = 0 if override is None else override + 1
            elif table:
                rule, override = rule + 1, None
            if table or key:
                self._found.setdefault((rule, override, key["key"] if key else ""), number)

    def line(self, rule: int, override: int | None, key: str) -> int | None:
        """Of the key, else of its table."""
        found = self._found.get((rule, override, key))
        return self._found.get((rule, override, "")) if found is None else found

    def column(self, rule: int, override: int | None, key: str, text: str) -> int | None:
        """Where the text begins that the key has, if it stands on the key's line as it is."""
        number = self._found.get((rule, override, key))
        if number is None:
            return None
        line = self._lines[number - 1]
        match = _KEY.match(line)
        assert match is not None
        rest = line[match.end() :]
        quoted = rest[:1] in {'"', "'"} and rest[1:].startswith(text + rest[0])
        return match.end() + 2 if quoted else None
