"""The rules file while the collector runs: read again when it changes, or when SIGHUP says so. A thin shell.

A file that cannot be used changes nothing: the rules before it stay in force, and the log says what is wrong, once. A file that
is being written is left alone until it has been the same at two looks, since half of it may make sense.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from collector.rules import RuleError, Rules, load_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOK_S = 1.0

log = structlog.get_logger()

Mark = tuple[int, int, int] | None  # tells one content of a file from another; None: it is not there


class RulesFile:
    """`rules` are those of the file when it could last be used. Raises RuleError where it cannot be at first."""

    def __init__(self, path: Path, *, look_s: float = LOOK_S) -> None:
        self._read = self._seen = _mark(path)  # of what was read last, and of what was seen last
        self.rules = load_rules(path)
        self._path = path
        self._look_s = look_s
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read it now, changed or not: SIGHUP."""
        self._asked.set()

    async def watch(self, changed: Callable[[Rules], None]) -> None:
        """Until cancelled. `changed` is called in the event loop with rules that are to be in force from now on."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._asked.wait()
            mark, before = _mark(self._path), self._seen
            self._seen = mark
            if self._asked.is_set() or (mark == before and mark != self._read):
                self._asked.clear()
                self._read = mark
                await self._load(changed)

    async def _load(self, changed: Callable[[Rules], None]) -> None:
        try:
            rules = await asyncio.to_thread(load_rules, self._path)
        except RuleError as error:
            log.error("the rules file cannot be used; the rules before it stay in force", trouble=str(error))  # noqa: TRY400
            return
        if rules == self.rules:
            log.info("the rules file says what it said before", rules=len(rules.rules))
            return
        self.rules = rules
        log.info("rules in force", rules=len(rules.rules), guards=rules.guards().hash.hex())
        changed(rules)


def _mark(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
