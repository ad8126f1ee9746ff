"""What must be true, whatever happened: section by section, on what the store really holds.

1. Stored is what was sampled: each record at most once, in order, within its thresholds and on its side of every guard in force;
   what is missing is in exactly one gap, or was never committed to an outbox.
   What was damaged on its way so that it decodes, to something else, is put right or marked when its group has ended; a time that
   such a keyframe gave, too.
2. Acked is stored, after any crash of the collector.
3. Some time after the network stays up, nothing is unacknowledged.
4. Faults from the store are faults from the sampled records.
   A provisional fault lies beyond what is stored, and none is left once everything is; each page has one beginning and one end.
5. A vehicle changes nothing of another's, nobody crashes, and what anybody holds is bounded.

Excused from 1, for what they destroy: an outbox restored from an old image; a file that was damaged (its successor says that it
takes its place); a store restored from a backup, where the vehicle's outbox became a fork and left what was acknowledged behind.
`synchronous = NORMAL` loses commits at a power cut, and says so. Where several outboxes have one stream, gaps may count too many.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.errors import CodecError
from codec.schema import Schema
from codec.stream import Clock, StreamFacts
from codec.stream_decoder import StreamDecoder
from tests.simulation import told, verdicts
from tests.simulation.stored_block import Block, difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.items import Item, OutboxKey
    from protos import telemetry_pb2 as pb
    from tests.simulation.truth import Run, Truth
    from tests.simulation.vehicle import Vehicle
    from tests.simulation.world import World

_OUTBOXES = """SELECT id, vin, outbox_id, revision, stream_no, next_seq, stored_stream_no, stored_seq, record_count
FROM outboxes"""
_STREAM_ID = "SELECT stream_id FROM streams WHERE outbox = ? AND stream_no = ?"
_CONTENTS = "SELECT crc FROM batches WHERE outbox = ? ORDER BY stream_no, seq"
_BATCHES = """SELECT stream_no, seq, first_tick, record_count, content, skip FROM batches
WHERE outbox = ? AND (stream_no, seq) > (?, ?) ORDER BY stream_no, seq"""
_OPEN = """SELECT code, faults.stream_no, first_tick FROM faults JOIN outboxes ON outboxes.id = outbox
WHERE outboxes.vin = ? AND outbox_id = ? AND ended_at IS NULL"""
_MARKS = "SELECT stream_no, seq, keyframe, doubtful FROM batches WHERE outbox = ? ORDER BY stream_no, seq"
_ENDS = "SELECT stream_no - 1, prev_last_seq FROM streams WHERE outbox = ? AND prev_digest != 0"
_GAPS = """SELECT stream_id, records, end_tick FROM gaps JOIN streams USING (outbox, stream_no)
WHERE outbox = ? AND records > 0 AND end_tick IS NOT NULL"""
_TILES = """SELECT seq, seq, record_count, NULL FROM batches WHERE outbox = ?1 AND stream_no = ?2
UNION ALL SELECT first_seq, last_seq, records, end_tick FROM gaps WHERE outbox = ?1 AND stream_no = ?2 AND last_seq IS NOT NULL
ORDER BY 1"""


@dataclass(slots=True)
class _Stream:
    stream_id: bytes
    schema: Schema
    decoder: StreamDecoder
    guards_hash: bytes
    run: Run | None


@dataclass(slots=True)
class _View:
    """One outbox as the store has it, as far as it was read."""

    id: int
    vin: str
    outbox_id: bytes
    revision: int = -1
    position: tuple[int, ...] = ()
    stored: tuple[int, int] = (-1, -1)
    last: tuple[int, int] = (-1, -1)  # batch that was read
    streams: dict[int, _Stream] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    clocks: dict[tuple[int, int], int] = field(default_factory=dict)  # offsets in ns, of keyframes
    contents: list[int] = field(default_factory=list)  # CRCs of all batches, where some may be replaced

    def forget(self) -> None:
        """What was read is not what is stored any more."""
        for block in self.blocks:
            block.run.stored[block.at + block.skip : block.at + len(block.records)] -= 1
        self.last = (-1, -1)
        self.streams.clear()
        self.blocks.clear()
        self.clocks.clear()


class Checker:
    """Reads the store with its own eyes after every transaction."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._db: sqlite3.Connection | None = None
        self._views: dict[int, _View] = {}
        self._acked: dict[tuple[str, bytes], tuple[int, int]] = {}

    # The collector

    def committed(self, items: Sequence[Item]) -> None:
        self._read({(item.key.vehicle, item.key.outbox_id) for item in items})

    def said(self, key: OutboxKey | None, message: pb.Down) -> None:
        """Acked is stored, at the moment that it is said."""
        kind = message.WhichOneof("message")
        if key is None or key.vehicle not in self._world.truths or kind not in ("ack", "welcome"):
            return
        if kind == "welcome" and not message.welcome.HasField("stored"):
            self._check_left(key)
            return
        place = message.ack if kind == "ack" else message.welcome.stored
        acked, name = (place.stream_no, place.seq), (key.vehicle, key.outbox_id)
        stored = next((v.stored for v in self._views.values() if (v.vin, v.outbox_id) == name), (-1, -1))
        if acked > stored:
            self._world.violation(f"{key.vehicle}: {kind} of {acked}, stored is {stored}")
        self._acked[name] = max(self._acked.get(name, (-1, -1)), acked)

    def _check_left(self, key: OutboxKey) -> None:
        """A fork was greeted: what was open under its former name has ended, unless a twin may go on with it."""
        left = self._world.truths[key.vehicle].forks.get(key.outbox_id)
        twins = sum(vehicle.identity == key.vehicle for vehicle in self._world.vehicles)
        if left is None or twins > 1 or self._db is None:
            return
        if open_faults := self._db.execute(_OPEN, (key.vehicle, left)).fetchall():
            self._world.violation(f"{key.vehicle}: its former outbox has open faults: {open_faults}")

    def reported(self, key: OutboxKey | None, event: str, fields: dict[str, object]) -> None:
        who = key.vehicle if key else "somebody"
        self._world.note("collector", f"{who}: {event} {fields}")
        ours = key is not None and key.vehicle in self._world.truths  # a hostile peer sends what it likes
        if ours and ("quarantined" in event or "decoded" in event) and not self._world.faults.spoils:
            self._world.violation(f"{who}: {event} {fields}, but nobody damaged anything")

    def station_started(self) -> None:
        """Acked is stored, after a crash."""
        self.close()
        for truth in self._world.truths.values():
            for run in truth.runs:
                run.stored[:] = 0
        self._views.clear()
        self._read(None)
        known = {(view.vin, view.outbox_id): view.stored for view in self._views.values()}
        for name, acked in self._acked.items():
            if known.get(name, (-1, -1)) < acked:
                self._world.violation(
                    f"{name[0]}: {acked} was acked, stored is {known.get(name)} after a restart"
                )

    def backup_comes(self) -> None:
        """An operator's act: what was acked since the backup will no longer be stored, nor its gaps."""
        self._acked.clear()
        for truth in self._world.truths.values():
            for run in truth.runs:
                run.had |= run.stored > 0
        self._db = self._db or sqlite3.connect(self._world.station.path, isolation_level=None)
        for view in self._views.values():
            for stream_id, records, end_tick in self._db.execute(_GAPS, (view.id,)).fetchall():
                if (run := self._world.truths[view.vin].run_of.get(bytes(stream_id))) is not None:
                    before = np.flatnonzero(
                        (run.ticks[: run.count] < end_tick) & (run.stored[: run.count] == 0)
                    )
                    run.had[before[len(before) - min(records, len(before)) :]] = True

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _read(self, named: set[tuple[str, bytes]] | None) -> None:
        """Everything new. Only the outboxes in `named` may have changed."""
        self._db = self._db or sqlite3.connect(self._world.station.path, isolation_level=None)
        for row in self._db.execute(_OUTBOXES).fetchall():
            if row[1] not in self._world.truths:
                continue  # a hostile peer's
            view = self._views.setdefault(row[0], _View(row[0], row[1], bytes(row[2])))
            if view.revision == row[3]:
                continue
            others = named is not None and (view.vin, view.outbox_id) not in named and view.revision >= 0
            if others and row[4:] != view.position:  # its rule state may change with the rules
                self._world.violation(f"{view.vin}: its outbox changed by items of {sorted(named or ())}")
            view.revision, view.position = row[3], row[4:]
            self._read_outbox(view, row)
        told.check_provisional(self._world, self._db)

    def _read_outbox(self, view: _View, row: tuple[Any, ...]) -> None:
        assert self._db is not None
        stream_no, next_seq, record_count = row[4], row[5], row[8]
        stored = (-1, -1) if row[6] is None else (row[6], row[7])
        if stored < view.stored:
            self._world.violation(f"{view.vin}: stored went back from {view.stored} to {stored}")
        view.stored = stored
        if self._world.truths[view.vin].spoiled:
            contents = [crc for (crc,) in self._db.execute(_CONTENTS, (view.id,))]
            if contents[: len(view.contents)] != view.contents:
                view.forget()
            view.contents = contents
        for batch in self._db.execute(_BATCHES, (view.id, *view.last)).fetchall():
            view.last = (batch[0], batch[1])
            self._read_block(view, *batch)
        tiles = self._db.execute(_TILES, (view.id, stream_no)).fetchall()
        if self._has_twins(view, stream_no):
            return  # a gap that another outbox fills is not noted
        covered = sum(last - first + 1 for first, last, _, _ in tiles)
        if covered != next_seq:
            self._world.violation(
                f"{view.vin}: stream {stream_no} is at seq {next_seq}, but {covered} are accounted for: {tiles}"
            )
        counts = [records for _, _, records, _ in tiles]
        if self._doubtful(view, stream_no):
            return  # it may be stored with other records than it has, until it is sent again
        if None not in counts and sum(counts) != record_count:
            self._world.violation(
                f"{view.vin}: stream {stream_no} has {record_count} records by its position, {sum(counts)} by its rows"
            )

    def _has_twins(self, view: _View, stream_no: int) -> bool:
        """Whether another outbox of the vehicle knows the same stream."""
        assert self._db is not None
        row = self._db.execute(_STREAM_ID, (view.id, stream_no)).fetchone()
        return row is not None and self._copies(view.vin, row[0]) > 1

    def _doubtful(self, view: _View, stream_no: int) -> bool:
        """Whether what is stored of the stream may be wrong, and is not known yet to be."""
        assert self._db is not None
        row = self._db.execute(_STREAM_ID, (view.id, stream_no)).fetchone()
        return row is not None and bytes(row[0]) in self._world.truths[view.vin].spoiled

    def _copies(self, vin: str, stream_id: bytes) -> int:
        """How many outboxes of the vehicle know the stream."""
        assert self._db is not None
        wanted = "SELECT count(*) FROM streams JOIN outboxes ON outboxes.id = outbox WHERE vin = ? AND stream_id = ?"
        return int(self._db.execute(wanted, (vin, stream_id)).fetchone()[0])

    def _read_block(
        self, view: _View, stream_no: int, seq: int, first_tick: int, count: int, content: bytes, skip: int
    ) -> None:
        stream = view.streams.get(stream_no) or self._stream(view, stream_no)
        spoiled = stream.stream_id in self._world.truths[view.vin].spoiled
        place = f"{view.vin}: {stream_no}/{seq}"
        try:
            decoded = stream.decoder.decode(seq, content)
        except CodecError as error:
            if not spoiled:
                self._world.violation(f"{place} is stored and cannot be decoded: {error}")
            return
        records = decoded.records
        if decoded.keyframe is not None:
            stream.guards_hash = decoded.keyframe.guards_hash
            if decoded.keyframe.clock_synchronised:
                view.clocks[stream_no, seq] = decoded.keyframe.clock_offset_ns
        if stream.run is None:
            self._world.violation(f"{place}: a stream that no agent began")
            return
        at = stream.run.index(records.first_tick, len(records))
        if at is None or (records.first_tick, len(records)) != (first_tick, count):
            if not spoiled:
                self._world.violation(
                    f"{place}: {len(records)} records from {records.first_tick}, never sampled so"
                )
            return
        block = Block(
            stream_no,
            stream.stream_id,
            seq,
            records,
            stream.guards_hash,
            stream.run,
            at,
            skip,
            decoded.keyframe is not None,
        )
        if spoiled:
            _give_back(view.blocks, stream_no, records.first_tick)
        view.blocks.append(block)
        stored = stream.run.stored[at + skip : at + count]
        stored += 1
        if (stored > 1).any():
            self._world.violation(
                f"{place}: records from {records.first_tick} of {stream.run.name} are stored twice"
            )
        if not spoiled and (wrong := difference(block)):
            self._world.violation(f"{place}: {wrong}")

    def _stream(self, view: _View, stream_no: int) -> _Stream:
        assert self._db is not None
        row = self._db.execute(
            "SELECT stream_id, origin_tick, facts_offset_ns, facts_synchronised, streams.guards_hash, prior_hash, content "
            "FROM streams JOIN blobs ON blobs.kind = 1 AND blobs.hash = schema_hash WHERE outbox = ? AND stream_no = ?",
            (view.id, stream_no),
        ).fetchone()
        facts = StreamFacts(
            bytes(row[0]), stream_no, row[1], Clock(row[2], bool(row[3])), bytes(row[4]), bytes(row[5])
        )
        schema = Schema.from_bytes(row[6])
        run = self._world.truths[view.vin].run_of.get(facts.stream_id)
        made = _Stream(facts.stream_id, schema, StreamDecoder(schema, facts), facts.guards_hash, run)
        view.streams[stream_no] = made
        return made

    # The vehicles

    def agent_started(self, vehicle: Vehicle) -> None:
        """What was committed is there, whatever ended the last life."""
        assert vehicle.agent is not None
        rows = vehicle.agent.capture.outbox._db.execute("SELECT stream_id, record_count FROM streams")
        here = dict(rows.fetchall())
        for stream_id, committed in list(vehicle.committed.items()):
            if vehicle.lenient:
                vehicle.committed[stream_id] = min(committed, here.get(stream_id, 0))
            elif stream_id in here and here[stream_id] < committed:
                self._world.violation(
                    f"{vehicle.name}: {committed} records were committed, {here[stream_id]} are there after a restart"
                )
        vehicle.lenient = False

    # The end

    def final(self) -> None:
        """When everything has calmed down."""
        for vehicle in self._world.vehicles:
            if not vehicle.gone and not (vehicle.agent and vehicle.agent.drained):
                self._world.violation(f"{vehicle.name}: did not drain: {vehicle.state()}")
        for view in self._views.values():
            view.revision = -1  # what is replaced is no step of its outbox
        self._read(None)
        unconfirmed: dict[str, set[int]] = {vin: set() for vin in self._world.truths}
        for view in self._views.values():
            self._walk(view)
            ended = self._check_groups(view)
            unconfirmed[view.vin] |= {view.clocks[place] for place in view.clocks.keys() - ended}
        for vin, truth in self._world.truths.items():
            self._account(vin, truth)
            verdicts.check_reader(self._world, vin, truth, unconfirmed[vin])
        assert self._db is not None
        told.check_notices(self._world, self._db)
        counts = self._world.faults.counts
        if not counts["rules changed"] and not counts["rules changed while it runs"]:
            for view in self._views.values():
                verdicts.check_faults(self._world, self._db, view)

    def _walk(self, view: _View) -> None:
        """Batches and gaps side by side: what is between two blocks is in the gap between them, no more and no less."""
        assert self._db is not None
        truth = self._world.truths[view.vin]
        by_place = {(block.stream_no, block.seq): block for block in view.blocks}
        numbers = self._db.execute(
            "SELECT stream_no, stream_id, origin_tick FROM streams WHERE outbox = ?", (view.id,)
        )
        for stream_no, stream_id, origin_tick in numbers.fetchall():
            run = truth.run_of[bytes(stream_id)]
            at: int | None = run.index(origin_tick, 1)
            if at is None:
                self._world.violation(
                    f"{view.vin}: stream {stream_no} begins at {origin_tick}, never sampled"
                )
                continue
            twins = self._has_twins(view, stream_no)
            for first, last, records, end_tick in self._db.execute(_TILES, (view.id, stream_no)).fetchall():
                block = by_place.get((stream_no, first))
                if block is None and twins and at is not None and end_tick is not None:
                    counted = None if bytes(stream_id) in truth.spoiled else records
                    at = self._cross_shared_gap(
                        run, at, counted, end_tick, f"{view.vin}: {stream_no}/{first}"
                    )
                    continue
                if block is None:
                    at = self._cross_gap(view, run, at, records, (stream_no, first, last))
                    continue
                between = run.stored[at : block.at] if at is not None else run.stored[:0]
                passed = (
                    at is None or at == block.at or (len(between) and between.all())
                )  # another outbox has it
                if not passed and bytes(stream_id) not in truth.spoiled:
                    self._world.violation(
                        f"{view.vin}: {stream_no}/{first} begins at record {block.at}, expected {at}"
                    )
                at = block.at + len(block.records)

    def _check_groups(self, view: _View) -> set[tuple[int, int]]:
        """A whole group of which something came out wrong was replaced, or is marked, once its digest is known here.

        Returns where the groups begin whose digests are.
        """
        assert self._db is not None
        right = {
            (block.stream_no, block.seq) for block in view.blocks if not (block.claimed or difference(block))
        }
        ends = set(self._db.execute(_ENDS, (view.id,)))  # of streams, as those after them have them
        wrong: list[tuple[int, int]] = []
        ended: set[tuple[int, int]] = set()
        begin = before = (-1, -1)
        for stream_no, seq, keyframe, doubtful in self._db.execute(_MARKS, (view.id,)).fetchall():
            if before != (stream_no, seq - 1):
                wrong, begin = [], (-1, -1)
            if keyframe:
                self._told_of(view, wrong, (stream_no, seq))
                ended.add(begin)
                wrong, begin = [], (stream_no, seq)
            wrong += [(stream_no, seq)] if (stream_no, seq) not in right and not doubtful else []
            before = (stream_no, seq)
            if before in ends and stream_no < view.position[0]:
                self._told_of(view, wrong, before)
                ended.add(begin)
        return ended

    def _told_of(self, view: _View, wrong: list[tuple[int, int]], end: tuple[int, int]) -> None:
        if wrong:
            self._world.violation(
                f"{view.vin}: {wrong} came out wrong, and nothing is said of it after {end}"
            )

    def _cross_gap(
        self, view: _View, run: Run, at: int | None, records: int | None, place: tuple[int, int, int]
    ) -> int | None:
        if at is None or records is None:
            if not self._world.truths[view.vin].spoiled:
                self._world.violation(f"{view.vin}: nobody knows what gap {place} holds")
            return None
        while records and at < run.count:
            records -= int(run.stored[at] == 0)  # what another outbox has is no part of the gap
            run.missed[at] += run.stored[at] == 0
            at += 1
        if records and not self._world.truths[view.vin].spoiled:
            self._world.violation(f"{view.vin}: gap {place} holds more than was ever sampled")
        return at

    def _cross_shared_gap(self, run: Run, at: int, records: int | None, end_tick: int, place: str) -> int:
        """Of a stream that several outboxes have: they may miss the same records, and find them in each other later.

        So it counts no fewer than are missing, and perhaps more.
        """
        stop = max(at, int(np.searchsorted(run.ticks[: run.count], end_tick)))
        missing = run.stored[at:stop] == 0
        run.missed[at:stop] |= missing
        if records is not None and records < np.count_nonzero(missing):
            self._world.violation(f"{place}: a gap of {records}, but {np.count_nonzero(missing)} are missing")
        return stop

    def _account(self, vin: str, truth: Truth) -> None:
        """Each committed record is stored or in a gap, once."""
        required: dict[bytes, int] = {}
        for vehicle in self._world.vehicles:
            if vehicle.identity == vin:
                for stream_id, committed in vehicle.committed.items():
                    required[stream_id] = max(required.get(stream_id, 0), committed)
        for stream_id, committed in required.items():
            stream = truth.streams[stream_id]
            if stream_id in truth.spoiled:
                continue
            part = slice(stream.start, stream.start + committed)
            accounted = stream.run.stored[part].astype(int) + stream.run.missed[part]
            if self._copies(vin, stream_id) > 1:
                accounted = accounted.clip(max=1)  # several outboxes may say that they miss the same
            if truth.forks:  # nobody has it any more under the name that the backup knows
                accounted = np.maximum(accounted, stream.run.had[part])
            if (accounted == 1).all():
                continue
            name = "missing" if (accounted == 0).any() else "accounted for twice"
            which = np.flatnonzero(accounted != 1)
            self._world.violation(
                f"{vin}: {len(which)} of {committed} committed records of {stream.run.name} are {name}, "
                f"ticks {stream.run.ticks[stream.start + which[0]]}..{stream.run.ticks[stream.start + which[-1]]}"
            )


def _give_back(blocks: Sequence[Block], stream_no: int, first_tick: int) -> None:
    """What blocks before this place claim from it on, they have not: readers give every tick once, of the block that begins last."""
    for block in reversed(blocks):
        if block.stream_no != stream_no or block.records.end_tick <= first_tick:
            return
        kept = max(0, first_tick - block.records.first_tick)
        block.run.stored[block.at + max(kept, block.skip) : block.at + len(block.records)] -= 1
        block.records = block.records.slice(0, kept)
        block.claimed = True
