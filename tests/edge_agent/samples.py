"""What the agent's tests are made of: a small schema, records that move, an outbox in a folder."""

from __future__ import annotations

import itertools

import numpy as np

from codec.guards import Guard, GuardSet
from codec.priors import Prior, built_in, make_prior
from codec.records import Availability, Records
from codec.schema import Schema, Signal
from codec.stream import Clock
from codec.stream_decoder import StreamDecoder
from edge_agent.blobs import pack_schema
from edge_agent.capture import Settings
from edge_agent.events import Identity
from edge_agent.outbox import Outbox
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.pipeline import BlockTicks, Mode, Pipeline, StreamName
from edge_agent.rows import BatchRow, BlobKind

RATE_HZ = 50
SCHEMA = Schema(RATE_HZ, (Signal("Temp", "degC", factor=0.5, threshold=1.0), Signal("Gear")))
HOT = GuardSet((Guard("Temp", ">", 45.0),))
TRAINED = make_prior(built_in().contexts.repeat(2, axis=0), built_in().weights.repeat(2, axis=0), built_in())
TICKS = BlockTicks(
    offline=30 * RATE_HZ, online=10 * RATE_HZ, watched=RATE_HZ, keyframe=30 * RATE_HZ, loss_max=RATE_HZ
)
NO_GUARDS = GuardSet()
CLOCK = Clock(0, synchronised=True)
IDENTITY = Identity(bytes(16), b"", b"", "asset:test", "", "", "0")
START = 1_000_000


def ids(seed: int = 0):
    """A source of ids that are the same in every run."""
    numbers = itertools.count(seed)
    return lambda size: next(numbers).to_bytes(size, "big")


def records(
    count: int, *, first: int = START, temp: float | np.ndarray = 20.0, available: bool = True
) -> Records:
    """`count` records whose temperature is `temp` degrees."""
    counts = np.zeros((count, 2), np.int64)
    counts[:, 0] = np.round(np.asarray(temp) / 0.5)
    counts[:, 1] = np.arange(count) // 100 % 4
    states = np.full((count, 2), Availability.AVAILABLE if available else Availability.STALE, np.uint8)
    counts[states != Availability.AVAILABLE] = 0
    return Records(first, counts, states)


def pipeline(
    stream_no: int = 0, *, mode: Mode = Mode.ONLINE, guards: GuardSet = NO_GUARDS, side_log: bool = False
):
    name = StreamName(stream_no, bytes([stream_no] * 16), bytes(16))
    return Pipeline(SCHEMA, name, TICKS, guards=guards, mode=mode, side_log=side_log)


def settings(folder, **changes) -> Settings:
    values = {
        "path": str(folder / "outbox.db"),
        "synchronous": "NORMAL",
        "quota_bytes": NOWHERE,
        "ticks": TICKS,
        "park_after_ns": 60 * 10**9,
        "boot_id": bytes(16),
    }
    return Settings(**(values | changes))


def new_outbox(path) -> Outbox:
    outbox = Outbox(str(path), ids(), synchronous="NORMAL")
    outbox.keep_schema(SCHEMA.hash, pack_schema(SCHEMA))
    return outbox


def fill(
    outbox: Outbox, blocks: int, *, stream_no: int = 0, first: int = START, limit_bytes: int = NOWHERE
) -> Pipeline:
    """A stream of full 10 s blocks, stored."""
    source = pipeline(stream_no)
    for block in range(blocks):
        noise = np.random.default_rng(block).uniform(0, 40, 500)
        added = source.add(records(500, first=first + block * 500, temp=noise), CLOCK)
        if outbox.commit(added, limit_bytes=limit_bytes):
            source.ask_keyframe()
    return source


def everything(path, start: int = 0):
    """All rows from a position on."""
    rows = []
    with OutboxReader(str(path)) as reader:
        while True:
            fetched = reader.fetch(start, bytes_max=1 << 20)
            rows += fetched.rows
            if not fetched.rows or fetched.broken is not None:
                return rows, fetched.broken
            start = rows[-1].end


def decoded(path, stream_no: int = 0) -> list[Records]:
    """The records of a stream's batches."""
    rows, _ = everything(path)
    with OutboxReader(str(path)) as reader:
        stream, _ = reader.stream(stream_no)
        prior = reader.blob(BlobKind.PRIOR, stream.facts.prior_hash)
    decoder = StreamDecoder(SCHEMA, stream.facts, find_prior=lambda _: prior and Prior.from_bytes(prior, 2))
    mine = [row for row in rows if isinstance(row, BatchRow) and row.stream_no == stream_no]
    return [decoder.decode(row.seq, row.content).records for row in mine]


def ticks_of(runs) -> list[int]:
    return [tick for run in runs for tick in range(run.first_tick, run.end_tick)]
