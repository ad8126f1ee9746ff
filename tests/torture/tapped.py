"""The agent's outbox and capture, as they are, with a tap: what is sampled, committed, dropped and acknowledged is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.capture import Capture
from edge_agent.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codec.records import Records
    from codec.stream import Clock
    from edge_agent.rows import Commit, GapRow
    from tests.torture.tap import Tap


def tapped(tap: Tap) -> tuple[type[Outbox], type[Capture]]:
    class TappedOutbox(Outbox):
        def commit(self, commit: Commit, *, limit_bytes: int) -> bool:
            asked = super().commit(commit, limit_bytes=limit_bytes)
            tap.committed(self.outbox_id, commit)
            return asked

        def _insert_gap(self, new: GapRow) -> None:
            tap.dropped(self.outbox_id, new.position, new.end)
            super()._insert_gap(new)

        def fork(self) -> None:
            super().fork()
            (first,) = self._db.execute("SELECT min(first_tick) FROM batches").fetchone()
            if first is not None:
                tap.forked(self.outbox_id, first)

    class TappedCapture(Capture):
        def _records(self, runs: Iterable[Records], clock: Clock) -> None:
            runs = list(runs)
            for records in runs:
                tap.sampled(records)
            super()._records(runs, clock)

        def set_wanted(self, wanted: int) -> None:
            tap.acked(self.outbox_id, wanted)
            super().set_wanted(wanted)

    return TappedOutbox, TappedCapture
