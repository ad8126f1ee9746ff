"""What ingest is made of, each by itself in one process: decoding and rules, rows by COPY, and what a day takes up in each form."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from codec.schema import Schema
from codec.stream import DecodedBlock, StreamFacts
from codec.stream_decoder import StreamDecoder, decode_opened
from collector.ingest.materialise import Readable
from collector.rules import RuleState, bind, evaluate
from collector.store import address_of, postgresql
from collector.store.engine import open_engine
from collector.store.tables import batches, telemetry_logs
from collector.survey import Surveys

if TYPE_CHECKING:
    from benchmarks.fleet import Workload
    from benchmarks.sampled import SampledDrive
    from codec.records import Records
    from collector.rules import Rules

DAY_S = 86400
COPY_ROWS = 60_000
RUNS = 3
TOGETHER, SECONDS = 128, 60  # vehicles whose blocks come together, and how many of each
LONG_BLOCK_S = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a vehicle that drives for a day, scaled up from the drive. The names are the keys of the JSON."""

    blocks: float
    blocks_in_postgresql: float
    rows_in_postgresql: float
    parquet_zstd: float


def decoded_records_per_s(work: Workload, rules: Rules) -> float:
    """Blocks of 1 s of some vehicles, decoded and checked by all rules as a collector does, on one core. The best of several runs."""
    schema = Schema.from_bytes(work.schema)
    bound = bind(rules, schema)
    exact = frozenset(one.rule.code for one in bound.rules)
    facts = StreamFacts(work.stream_id, 0, work.origin_tick, guards_hash=work.guards_hash)
    best = float("inf")
    blocks = work.blocks[:SECONDS]
    for _ in range(RUNS):
        decoders, states = [StreamDecoder(schema, facts) for _ in range(TOGETHER)], [RuleState()] * TOGETHER
        begun_s = time.process_time()
        for seq, content in enumerate(blocks):
            opened = [(decoder, decoder.open(seq, content)) for decoder in decoders]
            decoded, (together,) = decode_opened(opened)
            surveys = Surveys(schema, together.counts, together.states)
            screened = bound.screen(surveys.lows, surveys.highs)
            for at, block in enumerate(decoded):
                assert isinstance(block, DecodedBlock)
                _, states[at] = evaluate(bound, states[at], 0, block.records, exact, screened[at])
        best = min(best, time.process_time() - begun_s)
    return work.records * len(blocks) * TOGETHER / best


def rows_of(driven: SampledDrive, count: int, vin: str = "asset:car") -> list[dict[str, object]]:
    """Rows of telemetry_logs at full rate, the drive over and over."""
    readable = Readable(driven.schema)
    made: list[dict[str, object]] = []
    shift = 0
    while True:
        for run in driven.runs:
            for tick, timestamp, data in _rows(readable, run):
                if len(made) == count:
                    return made
                made.append(
                    {
                        "vin": vin,
                        "timestamp": timestamp,
                        "data": data,
                        "late": False,
                        "time_uncertain": False,
                        "outbox": 1,
                        "stream_no": shift,
                        "tick": tick,
                    }
                )
        shift += 1


def _rows(readable: Readable, run: Records) -> list[tuple[int, str, str]]:
    size = 500
    return [
        row
        for at in range(0, len(run), size)
        for part in [run.slice(at, min(at + size, len(run)))]
        for row in readable.rows(part, range(len(part)), 0)
    ]


def copied_rows_per_s(url: str, driven: SampledDrive) -> float:
    """Wide rows into telemetry_logs by COPY, with its indices, until they are durable. The best of several runs."""
    rows, best = rows_of(driven, COPY_ROWS), float("inf")
    engine = open_engine(address_of(url), write=True)
    for run in range(RUNS):
        for row in rows:
            row["outbox"] = run + 1
        begun_s = time.monotonic()
        with engine.begin() as connection:
            postgresql.load(connection, telemetry_logs, rows)
        best = min(best, time.monotonic() - begun_s)
    return len(rows) / best


def sizes(url: str, driven: SampledDrive, work: Workload) -> Sizes:
    """The same records as blocks, as rows, and as a Parquet file with zstd."""
    seconds = len(work.blocks) * work.records / driven.schema.rate_hz
    scale = DAY_S / seconds
    engine = open_engine(address_of(url), write=True)
    blocks = [
        {
            "outbox": 1,
            "stream_no": 0,
            "seq": seq,
            "first_tick": seq * work.records,
            "record_count": work.records,
            "skip": 0,
            "keyframe": seq % 30 == 0,
            "late": False,
            "doubtful": False,
            "crc": 1 << 31,
            "content": content,
        }
        for seq, content in enumerate(work.blocks)
    ]
    rows = rows_of(driven, len(work.blocks) * work.records)
    with engine.begin() as connection:
        postgresql.load(connection, batches, blocks)
        postgresql.load(connection, telemetry_logs, rows)
    with psycopg.connect(url) as connection:
        stored = [
            connection.execute(
                "SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size(%s::regclass)) "
                "FROM pg_partition_tree(%s::regclass)",
                (table, table),
            ).fetchone()
            for table in ("batches", "telemetry_logs")
        ]
    (of_blocks,), (of_rows,) = (one for one in stored if one is not None)
    return Sizes(
        blocks=sum(map(len, work.blocks)) * scale,
        blocks_in_postgresql=float(of_blocks) * scale,
        rows_in_postgresql=float(of_rows) * scale,
        parquet_zstd=len(_parquet(driven, len(rows))) * scale,
    )


def _parquet(driven: SampledDrive, count: int) -> bytes:
    tables = []
    for run in driven.runs:
        values = driven.schema.to_physical(run.counts, run.states)
        columns = {"tick": pa.array(range(run.first_tick, run.end_tick), pa.int64())}
        columns |= {
            name: pa.array(values[:, column].copy(), from_pandas=True)
            for column, name in enumerate(driven.schema.names)
        }
        tables.append(pa.table(columns))
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(tables).slice(0, count), sink, compression="zstd")
    return sink.getvalue()
