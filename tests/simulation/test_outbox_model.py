"""The outbox against a model of a few lines, by any sequence of what may happen to it.

The model: a stream is the records that were sampled, of which so many are committed. What the outbox holds of a stream are blocks
and gaps, side by side from its first record on, and its blocks are these records. What goes first is acknowledged, then old, then
plain. A fork takes along what is not acknowledged.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from codec.records import Records
from codec.stream_decoder import StreamDecoder
from edge_agent.capture import open_outbox
from edge_agent.errors import OutboxBusy
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.pipeline import Mode, Pipeline, StreamName
from edge_agent.rows import BatchRow, Commit, GapRow, position_of, split_position
from tests.edge_agent import samples
from tests.edge_agent.samples import CLOCK, HOT, SCHEMA, TICKS, everything

LIMITS = np.array([signal.max_error_counts for signal in SCHEMA.signals])
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class OutboxMachine(RuleBasedStateMachine):
    """One agent's outbox over many lives."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.new_id = samples.ids()
        self.sampled: dict[bytes, list[Records]] = defaultdict(list)  # the model, by stream_id
        self.committed: dict[bytes, int] = defaultdict(int)
        self.told = 0  # what is acknowledged, as of the last commit
        self.tick = samples.START
        self.full = False
        self.start()

    def start(self, told_last: int | None = None) -> None:
        """A process begins; what a crash cut short is finished."""
        self.outbox, aside = open_outbox(samples.settings(Path(self.folder.name)), self.new_id)
        assert not aside
        if told_last is not None and not (self.full and self.outbox.wanted == self.told):
            self.told = told_last
        assert self.outbox.wanted == self.told
        self.full = False
        self.outbox.keep_schema(SCHEMA.hash, samples.pack_schema(SCHEMA))
        self.outbox.keep_guards(HOT.hash, HOT.to_bytes())
        self.begin_stream()

    def begin_stream(self) -> None:
        name = StreamName(self.outbox.next_stream_no(), self.new_id(16), bytes(16))
        self.pipeline = Pipeline(SCHEMA, name, TICKS, guards=HOT, mode=Mode.ONLINE)
        self.unwritten = Commit()

    def write(self, commit: Commit, *, limit_bytes: int = NOWHERE) -> None:
        self.unwritten = self.unwritten.then(commit)
        rows = [*self.rows(), *self.unwritten.batches]
        try:
            keyframe = self.outbox.commit(self.unwritten, limit_bytes=limit_bytes)
        except OutboxBusy:
            assert self.full
            return
        self.told = self.outbox.wanted
        self.unwritten = Commit()
        self.committed[self.pipeline.name.stream_id] = self.pipeline.record_count - self.pipeline.uncommitted
        self.check_evicted(rows)
        if keyframe:
            self.pipeline.ask_keyframe()

    def rows(self) -> list[BatchRow | GapRow]:
        rows, broken = everything(self.outbox.path)
        assert broken is None
        return rows

    # What happens

    @rule(
        count=st.integers(1, 1600),
        temp=st.sampled_from([20.0, 44.0, 50.0]),
        noise=st.booleans(),
        pause=st.booleans(),
    )
    def sample(self, count: int, temp: float, noise: bool, pause: bool) -> None:
        self.take(count, temp, noise=noise, pause=pause, limit_bytes=NOWHERE)

    @rule(count=st.integers(1, 1600), temp=st.sampled_from([20.0, 50.0]), share=st.floats(0, 1))
    def sample_within_a_quota(self, count: int, temp: float, share: float) -> None:
        self.take(count, temp, noise=True, pause=False, limit_bytes=int(self.outbox.used_bytes() * share))

    def take(self, count: int, temp: float, *, noise: bool, pause: bool, limit_bytes: int) -> None:
        self.tick += 7 if pause else 0
        spread = np.random.default_rng(self.tick).uniform(-8, 8, count) if noise else 0.0
        records = samples.records(count, first=self.tick, temp=temp + spread)
        self.tick += count
        self.sampled[self.pipeline.name.stream_id].append(records)
        self.write(self.pipeline.add(records, CLOCK), limit_bytes=limit_bytes)

    @rule()
    def flush(self) -> None:
        self.write(self.pipeline.flush(CLOCK))

    @rule(share=st.floats(0, 1))
    def acknowledge_or_rewind(self, share: float) -> None:
        ends = [0, *(row.end for row in self.rows())]
        self.outbox.wanted = ends[int(share * (len(ends) - 1))]

    @rule(full=st.booleans())
    def the_disk(self, full: bool) -> None:
        self.full = full
        pages = self.outbox.file_bytes() // 512 if full else 1 << 30
        self.outbox._db.execute(f"PRAGMA max_page_count = {pages}")

    @rule()
    def die(self) -> None:
        self.outbox._db.close()
        os.close(self.outbox._lock)
        self.start()

    @rule()
    def restart(self) -> None:
        self.flush()
        last = self.outbox.wanted
        self.outbox.close()
        self.start(last)

    @precondition(lambda self: not self.full)
    @rule(share=st.floats(0, 1))
    def damage(self, share: float) -> None:
        """A row rots, and whoever reads it has it mended."""
        batches = [row for row in self.rows() if isinstance(row, BatchRow)]
        if batches:
            position = batches[int(share * (len(batches) - 1))].position
            self.outbox._db.execute("UPDATE batches SET content = x'00' WHERE position = ?", (position,))
            assert everything(self.outbox.path)[1] == position
            if self.outbox.mend(position):
                self.pipeline.ask_keyframe()

    @precondition(lambda self: not self.full)
    @rule()
    def fork(self) -> None:
        self.flush()
        before = [
            row.content for row in self.rows() if row.end > self.outbox.wanted and isinstance(row, BatchRow)
        ]
        self.outbox.fork()
        after = [row.content for row in self.rows() if isinstance(row, BatchRow)]
        assert after[len(after) - len(before) :] == before
        self.told = 0
        self.begin_stream()

    # What has to be true

    def check_evicted(self, rows: list[BatchRow | GapRow]) -> None:
        """`rows`: all there were and came; some groups may be gone by now."""
        kept = {row.position for row in self.rows() if isinstance(row, BatchRow)}
        order = []
        for group, batches in groups(rows).items():
            crossing = any(row.crossing for row in batches)
            acknowledged = group_end(rows, group) <= self.outbox.wanted
            order.append((not acknowledged, crossing and not acknowledged, group))
        gone = [group not in kept for _, _, group in sorted(order)]
        assert gone == sorted(gone, reverse=True), "a group went while another should have gone before it"

    @invariant()
    def everything_is_accounted(self) -> None:
        with OutboxReader(self.outbox.path) as reader:
            streams = {}
            while (found := reader.stream(len(streams))) is not None:
                streams[len(streams)] = found
        ends: dict[int, int] = defaultdict(int)
        decoders = {no: StreamDecoder(SCHEMA, found[0].facts) for no, found in streams.items()}
        for row in self.rows():
            stream, _ = streams[row.stream_no]
            if isinstance(row, BatchRow):
                assert row.end_record - row.record_count == ends[row.stream_no]
                decoded = decoders[row.stream_no].decode(row.seq, row.content).records
                assert_same(self.sampled[stream.facts.stream_id], ends[row.stream_no], decoded)
            ends[row.stream_no] = row.end_record
        assert all(ends[stream_no] == end.record_count for stream_no, (_, end) in streams.items())
        unfinished = self.outbox.unfinished()
        if unfinished is not None:
            ends[unfinished[0].stream_no] += sum(row.record_count for row, _ in unfinished[2])
        for stream_no, (stream, _) in streams.items():
            assert ends[stream_no] >= self.committed[stream.facts.stream_id]

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


def groups(rows: list[BatchRow | GapRow]) -> dict[int, list[BatchRow]]:
    """By position of their keyframe."""
    found: dict[int, list[BatchRow]] = defaultdict(list)
    for row in rows:
        if isinstance(row, BatchRow):
            found[position_of(row.stream_no, row.group_seq)].append(row)
    return found


def group_end(rows: list[BatchRow | GapRow], group: int) -> int:
    """The next keyframe of the stream, or what follows its last row."""
    stream_no, _ = split_position(group)
    of_stream = [row for row in rows if row.stream_no == stream_no]
    keyframes = [row.position for row in of_stream if isinstance(row, BatchRow) and row.seq == row.group_seq]
    return min((position for position in keyframes if position > group), default=of_stream[-1].end)


def assert_same(sampled: list[Records], at: int, decoded: Records) -> None:
    """`decoded` is what was sampled from record `at` on."""
    counts = np.concatenate([part.counts for part in sampled])[at : at + len(decoded)]
    ticks = np.concatenate([np.arange(part.first_tick, part.end_tick) for part in sampled])[
        at : at + len(decoded)
    ]
    assert ticks.tolist() == list(range(decoded.first_tick, decoded.end_tick))
    assert (np.abs(counts - decoded.counts) <= LIMITS).all()


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(stateful_step_count=30, max_examples=40)
