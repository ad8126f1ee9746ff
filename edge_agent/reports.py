"""What the agent says of itself: heartbeats, the status file, and frames that were lost."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import structlog

from codec.schema import NS
from edge_agent import clock, commands, status
from edge_agent.errors import AgentError
from edge_agent.health import HealthProbe
from edge_agent.outbox_reader import OutboxReader
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoder.plan import Plan
    from decoder.sampler import Sampler
    from edge_agent.bus import BusReader
    from edge_agent.capture_thread import CaptureThread
    from edge_agent.config import Config
    from edge_agent.inbox import Inbox
    from edge_agent.rows import StreamRow
    from edge_agent.uplink import Uplink

log = structlog.get_logger()


class Reports:
    """Of one run."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        readers: Sequence[BusReader],
        inbox: Inbox,
        sampler: Sampler,
        capture: CaptureThread,
        boot_id: bytes,
    ) -> None:
        self._config = config
        self._plan = plan
        self._readers = readers
        self._inbox = inbox
        self._sampler = sampler
        self._capture = capture
        self._boot_id = boot_id
        self._health = HealthProbe(config.outbox.path)
        self._lost_told = 0

    def tell_losses(self) -> None:
        """In the log each time that the number has doubled: a flood must not become one of lines."""
        overrun = sum(reader.state.frames_overrun for reader in self._readers)
        dropped = self._inbox.dropped.total()
        if overrun + dropped > 2 * self._lost_told:
            self._lost_told = overrun + dropped
            log.error("frames were lost", before_they_were_read=overrun, before_they_were_taken=dropped)

    def _outbox_figures(self, wanted: int) -> tuple[int, int, float]:
        """(bytes, batches not acknowledged, age of the oldest in s)."""
        try:
            with OutboxReader(self._config.outbox.path) as reader:
                oldest = reader.oldest_unacked(wanted)
                age_s = 0.0
                if oldest is not None and (found := reader.stream(oldest[0])) is not None:
                    age_s = max(0.0, self._age_ns(found[0], oldest[1]) / NS)
                return reader.used_bytes(), reader.unacked(wanted), age_s
        except AgentError:
            return 0, 0, 0.0

    def _age_ns(self, stream: StreamRow, tick: int) -> int:
        """How long ago a tick of a stream was: for a replayed log on its own clock."""
        tick_ns = tick * self._plan.schema.period_ns
        capture = self._capture.capture
        if self._config.replayed and capture is not None:
            return (capture.pipeline.end_tick or 0) * self._plan.schema.period_ns - tick_ns
        now = clock.now()
        if stream.boot_id == self._boot_id:
            return now.boot_ns - tick_ns
        return now.wall_ns - (tick_ns + stream.facts.clock.offset_ns)

    def _bus_figures(self) -> list[dict[str, Any]]:
        """Of each bus, by the names in `BusHealth`."""
        return [
            {
                "name": state.name,
                "state": state.state,
                "trouble": state.trouble,
                "frames": state.frames,
                "frames_unknown": self._sampler.unknown_frames_of(index),
                "frames_overrun": state.frames_overrun,
                "frames_dropped": self._inbox.dropped[index],
                "error_frames": state.error_frames,
                "times_down": state.times_down,
                "times_bus_off": state.times_bus_off,
            }
            for index, state in enumerate(reader.state for reader in self._readers)
        ]

    def heartbeat(self, snapped: commands.Snapped, wanted: int) -> pb.Heartbeat:
        """`wanted`: the first position that is not acknowledged."""
        machine = self._health.ask()
        used_bytes, batches, oldest_s = self._outbox_figures(wanted)
        health = pb.Health(
            cpu_percent=machine.cpu_percent,
            rss_bytes=machine.rss_bytes,
            outbox_bytes=used_bytes,
            outbox_batches=batches,
            outbox_oldest_s=oldest_s,
            disk_free_bytes=machine.disk_free_bytes,
            temperature_c=machine.temperature_c,
            outboxes_set_aside=machine.outboxes_set_aside,
            buses=[pb.BusHealth(**bus) for bus in self._bus_figures()],
        )
        snapshot = snapped.snapshot
        if snapshot is None:
            return pb.Heartbeat(health=health)
        return pb.Heartbeat(
            stream_no=snapshot.stream_no,
            tick=snapshot.tick,
            record=snapshot.record,
            guards_hash=snapshot.guards_hash,
            guard_states=snapshot.guard_states,
            guard_lasted=snapshot.guard_lasted,
            health=health,
        )

    def write_status(self, uplink: Uplink, trouble: str) -> None:
        """Beside the outbox. `trouble`: why it cannot be written."""
        capture, link, allowance = self._capture.capture, uplink.link, uplink.allowance
        machine = self._health.ask()
        used_bytes, batches, oldest_s = self._outbox_figures(uplink.current_wanted)
        pipeline = capture.pipeline if capture else None
        state: dict[str, Any] = {
            "written_ns": time.time_ns(),
            "pid": os.getpid(),
            "vehicle": self._config.vehicle.id,
            "model": self._config.vehicle.model,
            "collector": self._config.collector.address,
            "link": {
                "state": link.state,
                "since_ns": link.since_ns,
                "trouble": link.trouble,
                "acked_at_ns": link.acked_at_ns,
                "draining": link.draining,
                "month": allowance.spent.name,
                "month_bytes": allowance.spent.bytes,
                "month_bytes_max": allowance.limits.month_bytes,
                "stretch": allowance.stretch,
            },
            "outbox": {
                "path": self._config.outbox.path,
                "bytes": used_bytes,
                "quota_bytes": self._config.outbox.quota_bytes,
                "batches": batches,
                "oldest_s": oldest_s,
                "trouble": trouble,
                "set_aside": machine.outboxes_set_aside,
            },
            "records": {
                "count": capture.record_count if capture else 0,
                "signals": len(self._plan.schema.signals),
                "rate_hz": self._plan.schema.rate_hz,
                "encoded": pipeline.encoded_count if pipeline else 0,
                "bytes": pipeline.block_bytes if pipeline else 0,
            },
            "buses": self._bus_figures(),
            "stamps": {
                "late": self._sampler.late_frames,
                "steps_back": self._sampler.clock_steps,
                "disbelieved": self._sampler.disbelieved_frames,
            },
            "prior": {
                "hash": capture.prior_hash.hex() if capture else "",
                "refused": capture.priors_refused if capture else 0,
            },
            "cpu_percent": machine.cpu_percent,
            "rss_bytes": machine.rss_bytes,
        }
        status.write_status(self._config.outbox.path, state)
