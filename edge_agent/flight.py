"""What was sent and is not acknowledged, and how much of it there may be. No clock of its own.

Rules
- At most what Welcome allows, or one batch.
- Of a backlog, no more than the link soon carries: what waits in its queues keeps heartbeats waiting behind it, and whoever
  looks at now. What is not late waits for none of this: it is little, and its ack may take its time. An ack that takes QUEUE_NS longer than the quickest one says that something waits: the room is halved, once for all that was on its
  way then. Any other ack makes room for as much again as it is for, and for an eighth of that once something had to wait.
- Where the room is least, nothing of ours can wait: how long an ack takes then is how long the way is, from now on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

FIRST_BYTES = 2 << 10  # half a second of a bad mobile link; doubled at each round trip
LEAST_BYTES = 1 << 9  # some blocks of a vehicle that does little
QUEUE_NS = 300_000_000  # the collector may take 200 ms to say that a backlog's batches are stored


@dataclass(slots=True)
class Flight:
    """Of one conversation. Times are monotonic ns."""

    bytes_max: int = 0  # as Welcome says
    bytes: int = 0
    limit_bytes: int = FIRST_BYTES
    _sent: deque[tuple[int, int, int | None]] = field(
        default_factory=deque
    )  # (end position, bytes, when; None: not late)
    _quickest_ns: int | None = None
    _halved_ns: int = -1

    def __bool__(self) -> bool:
        return bool(self._sent)

    def __len__(self) -> int:
        return len(self._sent)

    def room_bytes(self, *, late: bool) -> int:
        """What may still be sent; less than a batch where nothing is on its way is room for one."""
        return (min(self.limit_bytes, self.bytes_max) if late else self.bytes_max) - self.bytes

    def sent(self, end: int, size: int, now_ns: int, *, late: bool) -> None:
        self._sent.append((end, size, now_ns if late else None))
        self.bytes += size

    def acked(self, wanted: int, now_ns: int) -> None:
        """Everything before `wanted` is durable."""
        size, sent_ns = 0, None
        least = self.limit_bytes <= LEAST_BYTES
        while self._sent and self._sent[0][0] <= wanted:
            _, one, sent_ns = self._sent.popleft()
            size += one
        self.bytes -= size
        if sent_ns is None:
            return
        took_ns = now_ns - sent_ns
        if self._quickest_ns is None or took_ns < self._quickest_ns or least:
            self._quickest_ns = took_ns
        if took_ns - self._quickest_ns <= QUEUE_NS:
            more = size if self._halved_ns < 0 else size // 8
            self.limit_bytes = min(self.limit_bytes + more, max(self.bytes_max, LEAST_BYTES))
        elif sent_ns > self._halved_ns:
            self.limit_bytes = max(self.limit_bytes // 2, LEAST_BYTES)
            self._halved_ns = now_ns

    def forget(self) -> None:
        """It is sent again."""
        self._sent.clear()
        self.bytes = 0
