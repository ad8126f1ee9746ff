"""The outbox: the SQLite file that everything goes through before it is sent.

Rules
- One thread writes. What has to become durable together is one `Commit` and one transaction.
- The journal is a few rows that are written again and again: what a stored block holds already does not count any
  more. After a crash what does count becomes the stream's last block.
- Pages are small, and rows of the journal keep their place and size, because what wears the disk is whole pages: see
  `benchmarks/outbox.py`.
- Acknowledged is not gone: groups go when the quota needs their room, acknowledged ones first, then the oldest, those
  in which a guard was crossed last. Each leaves a gap row, written in the transaction that deletes.
- What SQLite or a checksum finds damaged is accounted: a row becomes a gap to the next keyframe, a file is set aside.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.allowance import Spent
from edge_agent.blobs import is_sound
from edge_agent.errors import OutboxBusy, OutboxDamaged, OutboxError
from edge_agent.outbox_check import check, check_columns, check_rows, expect_nothing
from edge_agent.outbox_facts import Facts
from edge_agent.outbox_file import (
    OUTBOX_ID_BYTES,
    REPLACED_MAX,
    lock_outbox,
    remember_ids,
    remembered_ids,
)
from edge_agent.outbox_rows import (
    NOWHERE,
    SQL,
    batch_crc,
    batch_of,
    damaged_stream,
    end_crc,
    explain,
    gap_crc,
    gap_of,
    in_order,
    journal_crc,
    journal_of,
    spelled,
    stream_crc,
    stream_of,
)
from edge_agent.rows import (
    BatchRow,
    BlobKind,
    Commit,
    GapRow,
    JournalRow,
    Reason,
    StreamEnd,
    StreamRow,
    position_of,
    split_position,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = 1  # of the schema, in user_version; with N + 1 comes `migrate_from_N` in outbox.sql
PAGE_BYTES = 512  # SQLite's smallest: a commit appends two or three of them to the write-ahead log
JOURNAL_STEP_BYTES = (
    256  # the journal's rows are all as long as the longest so far, in steps: see `_put_journal`
)
CHECK_S = 0.5  # of the file, before it is used: capture begins within a second
BUSY_MS = 1000  # somebody else's lock (a shell, a backup) holds a commit up for so long, then it is tried again later


class Outbox:
    """The writer. Not thread-safe; readers have connections of their own (see `outbox_reader`)."""

    def __init__(
        self,
        path: str,
        new_id: Callable[[int], bytes] = secrets.token_bytes,
        *,
        synchronous: str = "FULL",
        side_log: bool = False,
    ) -> None:
        """Open or make the file at `path`. `new_id` draws so many random bytes.

        Raises OutboxError where it cannot be used, OutboxBusy where it could later, OutboxDamaged (see `set_aside`).
        """
        self.path = path
        self._new_id = new_id
        self._journal_slot = 0  # where the next row of the journal goes
        self._journal_bytes = 0  # how long its rows are
        self.checked = True  # the whole file; if not, somebody else has to: see `OutboxReader.check`
        self._lock = lock_outbox(path)
        try:
            with self._explained(opening=True):
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._open(synchronous, side_log=side_log)
        except BaseException:
            self.close()
            raise

    def _open(self, synchronous: str, *, side_log: bool) -> None:
        self._db.text_factory = spelled
        self._facts = Facts(self._db)
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        version = self._pragma("user_version")
        if version < 0:
            raise OutboxDamaged(f"{self.path}: an outbox that says version {version}")
        if version > VERSION and self._facts.get("version", 0) == VERSION:
            raise OutboxDamaged(f"{self.path}: an outbox of version {VERSION} that says {version}")
        if version > VERSION:
            raise OutboxError(
                f"{self.path}: outbox of version {version}; this software knows {VERSION}: install the newer one again, "
                "or name another [outbox] path"
            )
        self._db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a file that is made now
        self._db.execute("PRAGMA secure_delete = OFF")  # Debian's default writes zeros over what is deleted
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        if version == 0:
            expect_nothing(self._db, self.path)
            replaces = remembered_ids(self._lock)[-REPLACED_MAX * OUTBOX_ID_BYTES :]
            with self._transaction():
                for statement in SQL["schema"].split(";\n"):
                    self._db.execute(statement)
                self._facts.name(self._new_id(OUTBOX_ID_BYTES), replaces, b"")
                self._facts.set("version", VERSION)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        else:
            self.checked = check(self._db, self.path, within_s=CHECK_S)
            if version < VERSION:
                self._migrate(version)
            check_columns(self._db, self.path, SQL["schema"])
        with self._transaction():  # shows now, not at the first block, whether the disk takes writes
            self._facts.set("opened", 1)
            self.outbox_id, self.replaces, self.forked_from = self._facts.named(self.path)
            wanted = self._facts.wanted()
            self._facts.keep_wanted(wanted)
            end = check_rows(self._db, self.path, wanted, checked=self.checked)
            self._delete_damaged_gaps()
            if side_log:
                self._db.execute(SQL["side_log_schema"])
        self.ids = {self.outbox_id}  # of this file since it was opened
        self._page_bytes = self._pragma("page_size")
        self.guards_hash = self._facts.get("guards_hash", b"")
        self._prior = self._facts.get("prior", b"")  # the schema that it is for, and its name
        self._remember()
        self.wanted = min(max(wanted, 0), end)
        self.spent = Spent(self._facts.get("spent_month", 0), self._facts.get("spent_bytes", 0))
        self._kept = (self.wanted, self.spent)

    def _migrate(self, version: int) -> None:
        """Step by step, all or nothing: what older software wrote is sent by this one."""
        with self._transaction():
            for older in range(version, VERSION):
                for statement in SQL[f"migrate_from_{older}"].split(";\n"):
                    self._db.execute(statement)
            self._facts.set("version", VERSION)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _remember(self) -> None:
        """Where damage to the file does not reach: should it be lost, what begins in its place says so."""
        try:
            remember_ids(self._lock, self.replaces + self.outbox_id)
        except OSError as error:
            raise OutboxBusy(f"{self.path}.lock: {error.strerror}; free some disk space") from error

    def close(self) -> None:
        """Keep the last acknowledgement and let go of the file."""
        if hasattr(self, "_kept") and (self.wanted, self.spent) != self._kept:
            # Where it fails, what the collector knows already is sent again.
            with contextlib.suppress(OutboxBusy, OutboxDamaged):
                self.commit(Commit(), limit_bytes=NOWHERE)
        if hasattr(self, "_db"):
            self._db.close()
        os.close(self._lock)

    # What a commit does

    def commit(self, commit: Commit, *, limit_bytes: int) -> bool:
        """Make it durable, and stay below `limit_bytes`. All or nothing: raises OutboxBusy or OutboxDamaged.

        Returns whether blocks went that the next one would build on: that one has to be a keyframe.
        """
        with self._explained(), self._transaction():
            if commit.stream is not None:
                self._insert_stream(commit.stream)
            slot = 0 if commit.batches or commit.gaps else self._journal_slot
            for batch in commit.batches:
                self._insert_batch(batch)
            for gap in commit.gaps:
                self._insert_gap(gap)
            for at, row in enumerate(commit.journal, slot):
                self._put_journal(at, row)
            if commit.side_log:
                self._db.executemany(SQL["insert_side_log"], commit.side_log)
            if commit.end is not None:
                self._update_stream(commit.end)
            self._keep_facts()
            open_group = self._evict(limit_bytes) if commit else False
        self._kept = (self.wanted, self.spent)
        self._journal_slot = slot + len(commit.journal)
        return open_group

    def _keep_facts(self) -> None:
        """What was told since the last commit."""
        wanted, spent = self._kept
        if self.wanted != wanted:
            self._facts.keep_wanted(self.wanted)
        if self.spent != spent:
            self._facts.set("spent_month", self.spent.month)
            self._facts.set("spent_bytes", self.spent.bytes)

    def _insert_stream(self, row: StreamRow) -> None:
        facts, clock = row.facts, row.facts.clock
        end = StreamEnd(row.stream_no, 0, 0, facts.origin_tick, 0, facts.guards_hash)
        values = (
            row.stream_no, facts.stream_id, row.boot_id, row.schema_hash, facts.origin_tick, clock.offset_ns,
            clock.synchronised, facts.guards_hash, facts.prior_hash, end.end_tick, end.guards_hash, stream_crc(row),
            end_crc(end),
        )  # fmt: skip
        self._db.execute(SQL["insert_stream"], values)

    def _insert_batch(self, row: BatchRow) -> None:
        group = position_of(row.stream_no, row.group_seq)
        values = (row.position, group, row.first_tick, row.record_count, row.end_record, row.crossing)
        self._db.execute(SQL["insert_batch"], (*values, batch_crc(row), row.content))

    def _put_journal(self, slot: int, row: JournalRow) -> None:
        """SQLite overwrites a row of the same size in place, and of that only the pages that change."""
        size = len(row.content)
        self._journal_bytes = max(self._journal_bytes, size + -size % JOURNAL_STEP_BYTES)
        padded = row.content.ljust(self._journal_bytes, b"\0")
        values = (slot, row.stream_no, row.first_tick, row.record_count, journal_crc(row), size, padded)
        self._db.execute(SQL["put_journal"], values)

    def _update_stream(self, end: StreamEnd) -> None:
        values = (end.next_seq, end.record_count, end.end_tick, end.digest, end.guards_hash, end_crc(end))
        self._db.execute(SQL["update_stream"], (*values, end.stream_no))

    # Room

    def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        return self.file_bytes() - self._pragma("freelist_count") * self._page_bytes

    def file_bytes(self) -> int:
        """Bytes of the file; it never shrinks."""
        return self._pragma("page_count") * self._page_bytes

    def _evict(self, limit_bytes: int) -> bool:
        open_group, first = False, None
        while self.used_bytes() > limit_bytes:
            gone, first = first, self._evictable()
            if first is None:
                break
            if first == gone:
                raise OutboxDamaged(f"{self.path}: block {first} was deleted, and is still found")
            open_group |= self._drop(first, self._group_end(first), Reason.QUOTA)
        return open_group

    def _evictable(self) -> int | None:
        """Position of the group that can be spared most."""
        oldest = self._db.execute(SQL["first_batch"], (0,)).fetchone()
        if oldest is None:
            return None
        if self._group_end(oldest[0]) <= self.wanted:
            return int(oldest[0])
        plain = self._db.execute(SQL["first_plain_group"], (0,)).fetchone()
        return int((plain or oldest)[0])

    def _group_end(self, position: int) -> int:
        """Where the group that `position` is in ends: the next sound keyframe, or all that the stream has."""
        stream_no, _ = split_position(position)
        for row in self._db.execute(SQL["keyframes_between"], (position, position_of(stream_no + 1, 0))):
            if batch_of(row) is not None:
                return int(row[0])
        return position_of(stream_no, self._stream(stream_no)[1].next_seq)

    def _batch_at(self, position: int) -> BatchRow | None:
        """If there is one, and it is sound."""
        row = self._db.execute(SQL["batches_from"], (position, position + 1, 1)).fetchone()
        return batch_of(row) if row else None

    def _drop(self, first: int, end: int, reason: Reason) -> bool:
        """Delete [first, end) and say so in a gap. True if the stream's newest block is among them."""
        stream_no, _ = split_position(first)
        stream_end = self._stream(stream_no)[1]
        if first >= position_of(stream_no, stream_end.next_seq):  # where its stream has no block
            self._db.execute(SQL["delete_batch"], (first,))
            return False
        if end <= first:
            raise OutboxDamaged(f"{self.path}: the group of block {first} ends before it")
        record_count, end_tick = stream_end.record_count, stream_end.end_tick
        after = self._batch_at(end)
        if after is not None:
            end_tick, record_count = after.first_tick, after.end_record - after.record_count
        self._db.execute(SQL["delete_batches"], (first, end))
        first_seq, last_seq = split_position(first)[1], split_position(end - 1)[1]
        self._insert_gap(GapRow(stream_no, first_seq, last_seq, record_count, end_tick, reason))
        newest = end == position_of(stream_no, stream_end.next_seq)
        return newest and stream_no == self.next_stream_no() - 1

    def _insert_gap(self, new: GapRow) -> None:
        """It takes those in that share a position with it, since whoever counts must meet each record once, and those of
        the same reason that touch it.
        """
        near = self._db.execute(SQL["gaps_between"], (new.end, new.position - 1)).fetchall()
        for row in near:
            gap = gap_of(row)
            touches = gap is not None and (gap.end == new.position or gap.position == new.end)
            if gap is not None and touches and gap.reason != new.reason:
                continue
            self._delete_gaps(row[0], row[0] + 1)
            if gap is not None:  # else damaged: what it covered beyond is found missing, and mended
                last = gap if gap.last_seq > new.last_seq else new
                new = replace(last, first_seq=min(gap.first_seq, new.first_seq), reason=new.reason)
        self._delete_gaps(new.position, new.position + 1)  # a damaged one that says it ends elsewhere
        values = (new.position, new.end - 1, new.end_record, new.end_tick, int(new.reason), gap_crc(new))
        self._db.execute(SQL["insert_gap"], values)

    def _delete_gaps(self, first: int, end: int) -> None:
        self._db.execute(SQL["delete_gaps"], (first, end))

    def _delete_damaged_gaps(self) -> None:
        """What they covered is found missing, and mended."""
        for row in self._db.execute(SQL["gaps"]).fetchall():
            if gap_of(row) is None:
                self._delete_gaps(row[0], row[0] + 1)

    def mend(self, position: int, *, again: bool = False) -> bool:
        """A row that is damaged or not there: it and what builds on it become a gap up to the next keyframe.

        Returns, as `commit`, whether the next block has to be a keyframe. `again`: that gap is not found. Raises OutboxDamaged.
        """
        if again:
            raise OutboxDamaged(f"{self.path}: the gap that took the place of block {position} is not found")
        with self._explained(), self._transaction():
            return self._drop(position, self._group_end(position), Reason.DAMAGED)

    # Streams, and what a crash left

    def next_stream_no(self) -> int:
        with self._explained():
            return int(self._db.execute(SQL["next_stream_no"]).fetchone()[0])

    def unfinished(self) -> tuple[StreamRow, StreamEnd, list[tuple[JournalRow, bool]]] | None:
        """The stream whose last block a crash cut short, and its journal rows, each with whether it is sound."""
        with self._explained():
            newest = self.next_stream_no() - 1
            if newest < 0:
                return None
            stream, end = self._stream(newest)
            rows = [journal_of(row, newest, self.path) for row in self._db.execute(SQL["journal"])]
        held = [row.stream_no != newest or row.first_tick < end.end_tick for row, _ in rows]
        # Slots are filled in order: what lies before a row that counts does count, even if it is too damaged to say so.
        count = max((slot for slot, is_held in enumerate(held, 1) if not is_held), default=0)
        live = [row for row, is_held in zip(rows[:count], held, strict=False) if not (row[1] and is_held)]
        if not in_order(row for row, sound in live if sound):
            raise OutboxDamaged(f"{self.path}: rows of the journal that are out of order, or there twice")
        return (stream, end, live) if live else None

    def _stream(self, stream_no: int) -> tuple[StreamRow, StreamEnd]:
        """A stream that there is. Raises OutboxDamaged."""
        row = self._db.execute(SQL["stream"], (stream_no,)).fetchone()
        found = stream_of(row) if row else None
        if found is None:
            raise damaged_stream(self.path, stream_no)
        return found

    # Blobs and guards

    def keep_schema(self, schema_hash: bytes, content: bytes) -> None:
        """`content` as it goes over the wire."""
        with self._explained(), self._transaction():
            self._db.execute(SQL["insert_blob"], (BlobKind.SCHEMA, schema_hash, content))

    def keep_guards(self, guards_hash: bytes, content: bytes) -> None:
        """The set in force from now on; an empty hash and content for none."""
        with self._explained(), self._transaction():
            if guards_hash:
                self._db.execute(SQL["insert_blob"], (BlobKind.GUARDS, guards_hash, content))
            self._facts.set("guards_hash", guards_hash)
        self.guards_hash = guards_hash

    def keep_prior(self, schema_hash: bytes, prior_hash: bytes, content: bytes) -> None:
        """What streams of that schema start from now on. Priors that nothing names any more go."""
        with self._explained(), self._transaction():
            self._db.execute(SQL["delete_priors"])
            self._db.execute(SQL["insert_blob"], (BlobKind.PRIOR, prior_hash, content))
            self._facts.set("prior", schema_hash + prior_hash)
        self._prior = schema_hash + prior_hash

    def prior_hash(self, schema_hash: bytes) -> bytes:
        """Of the prior that streams of that schema start from; empty: the built-in one."""
        return self._prior.removeprefix(schema_hash) if self._prior.startswith(schema_hash) else b""

    def blob(self, kind: BlobKind, blob_hash: bytes) -> bytes | None:
        """None: not here, or not what its name says."""
        with self._explained():
            row = self._db.execute(SQL["blob"], (kind, blob_hash)).fetchone()
        return row[0] if row and is_sound(kind, blob_hash, row[0]) else None

    # Becoming another outbox

    def fork(self) -> None:
        """Become an outbox of its own, because this one has a twin: a new id, streams numbered from 0 again.

        What is acknowledged stays with the old id. The first unacknowledged group moves whole, since its blocks need
        its keyframe, and so does the first unacknowledged gap; what the collector has of it already it knows by
        stream_id.
        """
        with self._explained(), self._transaction():
            self._delete_damaged_gaps()
            start = self._unacked_from()
            stream_no, seq = split_position(start)
            end_tick, end_record = self._before(start)
            self._db.execute(SQL["delete_batches"], (0, start))
            self._delete_gaps(0, start)
            self._db.execute(SQL["delete_streams"], (stream_no,))
            self._db.execute(SQL["delete_journal"])  # it names streams by numbers that others get now
            if seq:
                self._insert_gap(GapRow(stream_no, 0, seq - 1, end_record, end_tick, Reason.FORKED))
            offset = position_of(stream_no, 0)
            for name, by in (("move_batches", offset), ("move_gaps", offset), ("move_streams", stream_no)):
                self._db.execute(SQL[name], (by,))
            outbox_id = self._new_id(OUTBOX_ID_BYTES)
            self._facts.name(outbox_id, self.replaces, self.outbox_id)
            self._facts.keep_wanted(0)
        self.outbox_id, self.forked_from, self.wanted = outbox_id, self.outbox_id, 0
        self.ids.add(outbox_id)
        self._kept = (0, self._kept[1])
        with contextlib.suppress(OutboxBusy):  # it is done; what opens the file next remembers it
            self._remember()

    def _unacked_from(self) -> int:
        """Where the first group begins that is not all acknowledged, or the gap; where all is, after the last stream."""
        row = self._db.execute(SQL["first_longer"], split_position(self.wanted)).fetchone()
        if row is None:
            return position_of(self.next_stream_no(), 0)
        place = max(self.wanted, position_of(row[0], 0))
        if batch := self._batch_at(place):
            return position_of(batch.stream_no, batch.group_seq)
        gaps = [gap_of(row) for row in self._db.execute(SQL["gaps_from"], (place, place + 1, 1))]
        return gaps[0].position if gaps and gaps[0] else place  # damaged, or not there: mended from here on

    def _before(self, position: int) -> tuple[int, int]:
        """(end_tick, end_record) of what a stream has before a position, as far as sound rows tell."""
        stream_no, _ = split_position(position)
        values = (position_of(stream_no, 0), position)
        batches = (batch_of(row) for row in self._db.execute(SQL["batches_before"], values))
        gaps = (gap_of(row) for row in self._db.execute(SQL["gaps_before"], values))
        batch, gap = next(filter(None, batches), None), next(filter(None, gaps), None)
        last = max(batch.end if batch else 0, gap.end if gap else 0)
        if last < position and (after := self._batch_at(position)):
            return after.first_tick, after.end_record - after.record_count
        if batch and batch.end == last:
            return batch.first_tick + batch.record_count, batch.end_record
        return (gap.end_tick, gap.end_record) if gap else (0, 0)

    # SQLite

    def _pragma(self, name: str) -> int:
        with self._explained():
            return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _explained(self, *, opening: bool = False) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            # Statements that a sound file takes: a header that lies makes it unknown, or one that nobody may write.
            lies = code == sqlite3.SQLITE_ERROR or (
                code == sqlite3.SQLITE_READONLY and os.access(self.path, os.W_OK)
            )
            if opening and lies:
                raise OutboxDamaged(f"{self.path}: {error}") from error
            raise explain(error, self.path) from error
        except UnicodeDecodeError as error:
            raise explain(error, self.path) from error
