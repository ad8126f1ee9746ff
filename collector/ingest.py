"""Ingest: items in, rows and outcomes out. What decides whether a batch counts is here and in progress.py.

Rules
- One call of `apply` is one transaction: what it collects is written whole, or `forget` is called and the same items are
  applied again, to states read anew from the store. So a failed commit, even one of which nobody knows whether it
  happened, is no special case.
- A transaction is bounded by what its items decode to, which their sizes do not tell.
- Nothing depends on arrival time; `now_ns` (wall clock) only labels rows.
- A batch before the position is a duplicate and changes nothing. Beyond it, nothing is taken: the outcome names what is
  wanted. What is damaged is asked for once more, with its whole group; if it fails again it is quarantined, and the
  hole up to the next keyframe is a gap.
- Unknown is not damaged: a schema, prior or block version that is not here leaves the position where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from codec.errors import CodecError, DamagedBlock, UnknownBlock
from codec.stream import is_keyframe
from collector import rows, times
from collector.items import (
    BatchItem,
    Beat,
    BlobItem,
    Damaged,
    Described,
    Description,
    Failed,
    Farewell,
    Forked,
    GapItem,
    Greeting,
    Hole,
    Ignored,
    Item,
    Kept,
    Lacking,
    Noted,
    OutboxKey,
    Outcome,
    Repeated,
    Resend,
    Stored,
    Unreadable,
    Welcomed,
)
from collector.materialise import to_json
from collector.outbox import Outbox
from collector.progress import Place, Repair
from collector.rules import Rules, evaluate, withdraw_changed
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.records import Records
    from codec.stream import DecodedBlock
    from collector.active import ActiveStream
    from collector.changes import Ledger


OUTBOXES_MAX = (
    512  # in memory, a megabyte each at 30 signals; building one again decodes at most 30 s of records
)
VALUES_MAX = 2_000_000  # decoded in one transaction: a hundred blocks of 10 s, or five of the largest


class Ingest:
    """Applies items to outboxes. Not thread-safe: one writer owns it."""

    def __init__(self, rules: Rules, *, outboxes_max: int = OUTBOXES_MAX) -> None:
        self.rules = rules
        self.guards = rules.guards()
        self.by_code = rules.by_code()
        self.outboxes: dict[OutboxKey, Outbox] = {}  # the one that was used last is the last
        self._outboxes_max = outboxes_max

    def apply(self, ledger: Ledger, items: Sequence[Item], now_ns: int) -> list[Outcome]:
        """Collects in `ledger.changes` what to write, and returns one outcome for each item, true once it is written.

        Fewer outcomes than items where these decode to more than VALUES_MAX: the rest belongs in another transaction.
        """
        # Only between transactions: what one of them changed is not in the store before its end.
        for key in list(self.outboxes)[: max(0, len(self.outboxes) - self._outboxes_max)]:
            del self.outboxes[key]
        group = _Group(self, ledger, now_ns)
        outcomes: list[Outcome] = []
        for item in items:
            outcomes.append(group.item(item))
            if group.values >= VALUES_MAX:
                break
        return outcomes

    def committed(self, outbox_ids: set[int]) -> None:
        """After a transaction that wrote the positions of these outboxes."""
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
        self.values = 0  # decoded so far

    def item(self, item: Item) -> Outcome:
        outbox = self._outbox(item.key)
        match item:
            case Greeting():
                return self._greeting(outbox, item)
            case Description():
                return self._description(outbox, item)
            case BatchItem():
                return self._batch(outbox, item)
            case GapItem():
                return self._gap(outbox, item)
            case BlobItem():
                self._keep(item.kind, item.hash, item.content)
                return Kept(item.kind, item.hash)
            case Beat():
                return self._beat(outbox, item)
            case Farewell():
                row = {"of_vin": item.key.vehicle, "state": item.state, "last_seen": self._now}
                self._ledger.changes.vehicle_states[item.key.vehicle] = row
                return Noted()
            case _:
                assert_never(item)

    def _outbox(self, key: OutboxKey) -> Outbox:
        """From the store where it is not here; faults of rules that read differently now end then."""
        outbox = self._ingest.outboxes.pop(key, None)
        if outbox is None:
            outbox = Outbox.load(key, self._ledger, self._ingest.rules, self._now)
            gone, outbox.rule_state = withdraw_changed(self._ingest.rules, outbox.rule_state)
            for code, episode in gone:
                wall_ns = outbox.wall_ns(episode.seen_stream_no, episode.seen_tick, self._ledger)
                self._ledger.changes.faults_ended.append(rows.fault_ended(outbox.id, code, episode, wall_ns))
        self._ingest.outboxes[key] = outbox
        return outbox

    def _save(self, outbox: Outbox) -> None:
        self._ledger.changes.outboxes[outbox.id] = (outbox.revision, outbox.progress, outbox.rule_state)

    def _keep(self, kind: int, name: bytes, content: bytes) -> None:
        self._ledger.changes.blobs[kind, name] = {"kind": kind, "hash": name, "content": content}

    # Conversations and streams

    def _greeting(self, outbox: Outbox, item: Greeting) -> Outcome:
        self._ledger.changes.vehicles[item.key.vehicle] = rows.vehicle(item, self._now)
        self._ledger.changes.vehicle_states.pop(item.key.vehicle, None)  # an earlier farewell is over
        outbox.repair, outbox.copies = (
            None,
            {},
        )  # what an earlier conversation asked for will not come on this one
        if item.replaces and item.replaces != item.key.outbox_id:
            self._replace(OutboxKey(item.key.vehicle, item.replaces), item.key.outbox_id)
        guards = self._ingest.guards
        content = guards.to_bytes() if guards.guards else b""
        if content:
            self._keep(pb.BLOB_KIND_GUARDS, guards.hash, content)
        stored = outbox.progress.stored
        described = outbox.description(stored.stream_no, self._ledger) if stored else None
        stream_id = described.facts.stream_id if described else b""
        return Welcomed(stored, outbox.progress.wanted, content, guards.hash, stream_id)

    def _replace(self, old: OutboxKey, successor: bytes) -> None:
        """End an outbox with an open-ended gap: nobody knows what else it held."""
        here = self._ingest.outboxes.get(old)
        saved = here or self._ledger.find_outbox(old)
        if saved is None:
            return
        stream_no, seq = saved.progress.wanted.stream_no, saved.progress.wanted.seq
        self._ledger.changes.replaced[saved.id] = {"of_id": saved.id, "replaced_by": successor}
        row = rows.gap(saved.id, stream_no, seq, None, None, None, pb.GAP_REASON_OUTBOX_LOST, self._now)
        self._ledger.changes.gaps[saved.id, stream_no, seq] = row

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
            for other in self._ingest.outboxes.values():
                if other.key.vehicle == item.key.vehicle:
                    other.forget_elsewhere()
        if 0 <= stream_no - outbox.progress.wanted.stream_no <= 1:
            outbox.descriptions[stream_no] = known or item
        return Described(self._advance(outbox))

    def _has_a_twin(self, outbox: Outbox, item: Description) -> bool:
        """Whether the streams beside a new one are others than those that this one, or they, say."""
        before = outbox.description(item.facts.stream_no - 1, self._ledger)
        after = outbox.description(item.facts.stream_no + 1, self._ledger)
        follows = before is None or item.prev_stream_id in (b"", before.facts.stream_id)
        precedes = after is None or after.prev_stream_id in (b"", item.facts.stream_id)
        return not (follows and precedes)

    def _advance(self, outbox: Outbox) -> Resend | None:
        """On to the next stream, where this one is complete. Returns what to send again of a group that came out wrong."""
        resend = None
        while (after := outbox.descriptions.get(outbox.progress.wanted.stream_no + 1)) is not None:
            if not outbox.progress.is_complete(after.prev_last_seq):
                break
            stream = (
                outbox.wanted_stream(self._ledger)
                if after.prev_digest and outbox.progress.group_seq is not None
                else None
            )
            digest = stream.group_digest(outbox.progress) if stream else None
            resend = self._review(outbox, after.prev_digest, digest) or resend
            outbox.progress = outbox.progress.after_stream()
            outbox.stream = None
            outbox.learn(self._ledger)
            self._save(outbox)
        return resend

    def _beat(self, outbox: Outbox, item: Beat) -> Outcome:
        """The latest values, for the vehicle's row. What cannot be read is left out: the next beat comes soon."""
        latest: dict[str, object] = {"stream_no": item.stream_no, "tick": item.tick, "health": item.health}
        active = outbox.any_stream(item.stream_no, self._ledger) if item.record else None
        if active is not None:
            try:
                records = active.decode(0, item.record, self._ledger, active.fresh_decoder()).records
                self.values += records.counts.size
                wall_ns = records.first_tick * active.schema.period_ns + active.offset_ns
                latest |= {"timestamp": times.to_text(wall_ns), "data": active.readable.values(records, 0)}
            except CodecError as error:
                latest["unreadable"] = str(error)
        self._ledger.changes.heartbeats[item.key.vehicle] = rows.heartbeat(item, to_json(latest), self._now)
        return Noted()

    # Batches and gaps

    def _batch(self, outbox: Outbox, item: BatchItem) -> Outcome:
        repair = outbox.repair
        if repair and repair.covers(item.stream_no, item.seq):
            outbox.copies[item.seq] = item.content
        match outbox.progress.place(item.stream_no, item.seq, item.seq):
            case Place.BEFORE:
                if (
                    repair
                    and not repair.blocks_the_way
                    and (item.stream_no, item.seq) == (repair.stream_no, repair.last_seq)
                ):
                    self._settle_review(outbox, repair)
                return self._repeated(outbox, item.stream_no)
            case Place.BEYOND:
                return Ignored() if repair and repair.blocks_the_way else Hole(outbox.progress.wanted)
            case Place.NEXT:
                pass
        stream = outbox.wanted_stream(self._ledger)
        if stream is None:
            return Hole(outbox.progress.wanted)
        if outbox.progress.open_gap_seq is not None and not is_keyframe(item.content):
            return self._quarantine(outbox, item, "builds on a block that was quarantined")
        digest = stream.group_digest(outbox.progress)
        try:
            decoded = stream.decode(item.seq, item.content, self._ledger, end_tick=outbox.progress.end_tick)
        except UnknownBlock as error:
            kind, missing = error.missing
            if kind == "prior" and isinstance(missing, bytes):
                return Lacking(pb.BLOB_KIND_PRIOR, missing, outbox.progress.wanted)
            return Unreadable(int(missing) if isinstance(missing, int) else 0)
        except DamagedBlock as error:
            return self._damaged(outbox, stream, item, str(error))
        if repair and repair.blocks_the_way:
            outbox.repair, outbox.copies = None, {}
        return self._store(outbox, stream, item, decoded, digest)

    def _store(
        self,
        outbox: Outbox,
        stream: ActiveStream,
        item: BatchItem,
        decoded: DecodedBlock,
        digest: int | None,
    ) -> Outcome:
        """A batch that fits: its rows, its faults, its position. `digest`: what the group before it came to here."""
        records, keyframe, before, changes = (
            decoded.records,
            decoded.keyframe,
            outbox.progress,
            self._ledger.changes,
        )
        self.values += records.counts.size
        stream.note(decoded, self._ledger)
        resend = None
        first_record = before.record_count
        if keyframe is not None:
            if before.open_gap_seq is not None:
                first_record = max(first_record, keyframe.first_record)
                missing = self._missing(outbox, first_record, records.first_tick)
                self._note_gap(
                    outbox,
                    before.open_gap_seq,
                    item.seq - 1,
                    missing,
                    records.first_tick,
                    pb.GAP_REASON_QUARANTINE,
                )
            resend = self._review(outbox, keyframe.previous_digest, digest)
            if stream.synchronise(keyframe.clock_offset_ns, synchronised=keyframe.clock_synchronised):
                row = rows.stream_label(outbox.id, item.stream_no, stream.offset_ns)
                changes.stream_labels[outbox.id, item.stream_no] = row
        changes = self._ledger.changes
        skip = self._skip(outbox, records)
        changes.batches.append(rows.batch(outbox.id, item, decoded, skip))
        if skip < len(records):
            continues = before.end_tick == records.first_tick or skip > 0
            fresh = records.slice(skip, len(records))
            self._materialise(outbox, stream, item, fresh, continues=continues)
        outbox.progress = before.after_block(
            keyframe=keyframe is not None,
            first_record=first_record,
            record_count=len(records),
            end_tick=records.end_tick,
        )
        self._save(outbox)
        assert outbox.progress.stored is not None
        wanted = stream.guards_hash if keyframe is not None and not stream.guards_known else b""
        resend = self._advance(outbox) or resend
        return Stored(outbox.progress.stored, item.late, wanted, resend)

    def _materialise(
        self, outbox: Outbox, stream: ActiveStream, item: BatchItem, records: Records, *, continues: bool
    ) -> None:
        """What is made of records that are new: rows for readers, and faults. `continues`: see `Readable.seconds`."""
        changes = self._ledger.changes
        changes.telemetry += rows.telemetry(
            outbox.key.vehicle, stream, records, item.late, continues=continues
        )
        spans, outbox.rule_state = evaluate(
            stream.bound, outbox.rule_state, item.stream_no, records, stream.exact
        )
        for span in spans:
            row = rows.fault(
                outbox.id,
                outbox.key.vehicle,
                self._ingest.by_code[span.code],
                span,
                item.late,
                lambda no, tick: outbox.wall_ns(no, tick, self._ledger),
            )
            changes.faults[outbox.id, span.stream_no, span.first_tick, span.code] = row

    def _gap(self, outbox: Outbox, item: GapItem) -> Outcome:
        progress = outbox.progress
        match progress.place(item.stream_no, item.first_seq, item.last_seq):
            case Place.BEFORE:
                return self._repeated(outbox, item.stream_no)
            case Place.BEYOND:
                blocked = outbox.repair is not None and outbox.repair.blocks_the_way
                return Ignored() if blocked else Hole(progress.wanted)
            case Place.NEXT:
                pass
        # A quarantine that this gap continues had a count that nobody knew: together they have one.
        first = progress.wanted.seq if progress.open_gap_seq is None else progress.open_gap_seq
        reason = item.reason if progress.open_gap_seq is None else pb.GAP_REASON_QUARANTINE
        missing = self._missing(outbox, item.end_record, item.end_tick)
        if missing or not progress.records_missing(item.end_record) or progress.open_gap_seq is not None:
            self._note_gap(outbox, first, item.last_seq, missing, item.end_tick, reason)
        outbox.progress = progress.after_gap(item.last_seq, item.end_record)
        outbox.stream = None
        outbox.repair, outbox.copies = None, {}
        self._save(outbox)
        assert outbox.progress.stored is not None
        return Stored(outbox.progress.stored, resend=self._advance(outbox))

    def _repeated(self, outbox: Outbox, stream_no: int) -> Outcome:
        stored = outbox.progress.stored
        if stored is None:
            return Failed(f"a batch of stream {stream_no}, which the next stream describes as empty")
        return Repeated(stored)

    def _skip(self, outbox: Outbox, records: Records) -> int:
        """How many of the first records another outbox has already. That one will not take the others again."""
        elsewhere = outbox.elsewhere(self._ledger)
        for other in self._ingest.outboxes.values() if elsewhere.outboxes else ():
            if other.id in elsewhere.outboxes:
                other.forget_elsewhere()
        return elsewhere.leading(records.first_tick, records.end_tick)

    def _missing(self, outbox: Outbox, end_record: int, end_tick: int) -> int:
        """How many records a gap costs that ends there: those that no other outbox has."""
        missing = outbox.progress.records_missing(end_record)
        first_tick = max(end_tick - missing, outbox.progress.end_tick or end_tick - missing)
        return missing - outbox.elsewhere(self._ledger).count(first_tick, end_tick)

    def _note_gap(
        self,
        outbox: Outbox,
        first_seq: int,
        last_seq: int,
        records: int | None,
        end_tick: int | None,
        reason: int,
    ) -> None:
        stream_no = outbox.progress.wanted.stream_no
        row = rows.gap(outbox.id, stream_no, first_seq, last_seq, records, end_tick, reason, self._now)
        self._ledger.changes.gaps[outbox.id, stream_no, first_seq] = row

    # What came out wrong

    def _damaged(self, outbox: Outbox, stream: ActiveStream, item: BatchItem, why: str) -> Outcome:
        """First time: ask for the group once more. Second time: try the group as it was sent again, then quarantine."""
        repair = outbox.repair
        if repair is None or not repair.blocks_the_way:
            builds = not is_keyframe(item.content) and outbox.progress.group_seq is not None
            first = (
                outbox.progress.group_seq if builds and outbox.progress.group_seq is not None else item.seq
            )
            outbox.repair, outbox.copies = Repair(item.stream_no, first, item.seq), {}
            outbox.stream = None  # it may be what is wrong: built again from the store
            return Damaged(Resend(item.stream_no, first, item.seq), why)
        copies, outbox.repair, outbox.copies = outbox.copies, None, {}
        try:
            *earlier, decoded = stream.decode_group(copies, repair.first_seq, repair.last_seq, self._ledger)
        except CodecError:
            return self._quarantine(outbox, item, why)
        self._replace_blocks(outbox, stream, earlier, copies)
        return self._store(outbox, stream, item, decoded, None)

    def _quarantine(self, outbox: Outbox, item: BatchItem, why: str) -> Outcome:
        progress = outbox.progress.after_quarantine()
        assert progress.open_gap_seq is not None
        assert progress.stored is not None
        self._note_gap(outbox, progress.open_gap_seq, item.seq, None, None, pb.GAP_REASON_QUARANTINE)
        outbox.progress = progress
        outbox.stream = None
        self._ledger.changes.quarantine.append(rows.quarantined(outbox.id, item, why, self._now))
        self._save(outbox)
        return Stored(progress.stored, item.late, resend=self._advance(outbox), quarantined=why)

    def _review(self, outbox: Outbox, expected: int, digest: int | None) -> Resend | None:
        """Compare the group that ends here with what the vehicle says of it (0: nothing). Returns what to send again."""
        if not expected or digest is None or digest == expected:
            return None
        wanted, first = outbox.progress.wanted, outbox.progress.group_seq
        assert first is not None
        outbox.repair, outbox.copies = Repair(wanted.stream_no, first, wanted.seq - 1, expected), {}
        return Resend(wanted.stream_no, first, wanted.seq - 1)

    def _settle_review(self, outbox: Outbox, repair: Repair) -> None:
        """The group was sent again: replace what differs, or mark it doubtful if it is still not what it should be."""
        copies, outbox.repair, outbox.copies = outbox.copies, None, {}
        active = outbox.activate(repair.stream_no, self._ledger)
        assert active is not None, "a group is reviewed after it was stored"
        try:
            decoded = active.decode_group(copies, repair.first_seq, repair.last_seq, self._ledger)
            sound = active.decoder_digest == repair.digest
        except CodecError:
            sound = False
        if sound:
            self._replace_blocks(outbox, active, decoded, copies)
            return
        stored = self._ledger.blocks(outbox.id, repair.stream_no, repair.first_seq)
        of = {"of_outbox": outbox.id, "of_stream_no": repair.stream_no}
        self._ledger.changes.batches_doubtful += [
            {**of, "of_seq": seq} for seq, _ in stored if seq <= repair.last_seq
        ]

    def _replace_blocks(
        self, outbox: Outbox, stream: ActiveStream, decoded: Sequence[DecodedBlock], copies: dict[int, bytes]
    ) -> None:
        """Blocks of a group that were stored wrong. Rules ran on the wrong values: faults there become approximate."""
        if not decoded:
            return
        stored = dict(self._ledger.blocks(outbox.id, stream.stream_no, decoded[0].seq))
        changes = self._ledger.changes
        for block in decoded:
            self.values += block.records.counts.size
            if stored.get(block.seq) == copies[block.seq]:
                continue
            row = rows.batch_replaced(outbox.id, stream.stream_no, block, copies[block.seq])
            changes.batches_replaced.append(row)
            changes.telemetry_replaced += rows.telemetry(
                outbox.key.vehicle, stream, block.records, late=True, continues=True
            )
            changes.faults_approximate.append(
                {
                    "of_outbox": outbox.id,
                    "of_stream_no": stream.stream_no,
                    "of_first_tick": block.records.first_tick,
                    "of_end_tick": block.records.end_tick,
                }
            )
