"""What is made of stored records: rows for readers, and what the analyses find in them.

Rules
- Each analysis takes the new records of one block, in their order, with the state that it left behind before, and leaves
  rows and a new state. All of it is written in the transaction that stores the block.
- Nothing of it is truth: it can be made again from the blocks.
- An analysis is one line in `take`, its state one field of `Outbox`, and its rows one list of `Changes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import rows
from collector.rules import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codec.records import Records
    from codec.stream import DecodedBlock
    from collector.active import ActiveStream
    from collector.changes import Ledger
    from collector.outbox import Outbox
    from collector.pager import Pager
    from collector.rules import Rule


class Findings:
    """Of one transaction. `by_code`: the rules in force."""

    def __init__(self, ledger: Ledger, by_code: Mapping[str, Rule], pager: Pager) -> None:
        self._ledger = ledger
        self._pager = pager
        self._by_code = by_code

    def take(
        self, outbox: Outbox, stream: ActiveStream, records: Records, *, late: bool, continues: bool
    ) -> None:
        """Records that are new. `continues`: see `Readable.seconds`."""
        self._ledger.changes.telemetry += rows.telemetry(
            outbox.key.vehicle, outbox.id, stream, records, late, continues=continues
        )
        self._faults(outbox, stream, records, late=late)

    def replace(self, outbox: Outbox, stream: ActiveStream, decoded: DecodedBlock) -> None:
        """A block that was stored wrong: analyses have been over its wrong values, so faults there become approximate."""
        records, changes = decoded.records, self._ledger.changes
        changes.telemetry_replaced += rows.telemetry(
            outbox.key.vehicle, outbox.id, stream, records, late=True, continues=True
        )
        changes.faults_approximate.append(
            {
                "of_outbox": outbox.id,
                "of_stream_no": stream.stream_no,
                "of_first_tick": records.first_tick,
                "of_end_tick": records.end_tick,
            }
        )

    def _faults(self, outbox: Outbox, stream: ActiveStream, records: Records, *, late: bool) -> None:
        spans, outbox.rule_state = evaluate(
            stream.bound, outbox.rule_state, stream.stream_no, records, stream.exact
        )
        for span in spans:
            row = rows.fault(
                outbox.id,
                outbox.key.vehicle,
                self._by_code[span.code],
                span,
                late,
                lambda no, tick: outbox.wall_ns(no, tick, self._ledger),
                certain=outbox.is_certain(span.stream_no, self._ledger),
            )
            self._ledger.changes.faults[outbox.id, span.stream_no, span.first_tick, span.code] = row
        self._pager.found(outbox, spans, late=late)
