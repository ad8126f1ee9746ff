"""Plays the script: everything in its time, with a look at all vehicles in between."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collector.words import counted
from demo.baselines import protobuf_bytes
from demo.side_log import read_side_log, sampled_count
from demo.view import Snapshot
from edge_agent.outbox_reader import OutboxReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.proxy import Road
    from demo.script import Act
    from demo.stage import Actor, Stage
    from demo.view import View

LOOK_EVERY_S = 0.5
RECORDS_MEASURED_MIN = 500
ROWS_MEASURED = (
    4  # of the side log, some seconds of driving: the live figure must not take time from the proxy
)
ARRIVE_S = 40.0  # after the end of the drives: the last blocks through the last retry
_ROADS = {"REFUSED": "no network", "SILENT": "no answer"}


@dataclass(frozen=True, slots=True)
class Poster:
    """The fleet at one instant, and all that was done to it."""

    at_s: float
    fleet: tuple[Snapshot, ...]
    events: tuple[tuple[float, str], ...] = ()


async def play(stage: Stage, acts: Sequence[Act], epoch: float, drive_s: float, view: View) -> Poster:
    """Until every agent has arrived, or long past its time. Returns how things stood when they stood worst."""
    pending = list(acts)
    arrived: set[str] = set()
    poster: Poster | None = None
    watch = Watch(stage)
    look_at_s = -math.inf
    while True:
        now_s = time.time_ns() / 1e9 - epoch
        while pending and pending[0].at_s <= now_s:
            act = pending.pop(0)
            view.event(now_s, act.text)
            await stage.perform(act)
        if now_s >= look_at_s:
            look_at_s = now_s + LOOK_EVERY_S
            fleet = watch.look()
            view.show(now_s, fleet)
            if poster is None and any(one.state == "killed" for one in fleet):
                poster = Poster(now_s, tuple(fleet))
        for actor in stage.actors:
            if not actor.agent.running and not actor.agent.killed and actor.drive.vin not in arrived:
                arrived.add(actor.drive.vin)
                view.event(now_s, _farewell(actor))
        if len(arrived) == len(stage.actors) or now_s > drive_s + ARRIVE_S:
            fleet = watch.look()
            view.show(now_s, fleet)
            poster = poster or Poster(now_s, tuple(fleet))
            return replace(poster, events=tuple((act.at_s, act.text) for act in acts))
        await asyncio.sleep(0.05)


class Watch:
    """Looks at all vehicles, from outside: files, the proxy and the store."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._record_bytes: dict[str, float] = {}  # of one record as a protobuf message, by VIN
        self._measure_at: dict[str, int] = {}

    def look(self) -> list[Snapshot]:
        faults = _faults(self._stage)
        return [self._snapshot(actor, *faults.get(actor.drive.vin, (0, 0))) for actor in self._stage.actors]

    def _snapshot(self, actor: Actor, faults_open: int, faults: int) -> Snapshot:
        vin, proxy = actor.drive.vin, self._stage.proxy
        sampled = sampled_count(actor.outbox)
        if sampled >= self._measure_at.get(vin, RECORDS_MEASURED_MIN):
            self._measure_at[vin] = sampled * 4
            self._record_bytes[vin] = _record_bytes(actor)
        return Snapshot(
            model=actor.drive.model,
            drive=actor.drive.title,
            state=_state(actor, proxy.road(vin), connected=proxy.connected(vin)),
            sampled=sampled,
            outbox_batches=_unacked(actor),
            bytes_wire=proxy.traffic(vin).total_bytes,
            bytes_protobuf=int(sampled * self._record_bytes.get(vin, 0)),
            faults_open=faults_open,
            faults=faults,
        )


def _record_bytes(actor: Actor) -> float:
    """What a record of this vehicle comes to as a protobuf message: measured on what it committed last."""
    side = read_side_log(actor.outbox)
    return protobuf_bytes(side.schema, (records for _, records in side.committed)) / max(
        1, side.committed_count
    )


def _state(actor: Actor, road: Road, *, connected: bool) -> str:
    if not actor.agent.running:
        return "killed" if actor.agent.killed else "arrived" if actor.agent.status == 0 else "failed"
    return _ROADS.get(road.name) or ("online" if connected else "offline")


def _unacked(actor: Actor) -> int:
    """Batches that the vehicle does not know to be durable; 0 before its outbox exists."""
    if not actor.outbox.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{actor.outbox}?mode=ro", uri=True)) as database:
            wanted = database.execute("SELECT value FROM facts WHERE key = 'wanted'").fetchone()
        with OutboxReader(str(actor.outbox)) as reader:
            return reader.unacked(int(wanted[0]) if wanted else 0)
    except (sqlite3.Error, ValueError, OSError):
        return 0  # being made


def _faults(stage: Stage) -> dict[str, tuple[int, int]]:
    """{vin: (open, all)}; empty before the store has its tables."""
    if not stage.store.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{stage.store}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT vin, sum(ended_at IS NULL), count(*) FROM faults GROUP BY vin"
            ).fetchall()
    except sqlite3.Error:
        return {}
    return {str(vin): (int(still_open), int(count)) for vin, still_open, count in rows}


def _farewell(actor: Actor) -> str:
    if actor.agent.status == 0:
        left = _unacked(actor)
        outbox = (
            f"{counted(left, 'block')} still in its outbox" if left else "all that it sent is acknowledged"
        )
        return f"{actor.drive.model} has arrived; {outbox}"
    return f"{actor.drive.model}: the agent ended with status {actor.agent.status}; {actor.agent.output} says:\n{actor.agent.tail()}"
