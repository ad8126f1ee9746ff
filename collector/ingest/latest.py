"""What a heartbeat shows of now: the latest values, and how the guards stand. Never stored as records.

Rules
- Its place is its own: while a backlog drains it lies beyond what ingest has, and what it shows is provisional.
- What cannot be read is left out: the next heartbeat comes soon. Its stream may not be described yet, its schema, prior or guard set
  may not be here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.errors import CodecError
from codec.guards import Guard, GuardSet
from collector import times
from collector.rules import Known, guard_verdicts
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collector.ingest.active import ActiveStream
    from collector.ingest.changes import Ledger
    from collector.ingest.outbox import Outbox
    from collector.ingest.paging import Place
    from collector.items import Beat

WORDS = {True: "holds", False: "does not hold", None: "not known"}  # of a guard, for its for_s


class Latest:
    """One heartbeat, read. `values` counts what was decoded."""

    def __init__(self, outbox: Outbox, item: Beat, ledger: Ledger) -> None:
        self.values = 0
        self.place: Place | None = None
        self.verdicts: dict[Guard, Known] = {}
        self.shown: dict[str, object] = {"health": item.health}
        active = outbox.live_stream(item.stream_no, ledger) if item.record else None
        if active is None:
            return
        tick = active.description.facts.origin_tick + item.tick
        self.place = item.stream_no, tick
        self.verdicts = _verdicts(item, ledger)
        self.shown |= {"outbox": outbox.id, "stream_no": item.stream_no, "tick": tick}
        self._read(active, item, ledger)
        if self.verdicts:
            self.shown["guards"] = {_name(guard): WORDS[known] for guard, known in self.verdicts.items()}

    def _read(self, active: ActiveStream, item: Beat, ledger: Ledger) -> None:
        try:
            decoded = active.decode(0, item.record, ledger, active.fresh_decoder())
        except CodecError as error:
            self.shown["unreadable"] = str(error)
            return
        records, keyframe = decoded.records, decoded.keyframe
        self.values = records.counts.size
        offset_ns = active.offset_ns
        if keyframe is not None and keyframe.clock_synchronised and not active.synchronised:
            offset_ns = keyframe.clock_offset_ns
        wall_ns = records.first_tick * active.schema.period_ns + offset_ns
        self.shown |= {
            "timestamp": times.to_text(wall_ns),
            "data": active.reading.readable.values(records, 0),
        }


def _verdicts(item: Beat, ledger: Ledger) -> dict[Guard, Known]:
    content = ledger.blob(pb.BLOB_KIND_GUARDS, item.guards_hash) if item.guards_hash else None
    if content is None:
        return {}
    return guard_verdicts(GuardSet.from_bytes(content), item.guard_states, item.guard_lasted)


def _name(guard: Guard) -> str:
    lasting = f" for {guard.for_s:g} s" if guard.for_s else ""
    return f"{guard.signal} {guard.operator} {guard.limit:g}{lasting}"
