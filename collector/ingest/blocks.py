"""Blocks and gaps of one transaction: what each is at this point, what is stored of it, and what is done where it is wrong.

Rules
- A batch before the position is a duplicate and changes nothing. Beyond it, nothing is taken: the outcome names what is
  wanted. What is damaged is asked for once more, with its whole group; if it fails again it is quarantined, and the
  hole up to the next keyframe is a gap.
- Unknown is not damaged: a prior or block version that is not here leaves the position where it is. A prior that is lost on
  both sides is damage.
- A group that came out wrong as a whole is doubtful, in the transaction that asks for it again, until it has come and is
  right. So is what a quarantined block builds on, where it came in two versions.
- What another outbox of the vehicle has is decoded, and neither shown nor counted again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from codec.errors import CodecError, DamagedBlock, UnknownBlock
from codec.stream import Clock, is_keyframe
from collector.ingest import rows
from collector.ingest.progress import Place, Repair
from collector.ingest.taken import Read, Waiting, read_together, surveyed
from collector.items import (
    BatchItem,
    Damaged,
    Failed,
    Forked,
    GapItem,
    Hole,
    Ignored,
    Lacking,
    OutboxKey,
    Outcome,
    Repeated,
    Resend,
    Stored,
)
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codec.records import Records
    from codec.stream import DecodedBlock
    from collector.ingest.active import ActiveStream
    from collector.ingest.changes import Ledger
    from collector.ingest.findings import Findings
    from collector.ingest.outbox import Outbox
    from collector.ingest.pager import Pager


class Blocks:
    """Applies batches and gaps to outboxes. `outboxes`: those in memory; `now` labels rows."""

    def __init__(
        self,
        ledger: Ledger,
        outboxes: Mapping[OutboxKey, Outbox],
        findings: Findings,
        pager: Pager,
        now: str,
    ) -> None:
        self.values = 0  # decoded so far
        self._ledger = ledger
        self._outboxes = outboxes
        self._findings = findings
        self._pager = pager
        self._now = now

    def advance(self, outbox: Outbox) -> Resend | None:
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
            self._findings.left(outbox)
            outbox.progress = outbox.progress.after_stream()
            outbox.stream = None
            outbox.learn(self._ledger)
            self.save(outbox)
        return resend

    def save(self, outbox: Outbox) -> None:
        """Position and rule state, as they are now."""
        self._pager.passed(outbox)
        self._ledger.changes.outboxes[outbox.id] = outbox

    # Batches and gaps

    def batch(self, outbox: Outbox, item: BatchItem) -> Outcome | Waiting:
        """What came of it, or, where it is the next one and its header can be read, what waits to be decoded."""
        for asked in outbox.asked_again:
            if asked.covers(item.stream_no, item.seq):
                asked.copies[item.seq] = item.content
        match outbox.progress.place(item.stream_no, item.seq, item.seq):
            case Place.BEFORE:
                outcome = self._duplicate(outbox, item)
                for review in list(outbox.reviews):
                    if (item.stream_no, item.seq) == (review.stream_no, review.last_seq):
                        self._settle_review(outbox, review)
                return outcome
            case Place.BEYOND:
                return Ignored() if outbox.repair else Hole(outbox.progress.wanted)
            case Place.NEXT:
                pass
        stream = outbox.wanted_stream(self._ledger)
        if stream is None:
            return self._undescribed(outbox)
        if outbox.progress.open_gap_seq is not None and not is_keyframe(item.content):
            return self._quarantine(outbox, item, "builds on a block that was quarantined")
        digest = stream.group_digest(outbox.progress)
        try:
            opened = stream.open(item.seq, item.content, self._ledger, end_tick=outbox.progress.end_tick)
        except UnknownBlock as error:
            return self._unknown(outbox, item, error)
        except DamagedBlock as error:
            return self._unreadable(outbox, stream, item, error)
        waiting = Waiting(outbox, stream, item, digest, opened)
        self.values += waiting.values
        return waiting

    def read(self, begun: Sequence[Outcome | Waiting]) -> list[Outcome]:
        """What came of each, now that those of them that waited are decoded."""
        waiting = [one for one in begun if isinstance(one, Waiting)]
        blocks = iter(read_together(waiting))
        return [self._read(one, next(blocks)) if isinstance(one, Waiting) else one for one in begun]

    def _read(self, waiting: Waiting, block: Read | DamagedBlock) -> Outcome:
        self._ledger.mark()
        outbox, stream, item = waiting.outbox, waiting.stream, waiting.item
        if isinstance(block, DamagedBlock):
            return self._unreadable(outbox, stream, item, block)
        outbox.repair = None
        return self._store(outbox, stream, item, block, waiting.digest)

    def _store(
        self, outbox: Outbox, stream: ActiveStream, item: BatchItem, block: Read, digest: int | None
    ) -> Outcome:
        """A batch that fits: its rows, its faults, its position. `digest`: what the group before it came to here."""
        decoded, before, changes = block.decoded, outbox.progress, self._ledger.changes
        records, keyframe = decoded.records, decoded.keyframe
        stream.note(decoded, self._ledger)
        resend = None
        first_record = before.record_count
        if keyframe is not None:
            # By the vehicle's count: what is stored may be more records, or fewer, than there were.
            first_record = keyframe.first_record
            if before.open_gap_seq is not None:
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
            if resend is None:  # one that contradicts the group before it may be wrong itself
                outbox.place_in_time(stream, item.seq, keyframe, self._ledger)
        skip = self._skip(outbox, records)
        changes.batches.append(rows.batch(outbox.id, item, decoded, skip))
        if skip < len(records):
            continues = before.end_tick == records.first_tick or skip > 0
            fresh = block.surveyed if not skip else surveyed(stream, records.slice(skip, len(records)))
            self._findings.take(outbox, stream, fresh, late=item.late, continues=continues)
        outbox.progress = before.after_block(
            keyframe=keyframe is not None,
            first_record=first_record,
            record_count=len(records),
            end_tick=records.end_tick,
        )
        self.save(outbox)
        assert outbox.progress.stored is not None
        wanted = stream.guards_hash if keyframe is not None and not stream.guards_known else b""
        resend = self.advance(outbox) or resend
        return Stored(outbox.progress.stored, item.late, wanted, resend)

    def gap(self, outbox: Outbox, item: GapItem) -> Outcome:
        progress = outbox.progress
        match progress.place(item.stream_no, item.first_seq, item.last_seq):
            case Place.BEFORE:
                return self._repeated(outbox, item.stream_no, item.last_seq)
            case Place.BEYOND:
                return Ignored() if outbox.repair else Hole(progress.wanted)
            case Place.NEXT:
                pass
        # A quarantine that this gap continues had a count that nobody knew: together they have one.
        first = progress.wanted.seq if progress.open_gap_seq is None else progress.open_gap_seq
        reason = item.reason if progress.open_gap_seq is None else pb.GAP_REASON_QUARANTINE
        missing = self._missing(outbox, item.end_record, item.end_tick)
        if missing or not progress.records_missing(item.end_record) or progress.open_gap_seq is not None:
            self._note_gap(outbox, first, item.last_seq, missing, item.end_tick, reason)
        outbox.progress = progress.after_gap(item.last_seq, item.end_record)
        outbox.gap_end = item.stream_no, item.end_tick
        outbox.stream = None
        outbox.repair = None
        self.save(outbox)
        assert outbox.progress.stored is not None
        return Stored(outbox.progress.stored, resend=self.advance(outbox))

    def _duplicate(self, outbox: Outbox, item: BatchItem) -> Outcome:
        """A place that is taken. By another block: its stream was cut short by a crash, and a twin ended it otherwise."""
        stored = self._ledger.block(outbox.id, item.stream_no, item.seq)
        asked = any(one.covers(item.stream_no, item.seq) for one in outbox.asked_again)
        if stored not in (None, item.content) and not asked:
            return Forked()
        return self._repeated(outbox, item.stream_no, item.seq)

    def _repeated(self, outbox: Outbox, stream_no: int, seq: int) -> Outcome:
        """Of a stream that ended before it, as the next one says, of which nothing came: a twin began that one."""
        stored = outbox.progress.stored
        if stored is None or (stored.stream_no, stored.seq) < (stream_no, seq):
            return Forked()
        return Repeated(stored)

    def _skip(self, outbox: Outbox, records: Records) -> int:
        """How many of the first records another outbox has already. That one will not take the others again."""
        elsewhere = outbox.elsewhere(self._ledger)
        for other in self._outboxes.values() if elsewhere.outboxes else ():
            if other.id in elsewhere.outboxes:
                other.forget_elsewhere()
        return elsewhere.leading(records.first_tick, records.end_tick)

    def _missing(self, outbox: Outbox, end_record: int, end_tick: int) -> int:
        """How many records a gap costs that ends there: those that no other outbox has.

        Each record has a tick of its own. A count that is less than what is here was believed of a block that was stored wrong:
        ticks alone tell then.
        """
        progress = outbox.progress
        missing = progress.records_missing(end_record)
        if progress.end_tick is not None:
            ticks = max(0, end_tick - max(progress.end_tick, outbox.gap_end_of(progress.wanted.stream_no)))
            missing = ticks if end_record < progress.record_count else min(missing, ticks)
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

    def _undescribed(self, outbox: Outbox) -> Outcome:
        wanted = outbox.progress.wanted
        known = outbox.descriptions.get(wanted.stream_no)
        return Hole(wanted) if known is None else Lacking(pb.BLOB_KIND_SCHEMA, known.schema_hash, wanted)

    # What came out wrong

    def _unreadable(
        self, outbox: Outbox, stream: ActiveStream, item: BatchItem, error: DamagedBlock
    ) -> Outcome:
        if stream.unread is not None and not is_keyframe(item.content):
            return self._unknown(outbox, item, stream.unread)
        return self._damaged(outbox, stream, item, str(error))

    def _unknown(self, outbox: Outbox, item: BatchItem, error: UnknownBlock) -> Outcome:
        kind, missing = error.missing
        if kind != "prior" or not isinstance(missing, bytes):
            return Failed(f"block version {missing!r} is newer than this collector: upgrade it")
        if missing in outbox.priors_gone:
            return self._quarantine(outbox, item, f"starts from prior {missing.hex()}, which nobody has")
        outbox.stream = None  # to be built again once the prior is here
        return Lacking(pb.BLOB_KIND_PRIOR, missing, outbox.progress.wanted)

    def _damaged(self, outbox: Outbox, stream: ActiveStream, item: BatchItem, why: str) -> Outcome:
        """First time: ask for the group once more. Second time: try the group as it was sent again, then quarantine."""
        repair, outbox.repair = outbox.repair, None
        if repair is None:
            group = None if is_keyframe(item.content) else outbox.progress.group_seq
            first = item.seq if group is None else group
            outbox.repair = Repair(item.stream_no, first, item.seq)
            outbox.stream = None  # it may be what is wrong: built again from the store
            return Damaged(Resend(item.stream_no, first, item.seq), why)
        copies = repair.copies
        digest = stream.group_digest(outbox.progress) if repair.first_seq == item.seq else None
        try:
            *earlier, decoded = stream.decode_group(copies, repair.first_seq, repair.last_seq, self._ledger)
        except CodecError:
            self._doubt_what_differs(outbox, repair)
            return self._quarantine(outbox, item, why)
        if earlier:  # they may be more records, or fewer, than those that were stored
            assert earlier[0].keyframe is not None
            count = earlier[0].keyframe.first_record + sum(len(block.records) for block in earlier)
            outbox.progress = replace(
                outbox.progress, record_count=count, end_tick=earlier[-1].records.end_tick
            )
        self._replace_blocks(outbox, stream, earlier, copies)
        self.values += decoded.records.counts.size
        if not self._overrun(outbox, stream, decoded):
            return self._quarantine(outbox, item, why)
        return self._store(outbox, stream, item, Read(decoded, surveyed(stream, decoded.records)), digest)

    def _overrun(self, outbox: Outbox, stream: ActiveStream, decoded: DecodedBlock) -> bool:
        """Whether a block that came twice alike may begin before what is stored ends: then that is wrong, and of one group."""
        progress, first_tick = outbox.progress, decoded.records.first_tick
        if progress.end_tick is None or first_tick >= progress.end_tick:
            return True
        before, group = self._ledger.last_group(outbox.id, stream.stream_no)
        claimed = {seq: ticks for seq, ticks in group.items() if ticks.stop > first_tick}
        if not claimed or (before is not None and first_tick < before):
            return False
        self._findings.overrun(outbox, stream, first_tick, list(claimed.values()))
        self._mark(outbox, stream.stream_no, min(group), max(group), doubtful=True)
        count = progress.record_count if decoded.keyframe is None else decoded.keyframe.first_record
        outbox.progress = replace(progress, record_count=count, end_tick=first_tick)
        return True

    def _quarantine(self, outbox: Outbox, item: BatchItem, why: str) -> Outcome:
        progress = outbox.progress.after_quarantine()
        assert progress.open_gap_seq is not None
        assert progress.stored is not None
        self._note_gap(outbox, progress.open_gap_seq, item.seq, None, None, pb.GAP_REASON_QUARANTINE)
        outbox.progress = progress
        outbox.stream = None
        outbox.repair = None  # what it waited for is settled
        self._ledger.changes.quarantine.append(rows.quarantined(outbox.id, item, why, self._now))
        self.save(outbox)
        return Stored(progress.stored, item.late, resend=self.advance(outbox), quarantined=why)

    def _review(self, outbox: Outbox, expected: int, digest: int | None) -> Resend | None:
        """Compare the group that ends here with what the vehicle says of it (0: nothing). Returns what to send again.

        It is doubtful until it has come: that it was asked for is forgotten with the conversation.
        """
        if not expected or digest is None or digest == expected:
            return None
        wanted, first = outbox.progress.wanted, outbox.progress.group_seq
        assert first is not None
        review = Repair(wanted.stream_no, first, wanted.seq - 1, expected)
        outbox.reviews.append(review)
        self._doubt(outbox, first, wanted.seq - 1)
        return Resend(review.stream_no, review.first_seq, review.last_seq)

    def _doubt_what_differs(self, outbox: Outbox, repair: Repair) -> None:
        """The block does not fit what is stored, nor what was sent again: where these differ, neither is to be believed.

        No keyframe will tell, since the group is not whole.
        """
        stored = dict(self._ledger.blocks(outbox.id, repair.stream_no, repair.first_seq))
        if any(
            stored.get(seq) != repair.copies.get(seq, b"") for seq in range(repair.first_seq, repair.last_seq)
        ):
            self._doubt(outbox, repair.first_seq, repair.last_seq - 1)

    def _doubt(self, outbox: Outbox, first_seq: int, last_seq: int) -> None:
        """Batches of the wanted stream, and what was made of them."""
        stream_no = outbox.progress.wanted.stream_no
        self._mark(outbox, stream_no, first_seq, last_seq, doubtful=True)
        ticks = self._ledger.ticks(outbox.id, stream_no, first_seq)
        self._findings.doubt(outbox, stream_no, range(ticks[first_seq].start, ticks[last_seq].stop))
        stream = outbox.any_stream(stream_no, self._ledger)
        content = self._ledger.block(outbox.id, stream_no, first_seq)
        if stream is not None and content is not None:
            outbox.doubt_time(stream, stream.keyframe(first_seq, content, self._ledger), self._ledger)

    def _mark(self, outbox: Outbox, stream_no: int, first_seq: int, last_seq: int, *, doubtful: bool) -> None:
        place = {"of_outbox": outbox.id, "of_stream_no": stream_no}
        row = {**place, "of_first_seq": first_seq, "of_last_seq": last_seq, "doubtful": doubtful}
        self._ledger.changes.batches_doubtful.append(row)

    def _settle_review(self, outbox: Outbox, review: Repair) -> None:
        """The group was sent again: replace what differs. It stays doubtful if it is still not what it should be."""
        outbox.reviews.remove(review)
        stream = outbox.activate(review.stream_no, self._ledger)
        assert stream is not None, "a group is reviewed after it was stored"
        try:
            decoded = stream.decode_group(review.copies, review.first_seq, review.last_seq, self._ledger)
        except CodecError:
            return
        if stream.decoder.group_digest == review.digest:
            self._replace_blocks(outbox, stream, decoded, review.copies)
            if (keyframe := decoded[0].keyframe) is not None:
                outbox.place_in_time(stream, review.first_seq, keyframe, self._ledger)
            self._mark(outbox, review.stream_no, review.first_seq, review.last_seq, doubtful=False)

    def _replace_blocks(
        self, outbox: Outbox, stream: ActiveStream, decoded: Sequence[DecodedBlock], copies: dict[int, bytes]
    ) -> None:
        """Blocks of a group that were stored wrong. Rules ran on the wrong values: faults there become approximate."""
        if not decoded:
            return
        stored = dict(self._ledger.blocks(outbox.id, stream.stream_no, decoded[0].seq))
        ticks = self._ledger.ticks(outbox.id, stream.stream_no, decoded[0].seq)
        stream_id = stream.description.facts.stream_id
        elsewhere = self._ledger.elsewhere(outbox.id, outbox.key.vehicle, stream_id)
        differs = False
        for block in decoded:
            self.values += block.records.counts.size
            # What builds on a block that was wrong was read as something else, whatever its bytes.
            differs = differs or stored.get(block.seq) != copies[block.seq]
            if not differs:
                continue
            skip = elsewhere.leading(block.records.first_tick, block.records.end_tick)
            row = rows.batch_replaced(outbox.id, stream.stream_no, block, copies[block.seq], skip)
            self._ledger.changes.batches_replaced.append(row)
            if block.keyframe is not None:
                wrong = stream.keyframe(block.seq, stored.get(block.seq, b""), self._ledger)
                clock = Clock(block.keyframe.clock_offset_ns, block.keyframe.clock_synchronised)
                outbox.correct_time(stream, wrong, clock, self._ledger)
            self._findings.replace(outbox, stream, block, ticks.get(block.seq, range(0)))
        self._findings.replaced(outbox, stream)
