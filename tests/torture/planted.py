"""Bugs on purpose, for the test that the torture bites. Nothing outside this folder knows of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.writer import Entry, Writer

COMMIT_TAKES_S = 0.2


def _ack_before_commit() -> None:
    """The collector tells that a batch is durable, and then makes it so."""
    from collector import times, writer

    def write(self: Writer, group: Sequence[Entry]) -> int:
        now_ns = self._clock()
        with self._ledger.transaction() as transaction:
            outcomes = self._ingest.apply(transaction, [item for _, item in group], now_ns)
            transaction.finish(times.to_text(now_ns))
            self._deliver([(to, outcome) for (to, _), outcome in zip(group, outcomes, strict=False)])
            time.sleep(COMMIT_TAKES_S)
        self._ingest.committed(set(transaction.changes.outboxes))
        return len(outcomes)

    writer.Writer._write = write  # type: ignore[method-assign]


def _journal_forgotten() -> None:
    """What a crash left in the journal never becomes a block."""
    from edge_agent import capture

    capture._finish = lambda _: None


BUGS: dict[str, Callable[[], None]] = {
    "ack-before-commit": _ack_before_commit,
    "journal-forgotten": _journal_forgotten,
}
