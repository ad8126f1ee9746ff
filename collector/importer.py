"""`collector import`: a recorded log goes in as if its vehicle had sent it: sampler, encoder, ingest, store.

The outbox and stream of an import are named by the log, the vehicle and the schema. So the same log taken in twice, or once more
after it was cut short, is stored once: what is there already is a duplicate.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from codec.identity import check_vehicle
from codec.records import Records, concatenate
from codec.stream import EncodedBlock, StreamEncoder, StreamFacts, block_records_max
from collector import times
from collector.config import Config
from collector.ingest.analyses import load_analyses
from collector.ingest.ingest import Ingest
from collector.items import (
    BatchItem,
    BlobItem,
    Description,
    Greeting,
    Item,
    OutboxKey,
    Outcome,
    Position,
    Stored,
    Welcomed,
)
from collector.rules import DEFAULT_FILE, load_rules
from collector.store import StoreBusy
from collector.store.ledger import StoreLedger
from collector.words import counted
from collector.writer import commit
from decoder import dbc as dbcs
from decoder.defaults import default_choices, most_wanted
from decoder.plan import Plan, PlanError, build_plan
from decoder.sampler import Sampler, sample_log
from protos import telemetry_pb2 as pb
from replay_logs.read import LogError, open_log
from replay_logs.recording import Recording, assign_dbcs, load_recording

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from decoder.frames import Frames

BLOCK_S = 10
KEYFRAME_S = 30
GROUP_BATCHES = 64  # in one transaction: ten minutes of a drive
RETRY_S = 0.2


class ImportRefused(ValueError):
    """A log, DBC or vehicle that cannot be taken; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it. `batches_new` were not there before."""

    records: int
    batches: int
    batches_new: int
    blocks_bytes: int
    warnings: tuple[str, ...]


def run(options: argparse.Namespace) -> None:
    """Import and say what came of it. Raises ImportRefused, RuleError, StoreError."""
    imported = import_log(
        options.log,
        options.dbc,
        options.vin,
        options.store,
        rules_path=options.rules or DEFAULT_FILE,
        model=options.model,
        rate_hz=options.rate,
        lossless=options.lossless,
    )
    for warning in imported.warnings:
        print(f"collector: {warning}", file=sys.stderr)
    again = imported.batches - imported.batches_new
    known = f"; {again} of them were there already" if again else ""
    print(
        f"{counted(imported.records, 'record')} in {counted(imported.batches, 'block')} of {imported.blocks_bytes:,} bytes{known}"
    )


def import_log(
    log: Path,
    dbc_paths: Sequence[Path],
    vin: str,
    store: Path | str,
    *,
    rules_path: Path = DEFAULT_FILE,
    model: str = "",
    rate_hz: int = 50,
    lossless: bool = False,
) -> Imported:
    """Take a log in. Raises ImportRefused, RuleError, StoreError."""
    try:
        vehicle = check_vehicle(vin)
        recording = load_recording(open_log(log))
        loaded = [dbcs.load(path) for path in dbc_paths]
        plan, left_out = _plan(recording, loaded, rate_hz, lossless=lossless)
    except (LogError, dbcs.DbcError, PlanError, ValueError) as error:
        raise ImportRefused(str(error)) from None
    runs = records_of(plan, recording.frames)
    first = next(runs, None)
    if first is None:
        raise ImportRefused(
            f"{log}: carries no frame of a message in {', '.join(str(path) for path in dbc_paths)}"
        )
    name = hashlib.sha256(b"import" + vehicle.encode() + _digest(log) + plan.schema.hash).digest()
    key, stream_id = OutboxKey(vehicle, name[:16]), name[16:]
    taker = _Taker(StoreLedger(store), Ingest(load_rules(rules_path), analyses=load_analyses()), key)
    try:
        batches, new, records, size = taker.take(plan, stream_id, model, _chain(first, runs))
    finally:
        taker.close()
    warnings = [warning for one in loaded for warning in one.warnings]
    warnings += [
        *left_out,
        *plan.warnings,
        *too_old(int(np.median(recording.frames.timestamps_ns)), time.time_ns()),
    ]
    return Imported(records, batches, new, size, (*recording.left_out, *warnings))


def too_old(wall_ns: int, now_ns: int) -> tuple[str, ...]:
    """What a collector does with rows of records from that time, if it is much."""
    days = Config().keep_rows_days
    if wall_ns >= now_ns - days * 86_400 * times.NS:
        return ()
    said = (
        f"its records are of {times.to_text(wall_ns)[:10]}: `collector serve` deletes rows older than keep_rows_days ({days} by default), "
        "and likewise faults, minutes and what else is made of records (docs/store.md); the blocks stay, and 0 keeps all of it"
    )
    return (said,)


def _plan(
    recording: Recording, loaded: Sequence[dbcs.Dbc], rate_hz: int, *, lossless: bool
) -> tuple[Plan, tuple[str, ...]]:
    """The plan, and a warning if it cannot hold all signals."""
    buses = assign_dbcs(recording, loaded)
    choices, left_out = most_wanted(default_choices(buses, recording.frames))
    if lossless:
        choices = tuple(replace(choice, threshold=0.0, resolution=0.0) for choice in choices)
    return build_plan(buses, choices, rate_hz=rate_hz), left_out


def records_of(plan: Plan, frames: Frames) -> Iterator[Records]:
    """The log's records in blocks of at most BLOCK_S; consecutive ones have no hole between them unless the log has."""
    size = min(block_records_max(len(plan.schema.signals)), BLOCK_S * plan.schema.rate_hz)
    pending: list[Records] = []
    for run in sample_log(Sampler(plan), frames):
        *ended, rest = concatenate([*pending, run])
        whole = len(rest) // size * size
        for one in (*ended, rest.slice(0, whole)):
            for at in range(0, len(one), size):
                yield one.slice(at, min(at + size, len(one)))
        pending = [rest.slice(whole, len(rest))]
    yield from (run for run in pending if len(run))


class _Taker:
    """One import's way into the store."""

    def __init__(self, ledger: StoreLedger, ingest: Ingest, key: OutboxKey) -> None:
        self._ledger = ledger
        self._ingest = ingest
        self._key = key

    def close(self) -> None:
        self._ledger.close()

    def take(
        self, plan: Plan, stream_id: bytes, model: str, runs: Iterable[Records]
    ) -> tuple[int, int, int, int]:
        """(batches, new ones, records, bytes)."""
        batches = new = size = 0
        group: list[Item] = []
        for block in self._encoded(plan, stream_id, model, runs):
            batches, size, records = batches + 1, size + len(block.content), block.end_record
            group.append(BatchItem(self._key, 0, block.seq, True, block.content))
            if len(group) == GROUP_BATCHES:
                new += self._commit(group)
                group = []
        new += self._commit(group)
        return batches, new, records, size

    def _encoded(
        self, plan: Plan, stream_id: bytes, model: str, runs: Iterable[Records]
    ) -> Iterator[EncodedBlock]:
        welcomed = self._apply([Greeting(self._key, model=model, state="")])[0]
        assert isinstance(welcomed, Welcomed)
        encoder: StreamEncoder | None = None
        for run in runs:
            if encoder is None:
                guards = self._ingest.guards
                facts = self._described(
                    plan, StreamFacts(stream_id, 0, run.first_tick, guards_hash=guards.hash)
                )
                encoder = StreamEncoder(plan.schema, facts, guards=guards)
            # A block that goes on where an earlier import was cut short cannot build on what another version encoded.
            resumed = welcomed.stored is not None and Position(0, encoder.next_seq - 1) == welcomed.stored
            due = encoder.next_seq % (KEYFRAME_S // BLOCK_S) == 0
            yield encoder.encode(run, keyframe=due or resumed)

    def _described(self, plan: Plan, facts: StreamFacts) -> StreamFacts:
        """Describe the stream. Returns the facts that it is stored with: those of the first import, under its rules."""
        schema = BlobItem(self._key, pb.BLOB_KIND_SCHEMA, plan.schema.hash, plan.schema.to_bytes())
        self._apply([schema, Description(self._key, facts, plan.schema.hash, b"", None, 0)])
        with self._ledger.transaction() as transaction:
            saved = transaction.find_outbox(self._key)
            assert saved is not None
            stored = transaction.description(saved.id, self._key, 0)
        assert stored is not None
        return stored.facts

    def _commit(self, group: Sequence[Item]) -> int:
        """How many of them are new."""
        return sum(isinstance(outcome, Stored) for outcome in self._apply(group))

    def _apply(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(items):
            try:
                outcomes += commit(self._ledger, self._ingest, items[len(outcomes) :], time.time_ns())
            except StoreBusy:  # a collector that runs holds it now and then
                time.sleep(RETRY_S)
        return outcomes


def _chain(first: Records, rest: Iterator[Records]) -> Iterator[Records]:
    yield first
    yield from rest


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
