"""The one writer: a thread that takes items in groups, one transaction a group.

Rules
- An outcome is delivered after its commit, never before.
- What cannot be written now (locked, full, I/O error) is tried again, with growing pauses, for as long as the process lives: no
  ack, nothing lost, nothing skipped. A stop gives up; the vehicles still have it.
- An item that meets a bug of ours fails alone; the rest of its group is applied.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Protocol

import structlog

from collector import times
from collector.items import Failed
from collector.store.engine import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.ingest import Ingest
    from collector.items import Item, Outcome
    from collector.store.ledger import StoreLedger

GROUP_MAX = 512  # items of one transaction: some ms of work, and what readers may have to wait for
RETRY_S_MIN, RETRY_S_MAX = 0.05, 2.0

log = structlog.get_logger()


class Recipient(Protocol):
    """Who submitted an item, and hears of it."""

    def ingested(self, outcome: Outcome) -> None: ...


Delivery = list[tuple[Recipient, "Outcome"]]


class Writer:
    """`deliver` is called in the writer's thread, once for each group that was committed."""

    def __init__(
        self,
        ledger: StoreLedger,
        ingest: Ingest,
        deliver: Callable[[Delivery], None],
        clock: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._ingest = ingest
        self._deliver = deliver
        self._clock = clock
        # Not bounded here: each conversation stops reading while it has too much in it.
        self._queue: queue.SimpleQueue[tuple[Recipient, Item] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._warm_up: Callable[[], None] = lambda: None
        self._on_failure: Callable[[], object] = lambda: None
        self.failed = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(
        self, warm_up: Callable[[], None] = lambda: None, on_failure: Callable[[], object] = lambda: None
    ) -> None:
        """`warm_up` runs in the thread before anything is taken; `on_failure` if the thread cannot go on."""
        self._warm_up = warm_up
        self._on_failure = on_failure
        self._thread.start()

    def submit(self, recipient: Recipient, item: Item) -> None:
        self._queue.put((recipient, item))

    def stop(self, timeout_s: float) -> bool:
        """Write what was submitted so far, if the store takes it at once. True if the thread has ended."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._warm_up()
            self._take()
        except BaseException:
            # A bug of ours. A collector that listens and stores nothing is worse than one that ends and is started again.
            log.exception("the writer failed")
            self.failed = True
            self._on_failure()
        self._ledger.close()

    def _take(self) -> None:
        ended = False
        while not ended:
            group: list[tuple[Recipient, Item]] = []
            entry = self._queue.get()
            while entry is not None:
                group.append(entry)
                if len(group) == GROUP_MAX:
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            ended = entry is None
            if group:
                self._write(group)

    def _write(self, group: Sequence[tuple[Recipient, Item]]) -> None:
        pause_s = RETRY_S_MIN
        trouble = ""
        while True:
            try:
                outcomes = commit(self._ledger, self._ingest, [item for _, item in group], self._clock())
            except StoreError as error:
                if str(error) != trouble:  # once, not at every try
                    log.error("store cannot be written; trying again", trouble=str(error))  # noqa: TRY400
                trouble = str(error)
                if self._stopping.wait(pause_s):
                    log.error("ended before the store took everything; it is not acked", items=len(group))  # noqa: TRY400
                    return
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            except Exception:
                if len(group) == 1:
                    log.exception("an item could not be applied", item=type(group[0][1]).__name__)
                    outcomes = [Failed("the collector met an error of its own; see its log")]
                    break
                for one in group:
                    self._write([one])
                return
            else:
                break
        if trouble:
            log.info("store can be written again")
        self._deliver([(recipient, outcome) for (recipient, _), outcome in zip(group, outcomes, strict=True)])


def commit(ledger: StoreLedger, ingest: Ingest, items: Sequence[Item], now_ns: int) -> list[Outcome]:
    """Apply items in one transaction. Raises StoreError, or what a bug raises; then nothing of them is stored."""
    try:
        with ledger.transaction() as transaction:
            outcomes = ingest.apply(transaction, items, now_ns)
            transaction.finish(times.to_text(now_ns))
    except BaseException:
        ingest.forget()
        raise
    ingest.committed(set(transaction.changes.outboxes))
    return outcomes
