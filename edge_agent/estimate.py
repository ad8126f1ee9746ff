"""`edge-agent estimate`: what a configuration costs on the wire, by really encoding a recorded log with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.guards import GuardSet
from codec.records import Availability, Records
from codec.schema import Schema, Signal, physical
from codec.stream import Clock
from decoder.frames import EXTENDED
from decoder.sampler import Sampler
from edge_agent.errors import AgentError
from edge_agent.pipeline import BlockTicks, Mode, Pipeline, StreamName
from edge_agent.recorded import recorded_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoder.frames import Frames
    from decoder.plan import Plan
    from edge_agent.config import Config

ENVELOPE_BYTES = 130  # of a batch on the wire, both ways: HTTP/2, gRPC, TLS, and its share of the acks
HEARTBEAT_BYTES = 400  # of a heartbeat, the same


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes for `seconds` of records."""

    seconds: float
    records: int
    frames: int
    block_count: int
    block_bytes: int  # all signals, headers included
    signal_bytes: dict[str, float]  # shares of `block_bytes`, headers left out
    heartbeat_s: float
    flat: tuple[str, ...] = ()  # signals with no value beyond their threshold: they may read 0 all the time

    @property
    def wire_bytes(self) -> float:
        return (
            self.block_bytes
            + self.block_count * ENVELOPE_BYTES
            + self.seconds / self.heartbeat_s * HEARTBEAT_BYTES
        )


def estimate(log: str, config: Config, plan: Plan) -> Estimate:
    """Encode `log` as the agent would while it is online. Raises AgentError."""
    sampler = Sampler(plan, park_after_s=config.sampling.park_after_s)
    frame_count = 0
    runs: list[Records] = []
    for frames in _log_frames(log, config, plan):
        frame_count += len(frames)
        sampler.feed(frames)
        runs += sampler.advance(None)
    if not runs:
        raise AgentError(
            f"{log}: none of its {frame_count} frames belongs to a configured signal; is this the DBC of that vehicle?"
        )
    schema = plan.schema
    blocks = config.blocks
    ticks = BlockTicks.of_seconds(
        schema.rate_hz,
        offline_s=blocks.offline_s,
        online_s=blocks.online_s,
        watched_s=blocks.watched_s,
        keyframe_s=blocks.keyframe_s,
        loss_max_s=3600,
    )
    block_count, block_bytes = _encoded(schema, runs, ticks)
    record_count = sum(map(len, runs))
    never = [
        Records(
            run.first_tick,
            np.zeros((len(run), 1), np.int64),
            np.full((len(run), 1), Availability.NEVER_SEEN, np.uint8),
        )
        for run in runs
    ]
    _, header_bytes = _encoded(Schema(schema.rate_hz, (Signal("nothing"),)), never, ticks)
    alone = {
        signal.name: max(
            0, _encoded(Schema(schema.rate_hz, (signal,)), _column(runs, column), ticks)[1] - header_bytes
        )
        for column, signal in enumerate(schema.signals)
    }
    scale = max(0, block_bytes - header_bytes) / max(1, sum(alone.values()))
    return Estimate(
        seconds=record_count / schema.rate_hz,
        records=record_count,
        frames=frame_count,
        block_count=block_count,
        block_bytes=block_bytes,
        signal_bytes={name: size * scale for name, size in alone.items()},
        heartbeat_s=config.uplink.heartbeat_s,
        flat=tuple(
            signal.name
            for column, signal in enumerate(schema.signals)
            if _is_flat(signal, _column(runs, column))
        ),
    )


def _is_flat(signal: Signal, runs: list[Records]) -> bool:
    found = [physical(signal, run.counts[run.states == Availability.AVAILABLE]) for run in runs]
    values = np.concatenate(found)
    return bool(
        signal.threshold and len(values) and np.nanmax(np.abs(values)) <= signal.threshold and values.any()
    )


def render_estimate(found: Estimate, *, hours: float) -> str:
    """The table, for a month with so many hours of driving."""
    months = hours * 3600 / found.seconds / 1e6  # from bytes of the log to MB a month
    width = max(len(name) for name in found.signal_bytes) + 2
    lines = [
        f"{found.frames:,} frames, {found.records:,} records, {found.seconds:,.0f} s; for {hours:g} h of driving a month:",
        "",
        f"{'signal':<{width}}{'MB a month':>12}{'share':>9}",
    ]
    lines += [
        f"{name:<{width}}{size * months:>12.3f}{size / found.wire_bytes:>9.1%}"
        for name, size in sorted(found.signal_bytes.items(), key=lambda item: -item[1])
    ]
    rest = found.wire_bytes - sum(found.signal_bytes.values())
    lines += [
        f"{'headers, acks, heartbeats':<{width}}{rest * months:>12.3f}{rest / found.wire_bytes:>9.1%}",
        f"{'all':<{width}}{found.wire_bytes * months:>12.3f}",
    ]
    if found.flat:
        lines += [
            "",
            "within their threshold of 0 in this log, so that they may read 0 all the time; make it smaller in [signals]:",
            ", ".join(found.flat),
        ]
    return "\n".join(lines)


def _encoded(schema: Schema, runs: list[Records], ticks: BlockTicks) -> tuple[int, int]:
    """(blocks, their bytes)."""
    pipeline = Pipeline(
        schema, StreamName(0, bytes(16), bytes(16)), ticks, guards=GuardSet(), mode=Mode.ONLINE
    )
    count = 0
    for run in runs:
        count += len(pipeline.add(run, Clock()).batches)
    count += len(pipeline.flush(Clock()).batches)
    return count, pipeline.block_bytes


def _column(runs: list[Records], column: int) -> list[Records]:
    part = slice(column, column + 1)
    return [Records(run.first_tick, run.counts[:, part], run.states[:, part]) for run in runs]


def _log_frames(log: str, config: Config, plan: Plan) -> Iterator[Frames]:
    """The log's frames, given to the first bus that wants their ID."""
    wanted = [plan.wanted_ids(index) for index in range(len(config.buses))]
    return recorded_frames(log, lambda frame_id: _owner(frame_id, wanted))


def _owner(id_: int, wanted: list[list[tuple[int, int, bool]]]) -> int:
    extended, plain = bool(id_ & EXTENDED), id_ & ~EXTENDED
    for index, filters in enumerate(wanted):
        if any(long == extended and plain & mask == want & mask for want, mask, long in filters):
            return index
    return 0
