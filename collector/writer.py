"""The one writer: a thread that takes items in groups, one transaction a group.

Rules
- An outcome is delivered after its commit, never before.
- What cannot be written now (locked, full, I/O error) is tried again, with growing pauses, for as long as the process lives: no
  ack, nothing lost, nothing skipped. A stop gives up; the vehicles still have it.
- An item that meets a bug of ours fails alone; the rest of its group is applied.
- Vehicles take turns: one that sends more work than others keeps nobody waiting for longer than a group takes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Protocol

import structlog

from collector import times
from collector.items import Failed
from collector.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.ingest.ingest import Ingest
    from collector.items import Item, Outcome
    from collector.store.ledger import StoreLedger

GROUP_MAX = 512  # items of one transaction: some ms of work, and what readers may have to wait for
RETRY_S_MIN, RETRY_S_MAX = 0.05, 2.0

log = structlog.get_logger()


class Recipient(Protocol):
    """Who submitted an item, and hears of it."""

    def ingested(self, outcome: Outcome) -> None: ...


Entry = tuple[Recipient, "Item"]
Delivery = list[tuple[Recipient, "Outcome"]]


class Turns:
    """Items that wait: those of one vehicle in their order, and one of each vehicle in turn.

    Not bounded here: each conversation stops reading while it has too much in it.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Entry]] = (
            OrderedDict()
        )  # by vehicle; whose turn it is comes first
        self._ended = False
        self._changed = threading.Condition()

    def put(self, entry: Entry) -> None:
        with self._changed:
            if not self._ended:
                self._waiting.setdefault(entry[1].key.vehicle, deque()).append(entry)
                self._changed.notify()

    def put_back(self, entries: Sequence[Entry]) -> None:
        """What was taken and not written, in its order."""
        with self._changed:
            for entry in reversed(entries):
                self._waiting.setdefault(entry[1].key.vehicle, deque()).appendleft(entry)

    def end(self) -> None:
        """Nothing more is put in."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self) -> list[Entry]:
        """The next items, GROUP_MAX at most; waits for the first. Empty once the end is reached."""
        taken: list[Entry] = []
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            while self._waiting and len(taken) < GROUP_MAX:
                vehicle, items = self._waiting.popitem(last=False)
                taken.append(items.popleft())
                if items:
                    self._waiting[vehicle] = items
        return taken


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
        self._turns = Turns()
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
        self._turns.put((recipient, item))

    def stop(self, timeout_s: float) -> bool:
        """Write what was submitted so far, if the store takes it at once. True if the thread has ended."""
        self._stopping.set()
        self._turns.end()
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
        while group := self._turns.take():
            self._turns.put_back(group[self._write(group) :])

    def _write(self, group: Sequence[Entry]) -> int:
        """Write the first items of a group, as many as one transaction takes. How many these were."""
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
                    return len(group)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            except Exception:
                if len(group) == 1:
                    log.exception("an item could not be applied", item=type(group[0][1]).__name__)
                    outcomes = [Failed("the collector met an error of its own; see its log")]
                    break
                return sum(self._write([one]) for one in group)
            else:
                break
        if trouble:
            log.info("store can be written again")
        # Fewer outcomes than items: the transaction was full.
        self._deliver(
            [(recipient, outcome) for (recipient, _), outcome in zip(group, outcomes, strict=False)]
        )
        return len(outcomes)


def commit(ledger: StoreLedger, ingest: Ingest, items: Sequence[Item], now_ns: int) -> list[Outcome]:
    """Apply items in one transaction: the first ones, if all are too many (see `Ingest.apply`).

    Raises StoreError, or what a bug raises; then nothing of them is stored.
    """
    try:
        with ledger.transaction() as transaction:
            outcomes = ingest.apply(transaction, items, now_ns)
            transaction.finish(times.to_text(now_ns))
    except BaseException:
        ingest.forget()
        raise
    ingest.committed(set(transaction.changes.outboxes))
    return outcomes
