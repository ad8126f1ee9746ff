"""Ingest and the store against a model of a few lines, by any sequence of deliveries.

The model: a vehicle's outbox is rows in order, blocks or gaps, and the store has those before `wanted`, no more and no less. A row
before it is a repetition, one beyond it a hole. Crashes, failed commits and a restored backup move `wanted` at most back.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from codec.records import Records
from collector.items import BatchItem, Damaged, Description, GapItem, Hole, Position, Repeated, Stored
from collector.rules import evaluate_all
from collector.store import open_store
from collector.writer import commit
from protos import telemetry_pb2 as pb
from tests.collector.vehicle import (
    NOW_NS,
    RULES,
    SCHEMA,
    Bench,
    Vehicle,
    within_bounds,
)

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True, slots=True)
class Row:
    """What the vehicle has for seqs `first` to `last` of a stream: one block, or a gap."""

    stream: Description
    first: int
    last: int
    end_record: int
    end_tick: int
    records: Records | None = None  # of a block
    batch: BatchItem | None = None
    keyframe: bool = False

    @property
    def place(self) -> Position:
        return Position(self.stream.facts.stream_no, self.last)

    @property
    def item(self) -> BatchItem | GapItem:
        key, stream_no = self.stream.key, self.stream.facts.stream_no
        gap = GapItem(
            key, stream_no, self.first, self.last, self.end_record, self.end_tick, pb.GAP_REASON_QUOTA
        )
        return self.batch or gap


class Unlucky(Exception):
    """A commit that failed."""


class IngestMachine(RuleBasedStateMachine):
    """One vehicle and one collector."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.path = Path(self.folder.name) / "store.db"
        self.bench, self.vehicle = Bench(self.path), Vehicle()
        self.reader = open_store(self.path)
        self.rows: list[Row] = []  # the model: what the vehicle has, and
        self.here: list[Row] = []  # what the store has of it
        self.backup: list[Row] | None = None
        self.greet()
        self.count = 1
        self.begin_stream()

    def greet(self) -> None:
        self.bench.take(self.vehicle.greeting, self.vehicle.schema)

    # The vehicle

    @precondition(lambda self: self.count > 0)  # an outbox has a stream only with its first record
    @rule()
    def begin_stream(self) -> None:
        self.stream = self.vehicle.run()
        self.keyframe = True
        self.count = 0

    @rule(
        count=st.integers(1, 15),
        temp=st.sampled_from([20.0, 44.0, 46.0]),
        step=st.sampled_from([0.0, 0.3, -0.3]),
        keyframe=st.sampled_from([False, False, False, True]),
    )
    def drive(self, count: int, temp: float, step: float, keyframe: bool) -> None:
        batch = self.vehicle.drive(count, temp=temp, step=step, keyframe=keyframe or self.keyframe)
        records = self.vehicle.sampled[-1][1]
        self.count += count
        self.rows.append(
            Row(
                self.stream,
                batch.seq,
                batch.seq,
                self.count,
                records.end_tick,
                records,
                batch,
                keyframe or self.keyframe,
            )
        )
        self.keyframe = False

    @precondition(lambda self: any(row.batch for row in self.rows))
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        """A whole group becomes a gap, or part of the one that it touches."""
        keyframes = [at for at, row in enumerate(self.rows) if row.keyframe]
        first = data.draw(st.sampled_from(keyframes))
        last = first
        stream = self.rows[first].stream
        while (
            last + 1 < len(self.rows)
            and self.rows[last + 1].stream is stream
            and not self.rows[last + 1].keyframe
        ):
            last += 1
        if first and self.rows[first - 1].stream is stream and self.rows[first - 1].batch is None:
            first -= 1
        end = self.rows[last]
        self.keyframe |= last + 1 == len(self.rows)
        self.rows[first : last + 1] = [
            Row(stream, self.rows[first].first, end.last, end.end_record, end.end_tick)
        ]

    # The way to the collector

    @property
    def wanted(self) -> int:
        """In `rows`: the first that the store does not have whole."""
        known = self.here[-1].place if self.here else Position(-1, -1)
        return next((at for at, row in enumerate(self.rows) if row.place > known), len(self.rows))

    def deliver(self, row: Row, item: BatchItem | GapItem | None = None) -> object:
        return self.bench.take(row.stream, item or row.item)

    @precondition(lambda self: self.wanted < len(self.rows))
    @rule(count=st.integers(1, 4))
    def send(self, count: int) -> None:
        for row in self.rows[self.wanted :][:count]:
            assert self.deliver(row) == Stored(row.place)
            self.here.append(row)

    @precondition(lambda self: self.wanted > 0)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        row = self.rows[data.draw(st.integers(0, self.wanted - 1))]
        assert self.deliver(row) == Repeated(self.here[-1].place)

    @precondition(lambda self: self.wanted + 1 < len(self.rows))
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        row = self.rows[data.draw(st.integers(self.wanted + 1, len(self.rows) - 1))]
        assert isinstance(self.deliver(row), Hole)

    @precondition(lambda self: self.wanted < len(self.rows) and self.rows[self.wanted].batch)
    @rule()
    def spoil(self) -> None:
        """A block arrives damaged: it is asked for again with its group, and taken then."""
        row = self.rows[self.wanted]
        assert row.batch is not None
        outcome = self.deliver(row, replace(row.batch, content=row.batch.content[:1]))
        assert isinstance(outcome, Damaged)
        for one in self.rows:
            if one.stream is row.stream and outcome.resend.first_seq <= one.first <= outcome.resend.last_seq:
                last = self.deliver(one)
        assert last == Stored(row.place)
        self.here.append(row)

    # The collector

    @rule()
    def restart(self) -> None:
        self.bench.restart()
        self.greet()

    @precondition(lambda self: self.wanted < len(self.rows))
    @rule(lies=st.booleans())
    def commit_that_fails(self, lies: bool) -> None:
        """It says that it failed; where it lies, the transaction is in the store."""
        row = self.rows[self.wanted]
        self.bench.take(row.stream)
        ledger, ingest = self.bench.ledger, self.bench.ingest
        if lies:
            commit(ledger, ingest, [row.item], NOW_NS)
            ingest.forget()
            self.here.append(row)
            return
        with contextlib.suppress(Unlucky), ledger.transaction() as transaction:
            ingest.apply(transaction, [row.item], NOW_NS)
            raise Unlucky
        ingest.forget()

    @rule()
    def back_up(self) -> None:
        self.bench.ledger.close()
        shutil.copy(self.path, self.path.with_suffix(".backup"))
        self.backup = list(self.here)
        self.bench.start()

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        self.bench.ledger.close()
        self.reader._engine.dispose()
        for file in self.path.parent.glob("store.db*"):
            file.unlink()
        shutil.copy(self.path.with_suffix(".backup"), self.path)
        assert self.backup is not None
        self.here = list(self.backup)
        self.bench.start()
        self.greet()

    # What has to be true

    @invariant()
    def the_store_has_what_the_model_has(self) -> None:
        blocks = [(row.stream.facts.stream_no, row.records) for row in self.here if row.records is not None]
        kept = [(run.facts.stream_no, run.records) for run in self.reader.runs(self.vehicle.key.vehicle)]
        assert within_bounds(blocks, kept)
        counts: dict[int, int] = {}
        missing = []
        for row in self.here:
            stream_no = row.stream.facts.stream_no
            if row.batch is None:
                missing.append(row.end_record - counts.get(stream_no, 0))
            counts[stream_no] = row.end_record
        assert [gap["records"] for gap in self.reader.gaps()] == missing

    def teardown(self) -> None:
        """Everything arrives in the end; without gaps, so do the verdicts."""
        while self.wanted < len(self.rows):
            self.send(4)
        self.the_store_has_what_the_model_has()
        if all(row.batch for row in self.here):
            expected = [span.verdict for span in evaluate_all(RULES, SCHEMA, self.vehicle.sampled)]
            names = ("code", "stream_no", "first_tick", "detected_tick", "last_stream_no", "last_tick")
            assert [
                tuple(fault[name] for name in names) for fault in open_store(self.path).faults()
            ] == expected
        self.bench.ledger.close()
        self.reader._engine.dispose()
        self.folder.cleanup()


TestIngest = IngestMachine.TestCase
TestIngest.settings = settings(stateful_step_count=30, max_examples=30)
