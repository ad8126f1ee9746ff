"""A vehicle for tests: records as arrays, blocks from the real encoder, and what its agent would send of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codec.guards import GuardSet
from codec.records import Availability, Records
from codec.schema import Schema, Signal
from codec.stream import Clock, EncodedBlock, StreamEncoder, StreamFacts
from collector.ingest.ingest import Ingest
from collector.items import BatchItem, Beat, BlobItem, Description, GapItem, Greeting, OutboxKey
from collector.rules import load_rules
from collector.store import open_store
from collector.store.ledger import StoreLedger
from collector.writer import commit
from edge_agent.crossings import Crossings
from protos import telemetry_pb2 as pb

NOW_NS = 1_800_000_000_000_000_000
START_TICK = 1_700_000_000 * 10  # 10 Hz, in Unix time
SCHEMA = Schema(
    10,
    (
        Signal("Temp", unit="degC", factor=0.1, threshold=0.5),
        Signal("Speed", unit="km/h", factor=0.05, threshold=2.0),
        Signal("Gear", labels=((0, "P"), (1, "D"))),
    ),
)
RULES = load_rules(
    """
[[rule]]
code = "HOT"
when = "Temp > 45"
clear = "Temp < 43"
severity = "CRITICAL"
description = "hot"
"""
)


def ramp(first_tick: int, count: int, *, temp: float = 20.0, step: float = 0.0) -> Records:
    """Temp begins at `temp` and changes by `step` at each tick; speed and gear follow a pattern."""
    ticks = np.arange(count)
    counts = np.empty((count, 3), np.int64)
    counts[:, 0] = np.round((temp + step * ticks) * 10)
    counts[:, 1] = 1000 + 40 * ((first_tick + ticks) % 7)
    counts[:, 2] = 1
    return Records(first_tick, counts, np.full((count, 3), Availability.AVAILABLE, np.uint8))


class Vehicle:
    """One outbox. Its streams are begun with `run`, its blocks are cut with `drive`; both remember what they made."""

    def __init__(self, name: str = "asset:one", outbox: int = 1, guards: GuardSet | None = None) -> None:
        self.key = OutboxKey(name, bytes([outbox]) * 16)
        self.guards = RULES.guards() if guards is None else guards
        self.sampled: list[tuple[int, Records]] = []
        self.blocks: list[tuple[int, EncodedBlock]] = []
        self.stream_no = -1
        self.signals = SCHEMA  # of the streams that are begun from now on
        self.tick = START_TICK
        self._encoder: StreamEncoder | None = None

    def run(self, *, stream_id: int | None = None, clock: Clock | None = None) -> Description:
        """The agent starts: a new stream, described."""
        before = self._encoder
        self.stream_no += 1
        name = bytes([self.key.outbox_id[0], self.stream_no if stream_id is None else stream_id]) * 8
        facts = StreamFacts(name, self.stream_no, self.tick, clock or Clock(0, True), self.guards.hash)
        self._encoder = StreamEncoder(self.signals, facts, guards=self.guards)
        began = before is not None and before.next_seq > 0
        return Description(
            self.key,
            facts,
            self.signals.hash,
            bytes(16),
            before.next_seq - 1 if before is not None and began else None,
            before.group_digest if before is not None and began else 0,
            before.facts.stream_id if before is not None else b"",
        )

    def drive(
        self,
        count: int = 20,
        *,
        temp: float = 20.0,
        step: float = 0.0,
        keyframe: bool = False,
        late: bool = False,
    ) -> BatchItem:
        """One block of so many records."""
        assert self._encoder is not None
        records = ramp(self.tick, count, temp=temp, step=step)
        self.tick += count
        block = self._encoder.encode(records, keyframe=keyframe)
        self.sampled.append((self.stream_no, records))
        self.blocks.append((self.stream_no, block))
        return BatchItem(self.key, self.stream_no, block.seq, late, block.content)

    def beat(self) -> Beat:
        """Now: the last record that was driven, and how guards are after all of this run's."""
        crossings = Crossings(SCHEMA, self.guards)
        runs = [records for stream_no, records in self.sampled if stream_no == self.stream_no]
        for records in runs:
            crossings.scan(records)
        assert self._encoder is not None
        last = runs[-1].slice(len(runs[-1]) - 1, len(runs[-1]))
        record = StreamEncoder(SCHEMA, self._encoder.facts, guards=self.guards).encode(last)
        tick = last.first_tick - self._encoder.facts.origin_tick
        return Beat(
            self.key, self.stream_no, tick, record.content, crossings.states(), {},
            guards_hash=self.guards.hash, guard_lasted=crossings.lasted(),
        )  # fmt: skip

    def gap(self, first_seq: int, last_seq: int, end_record: int) -> GapItem:
        """Up to that record of the run, which has no holes."""
        sampled = sum(len(records) for stream_no, records in self.sampled if stream_no == self.stream_no)
        end_tick = self.tick - (sampled - end_record)
        return GapItem(
            self.key, self.stream_no, first_seq, last_seq, end_record, end_tick, pb.GAP_REASON_QUOTA
        )

    @property
    def greeting(self) -> Greeting:
        return Greeting(self.key, b"", "Model T", "1.0", "0.1.0")

    @property
    def schema(self) -> BlobItem:
        return BlobItem(self.key, pb.BLOB_KIND_SCHEMA, self.signals.hash, self.signals.to_bytes())


class Bench:
    """A real store on disk with ingest in front of it, one item at a time."""

    def __init__(self, path, rules=RULES) -> None:
        self.path = path
        self.rules = rules
        self.start()

    def start(self) -> None:
        self.ledger = StoreLedger(self.path)
        self.ingest = Ingest(self.rules)

    def restart(self, rules=None) -> None:
        """Nothing survives but the file."""
        self.ledger.close()
        self.rules = rules or self.rules
        self.start()

    def take(self, *items):
        """The outcome of the last one."""
        outcome = None
        for item in items:
            outcome = commit(self.ledger, self.ingest, [item], NOW_NS)[0]
        return outcome


def within_bounds(sampled: list[tuple[int, Records]], stored: list[tuple[int, Records]]) -> bool:
    """Same ticks of the same streams, each count within its threshold, availability the same."""
    if [(no, r.first_tick, len(r)) for no, r in sampled] != [(no, r.first_tick, len(r)) for no, r in stored]:
        return False
    limits = np.array([signal.max_error_counts for signal in SCHEMA.signals])
    return all(
        bool((np.abs(a.counts - b.counts) <= limits).all()) and np.array_equal(a.states, b.states)
        for (_, a), (_, b) in zip(sampled, stored, strict=True)
    )


def stored(bench, vehicle):
    return [(run.facts.stream_no, run.records) for run in open_store(bench.path).runs(vehicle.key.vehicle)]


def gaps(bench):
    return [
        (g["stream_no"], g["first_seq"], g["last_seq"], g["records"], g["reason"])
        for g in open_store(bench.path).gaps()
    ]


def spoiled(item: BatchItem) -> BatchItem:
    """As if bits had been flipped on the way: in its digest, since elsewhere one in 256 passes."""
    return replace(item, content=item.content[:1] + bytes([item.content[1] ^ 0x41]) + item.content[2:])
