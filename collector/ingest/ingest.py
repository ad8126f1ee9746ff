"""Ingest: items in, rows and outcomes out. Conversations and streams; batches and gaps are in blocks.py.

Rules
- One call of `apply` is one transaction: what it collects is written whole, or `forget` is called and the same items are
  applied again, to states read anew from the store. So a failed commit, even one of which nobody knows whether it
  happened, is no special case.
- A transaction is bounded by what its items decode to, which their sizes do not tell.
- Nothing depends on arrival time; `now_ns` (wall clock) only labels rows.
- Rules may change between any two transactions. Then what is in memory was bound to others: it is read from the store again,
  and open faults of rules that are gone or read differently end, those of vehicles that say nothing too.
- Unknown is not damaged: a stream whose schema is not here leaves the position where it is.
"""

from __future__ import annotations

import zlib
from itertools import islice, pairwise
from typing import TYPE_CHECKING, assert_never

from collector import times
from collector.detectors.detection import Detectors
from collector.diagnosis import is_condition, withdraw
from collector.diagnosis.rows import ended as diagnosis_ended
from collector.ingest import health, rows
from collector.ingest.analyses import Analyses
from collector.ingest.blocks import Blocks
from collector.ingest.findings import Findings
from collector.ingest.latest import Latest
from collector.ingest.materialise import Materialise, to_json
from collector.ingest.outbox import Outbox
from collector.ingest.pager import Pager
from collector.ingest.readings import Readings
from collector.items import (
    BatchItem,
    Beat,
    BlobItem,
    Described,
    Description,
    Farewell,
    Forked,
    GapItem,
    Greeting,
    Hole,
    Item,
    Kept,
    Lacking,
    Noted,
    OutboxKey,
    Outcome,
    Welcomed,
)
from collector.rules import Rules, withdraw_changed
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.ingest.changes import Ledger
    from collector.ingest.taken import Waiting


# Of all outboxes in memory, 5 kB each: half a gigabyte, or 2,700 vehicles of 37 signals. To build one again decodes two minutes.
SIGNALS_MAX = 100_000
UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip  # what a damaged row may lead to
VALUES_MAX = 2_000_000  # decoded in one transaction: a hundred blocks of 10 s, or five of the largest


class Ingest:
    """Applies items to outboxes. Not thread-safe: one writer owns it.

    `settled`: no fault in the store is left open by rules that are others, or they are none of ours.
    """

    def __init__(
        self,
        rules: Rules,
        detectors: Detectors | None = None,
        analyses: Analyses | None = None,
        *,
        materialise: Materialise | None = None,
        signals_max: int = SIGNALS_MAX,
        settled: bool = True,
    ) -> None:
        self.rules = rules
        self.detectors = detectors or Detectors()
        self.analyses = analyses or Analyses()
        self.materialise = materialise or Materialise()
        self.guards = rules.guards()
        self.readings = Readings(rules, self.analyses, self.detectors)
        self._wanted_rules = rules  # others set it; `rules` are those of the transaction under way
        self._settled_rules = rules if settled else None  # a transaction that began with them was committed
        self.outboxes: dict[OutboxKey, Outbox] = {}  # the one that was used last is the last
        self._signals_max = signals_max

    def set_rules(self, rules: Rules) -> None:
        """In force from the next transaction on. May be called from any thread."""
        self._wanted_rules = rules

    def apply(self, ledger: Ledger, items: Sequence[Item], now_ns: int) -> list[Outcome]:
        """Collects in `ledger.changes` what to write, and returns one outcome for each item, true once it is written.

        Fewer outcomes than items where these decode to more than VALUES_MAX: the rest belongs in another transaction.
        """
        # Only between transactions: what one of them changed is not in the store before its end.
        self._make_room()
        rules = self._wanted_rules
        if rules is not self._settled_rules:
            self.rules, self.guards = rules, rules.guards()
            self.readings = Readings(rules, self.analyses, self.detectors)
            self.outboxes.clear()
        group = _Group(self, ledger, now_ns)
        if rules is not self._settled_rules:
            group.end_faults_of_other_rules()
        outcomes: list[Outcome] = []
        while len(outcomes) < len(items) and group.values < VALUES_MAX:
            outcomes += group.round(items, len(outcomes))
        return outcomes

    def _make_room(self) -> None:
        """Those that were not used for the longest time leave memory."""
        signals = sum(outbox.signals for outbox in self.outboxes.values())
        for key in list(self.outboxes) if signals > self._signals_max else ():
            if signals <= self._signals_max:
                break
            signals -= self.outboxes.pop(key).signals

    def committed(self, outbox_ids: set[int]) -> None:
        """After a transaction that wrote the positions of these outboxes."""
        self._settled_rules = self.rules
        for outbox in self.outboxes.values():
            outbox.revision += outbox.id in outbox_ids

    def forget(self) -> None:
        """After a transaction that did not commit: every state is read from the store again."""
        self.outboxes.clear()


class _Group:
    """Items on their way into the store, in one transaction."""

    def __init__(self, ingest: Ingest, ledger: Ledger, now_ns: int) -> None:
        self._ingest = ingest
        self._ledger = ledger
        self._now = times.to_text(now_ns)
        self._pager = Pager(ledger, now_ns)
        findings = Findings(ledger, ingest.detectors, ingest.analyses, self._pager, ingest.materialise)
        self._findings = findings
        self._blocks = Blocks(ledger, ingest.outboxes, findings, self._pager, self._now)

    @property
    def values(self) -> int:
        """Decoded so far."""
        return self._blocks.values

    def round(self, items: Sequence[Item], start: int) -> list[Outcome]:
        """The outcomes of items from `start` on: the first of some vehicles, at least one."""
        begun: list[Outcome | Waiting] = []
        vehicles: set[str] = set()
        for item in islice(items, start, None):
            if item.key.vehicle in vehicles or (begun and self.values >= VALUES_MAX):
                break
            vehicles.add(item.key.vehicle)
            begun.append(self._item(item))
        return self._blocks.read(begun)

    def _item(self, item: Item) -> Outcome | Waiting:
        self._ledger.mark()
        outbox = self._outbox(item.key)
        match item:
            case Greeting():
                return self._greeting(outbox, item)
            case Description():
                return self._description(outbox, item)
            case BatchItem():
                return self._blocks.batch(outbox, item)
            case GapItem():
                return self._blocks.gap(outbox, item)
            case BlobItem():
                return self._blob(outbox, item)
            case Beat():
                return self._beat(outbox, item)
            case Farewell():
                return self._farewell(outbox, item)
            case _:
                assert_never(item)

    def _outbox(self, key: OutboxKey) -> Outbox:
        """From the store where it is not here; faults of rules that read differently now end then."""
        outbox = self._ingest.outboxes.pop(key, None)
        if outbox is None:
            outbox = Outbox.load(key, self._ledger, self._ingest.readings, self._now)
            self._keep_guards()
            if self._pager.forgotten(outbox):
                self._blocks.save(outbox)
            self._withdraw(outbox)
        self._ingest.outboxes[key] = outbox
        return outbox

    def _withdraw(self, outbox: Outbox) -> None:
        """Faults of rules, and diagnoses of signatures, that read differently for its vehicle now end."""
        before = outbox.rule_state
        gone, outbox.rule_state = withdraw_changed(outbox.own.watched, before)
        for code, episode in gone:
            if not is_condition(code):
                self._pager.ended(outbox, code, episode, "rule changed")
        self._pager.withdraw(outbox)
        ended, outbox.diagnosis = withdraw(self._ingest.analyses.catalogue, outbox.diagnosis)
        self._ledger.changes.diagnoses_ended += [
            diagnosis_ended(outbox.id, one, lambda no, tick: outbox.wall_ns(no, tick, self._ledger))
            for one in ended
        ]
        if ended or outbox.rule_state != before:  # also of what waited, and is no fault yet
            self._blocks.save(outbox)

    def end_faults_of_other_rules(self) -> None:
        for key in self._ledger.with_open_faults():
            try:
                self._outbox(key)
            except UNREADABLE:  # a row of it is damaged: it fails with its own items, and nobody else's
                self._ingest.outboxes.pop(key, None)

    def _keep_guards(self) -> bytes:
        """The set that the rules want, for whoever reads blocks that name it; empty: none."""
        guards = self._ingest.guards
        content = guards.to_bytes() if guards.guards else b""
        if content:
            self._keep(pb.BLOB_KIND_GUARDS, guards.hash, content)
        return content

    def _note_health(self, key: OutboxKey, written_by: str) -> None:
        self._ledger.changes.health[key.vehicle] = health.changed(key.vehicle, written_by, self._now)

    def _blob(self, outbox: Outbox, item: BlobItem) -> Outcome:
        if item.content:
            self._keep(item.kind, item.hash, item.content)
            outbox.priors_gone.discard(item.hash)
            if outbox.stream is not None and outbox.stream.unread is not None:
                outbox.stream = None  # it may be what could not be read
        elif item.kind == pb.BLOB_KIND_PRIOR:
            outbox.priors_gone.add(item.hash)
        else:
            return Noted()  # of a stream without its schema nothing can be said, not even what it lost
        return Kept(item.kind, item.hash)

    def _keep(self, kind: int, name: bytes, content: bytes) -> None:
        self._ledger.changes.blobs[kind, name] = {"kind": kind, "hash": name, "content": content}

    # Conversations and streams

    def _greeting(self, outbox: Outbox, item: Greeting) -> Outcome:
        vehicles, row = self._ledger.changes.vehicles, rows.vehicle(item, self._now)
        # As if what was said before had been written before: what is empty leaves it.
        before = vehicles.get(item.key.vehicle, row)
        vehicles[item.key.vehicle] = {name: value or before[name] for name, value in row.items()}
        self._ledger.changes.vehicle_states.pop(item.key.vehicle, None)  # an earlier farewell is over
        self._note_health(item.key, "greeting")
        outbox.forget_repairs()
        stored = outbox.progress.stored
        if outbox.is_now(item.model):
            self._withdraw(outbox)
            for other in list(self._ingest.outboxes.values()):
                if other.key.vehicle == item.key.vehicle and other.is_now(item.model):
                    self._withdraw(other)
        for old, successor in pairwise((*item.replaces, item.key.outbox_id)):
            if old != item.key.outbox_id:
                self._replace(OutboxKey(item.key.vehicle, old), successor)
        if item.forked_from and stored is None:
            self._leave(OutboxKey(item.key.vehicle, item.forked_from))
        # The vehicle shows under this name what is now; a recording that is imported shows nothing.
        for key in self._ledger.with_provisional(item.key.vehicle) if item.state else ():
            if key != item.key:
                self._pager.withdraw(self._outbox(key), everything=True)
        content = self._keep_guards()
        block = self._ledger.block(outbox.id, stored.stream_no, stored.seq) if stored else None
        described = outbox.description(stored.stream_no, self._ledger) if stored else None
        stream_id = described.facts.stream_id if described else b""
        name = self._ledger.offered_prior(item.schema_hash)
        prior = (name and self._ledger.blob(pb.BLOB_KIND_PRIOR, name)) or b""
        return Welcomed(
            stored,
            outbox.progress.wanted,
            content,
            self._ingest.guards.hash,
            stored_stream_id=stream_id,
            stored_crc=zlib.crc32(block or b""),
            prior_hash=name if prior else b"",
            prior=prior,
        )

    def _farewell(self, outbox: Outbox, item: Farewell) -> Outcome:
        if self._findings.left(outbox):
            # With its position, which tells if another process knows more of it.
            self._blocks.save(outbox)
        stored = outbox.progress.stored
        is_here = item.last is None or (stored is not None and stored >= item.last)
        if is_here and item.state == "parked":  # it has sent everything
            self._pager.backlog_over(outbox)
        row = {"of_vin": item.key.vehicle, "state": item.state, "last_seen": self._now}
        self._ledger.changes.vehicle_states[item.key.vehicle] = row
        self._note_health(item.key, "farewell")
        return Noted() if is_here else Hole(outbox.progress.wanted)

    def _replace(self, old: OutboxKey, successor: bytes) -> None:
        """End an outbox with an open-ended gap: nobody knows what else it held, least of all where it never called.

        Its open faults end where they were last seen to hold: if they still do, the successor's records say so.
        """
        saved = self._outbox(old)
        self._blocks.save(saved)  # with its position, which tells if another process knows more of it
        stream_no, seq = saved.progress.wanted.stream_no, saved.progress.wanted.seq
        self._ledger.changes.replaced[saved.id] = {"of_id": saved.id, "replaced_by": successor}
        self._pager.lost(saved, "outbox lost")
        row = rows.gap(saved.id, stream_no, seq, None, None, None, pb.GAP_REASON_OUTBOX_LOST, self._now)
        self._ledger.changes.gaps[saved.id, stream_no, seq] = row

    def _leave(self, old: OutboxKey) -> None:
        """A fork began: perhaps nobody has its former name any more. If a twin has, and a fault still holds there, it goes on."""
        if old in self._ledger.with_open_faults():
            left = self._outbox(old)
            self._blocks.save(left)  # as above
            self._pager.lost(left, "outbox forked")

    def _description(self, outbox: Outbox, item: Description) -> Outcome:
        stream_no = item.facts.stream_no
        known = outbox.description(stream_no, self._ledger)
        if known is None and self._has_a_twin(outbox, item):
            return Forked()
        if known is not None and known.facts.stream_id != item.facts.stream_id:
            return Forked()
        if self._ledger.blob(pb.BLOB_KIND_SCHEMA, item.schema_hash) is None:
            return Lacking(pb.BLOB_KIND_SCHEMA, item.schema_hash, outbox.progress.wanted)
        if known is None:
            self._ledger.changes.streams[outbox.id, stream_no] = rows.stream(outbox.id, item)
            self._blocks.save(
                outbox
            )  # of two processes that describe one, as for a clone, the second one finds the other's
            for other in self._ingest.outboxes.values():
                if other.key.vehicle == item.key.vehicle:
                    other.forget_elsewhere()
        if 0 <= stream_no - outbox.progress.wanted.stream_no <= 1:
            outbox.descriptions[stream_no] = known or item
        return Described(self._blocks.advance(outbox))

    def _has_a_twin(self, outbox: Outbox, item: Description) -> bool:
        """Whether the streams beside a new one are others than those that this one, or they, say."""
        before = outbox.description(item.facts.stream_no - 1, self._ledger)
        after = outbox.description(item.facts.stream_no + 1, self._ledger)
        follows = before is None or item.prev_stream_id in (b"", before.facts.stream_id)
        precedes = after is None or after.prev_stream_id in (b"", item.facts.stream_id)
        return not (follows and precedes)

    def _beat(self, outbox: Outbox, item: Beat) -> Outcome:
        latest = Latest(outbox, item, self._ledger)
        self._blocks.values += latest.values
        if latest.place is not None:
            self._pager.shown(outbox, latest.place, latest.verdicts)
        vehicle = item.key.vehicle
        self._ledger.changes.heartbeats[vehicle] = rows.heartbeat(item, to_json(latest.shown), self._now)
        self._note_health(item.key, "heartbeat")
        return Noted()
