"""Planted bugs: does the simulation find them?

Each is one change to the source of one module, made while the module is imported. `make simulate-mutants` simulates seed after seed
under each until one fails. A text that is not found exactly once is an error: a bug that cannot be planted proves nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`text` of `module` becomes `planted`."""

    name: str
    module: str
    text: str
    planted: str

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")

    def mutated(self) -> str:
        source = self.path.read_text()
        if source.count(self.text) != 1:
            raise ValueError(
                f"{self.name}: its text stands {source.count(self.text)} times in {self.path}, wanted is once"
            )
        return source.replace(self.text, self.planted)


MUTANTS = (
    Mutant("ack before commit", "collector.conversation",
           "return self._sent(wire.batch(key, up.batch, facts))",
           "self._stored = Position(facts.stream_no, up.batch.seq); return [*self._sent(wire.batch(key, up.batch, facts)), *self._ack()]"),
    Mutant("the store does not sync its log", "collector.store.sqlite", '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=OFF"'),
    Mutant("the outbox does not sync its log", "edge_agent.outbox",
           'self._db.execute(f"PRAGMA synchronous = {synchronous}")', 'self._db.execute("PRAGMA synchronous = OFF")'),
    Mutant("the journal is not replayed", "edge_agent.capture", "    if unfinished is None:\n", "    if True:\n"),
    Mutant("a recovered block begins with seq 0", "edge_agent.recovery", "seq, record_count, end_tick, digest = end.next_seq,", "seq, record_count, end_tick, digest = 0,"),
    Mutant("off by one in rewind", "edge_agent.session", "        self._cursor = wanted\n        self._flight.forget()", "        self._cursor = wanted + 1\n        self._flight.forget()"),
    Mutant("resend takes back what was acknowledged", "edge_agent.session",
           "return [FetchAgain(start, end)] if start < end else []",
           "self._wanted = min(self._wanted, start); return [SetWanted(self._wanted), FetchAgain(start, end)] if start < end else []"),
    Mutant("predictor not reset at a keyframe", "codec.stream", "(self._prior, NOTHING) if keyframe else", "(self._prior, coding.memory) if keyframe else"),
    Mutant("guard set not named", "codec.stream", "named = self.guards.hash != facts.guards_hash or", "named = False and"),
    Mutant("guards not in force", "codec.stream", "rows.extend((int(i.low), int(i.high)) for i in intervals)", "pass"),
    Mutant("streams ordered by clock", "collector.store.wanted",
           ".where(outboxes.c.vin == vin)\n        .order_by(streams.c.outbox, streams.c.stream_no)", ".where(outboxes.c.vin == vin)\n        .order_by(streams.c.outbox, streams.c.origin_tick)"),
    Mutant("a gap that grew is counted twice", "collector.ingest.progress", "return max(0, end_record - self.record_count)", "return max(0, end_record)"),
    Mutant("ticks follow the wall clock", "edge_agent.clock", "return read.boot_ns - min((age for age in ages if 0 <= age <= AGE_MAX_NS), default=0)", "return stamp_ns - self._offsets[0][0]"),
    Mutant("duplicates are applied", "collector.ingest.progress", "if (stream_no, last_seq) < (self.wanted.stream_no, self.wanted.seq):", "if (stream_no, last_seq + 1) < (self.wanted.stream_no, self.wanted.seq):"),
    Mutant("position advances without records", "collector.ingest.blocks", "changes.batches.append(rows.batch(outbox.id, item, decoded, skip))", "changes.batches += [] if item.late else [rows.batch(outbox.id, item, decoded, skip)]"),
    Mutant("a gap counts the block after it, too", "edge_agent.outbox", "end_tick, record_count = after.first_tick, after.end_record - after.record_count", "end_tick, record_count = after.first_tick, after.end_record"),
    Mutant("quota evicts, and the next block builds on what is gone", "edge_agent.capture",
           "if self.outbox.commit(self._unwritten, limit_bytes=self._limit_bytes()):", "if self.outbox.commit(self._unwritten, limit_bytes=self._limit_bytes()) and False:"),
    Mutant("a fork keeps its outbox_id", "edge_agent.outbox", "outbox_id = self._new_id(OUTBOX_ID_BYTES)\n            self._facts.name(", "outbox_id = self.outbox_id\n            self._facts.name("),
    Mutant("a finished block leaves its journal", "edge_agent.outbox", "row.first_tick < end.end_tick", "row.first_tick < 0"),
    Mutant("what was sent counts as acknowledged", "edge_agent.session", "return [SetWanted(wanted), *self._go_on()]", "return [SetWanted(self._cursor), *self._go_on()]"),
    Mutant("state outlives a transaction that failed", "collector.writer", "        ingest.forget()\n        raise", "        raise"),
    Mutant("a restart guesses the predictor", "collector.ingest.outbox", "self.stream.rebuild(self.progress, ledger, self.id)", "pass"),
    Mutant("a hole is not asked for", "collector.conversation", "if self._rewound_to == wanted:", "if self._rewound_to != wanted:"),
    Mutant("unwritten journal rows outlive their block", "edge_agent.rows", "journal=later.journal if later.batches else self.journal + later.journal", "journal=self.journal + later.journal"),
    Mutant("a provisional fault outlives what ingest has passed", "collector.ingest.paging", "if shown.place >= position:", "if True:"),
    Mutant("a heartbeat raises what is stored already", "collector.ingest.paging",
           "elif known is None and lasts and candidate.place >= position and not", "elif known is None and lasts and not"),
    Mutant("a fault pages again when it changes", "collector.ingest.paging", "now = known or fault", "now = fault"),
    Mutant("pages are forgotten at a restart", "collector.store.ledger", 'row.page or "",', '"",'),
    Mutant("a provisional fault and its fault have pages of their own", "collector.ingest.paging",
           "_paged(covering, shown, shown.page)", "_paged(covering, None, _page(paging.outbox, covering.first, code))"),
    Mutant("the group's digest is not checked", "collector.ingest.blocks", "if not expected or digest is None or digest == expected:", "if True:"),
    Mutant("what is asked for again is not marked meanwhile", "collector.ingest.blocks", "        self._doubt(outbox, first, wanted.seq - 1)\n", ""),
    Mutant("a fork leaves open faults under its former name", "collector.ingest.ingest", "if item.forked_from and stored is None:", "if False:"),
)  # fmt: skip


class _Plant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant, self._source = mutant, mutant.mutated()

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, self._mutant.path, loader=self)

    def create_module(self, _spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._mutant.path), "exec"), module.__dict__)


def plant(name: str) -> None:
    """Before anything else is imported."""
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    assert mutant.module not in sys.modules, f"{mutant.module} is imported already"
    sys.meta_path.insert(0, _Plant(mutant))
