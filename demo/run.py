"""Plays the script: everything in its time, with a look at all vehicles in between."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

from demo.side_log import sampled_count
from demo.view import Snapshot
from edge_agent.outbox_reader import OutboxReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.proxy import Road
    from demo.script import Act
    from demo.stage import Actor, Stage
    from demo.view import View

LOOK_EVERY_S = 0.5
ARRIVE_S = 40.0  # after the end of the drives: the last blocks through the last retry
_ROADS = {"REFUSED": "no network", "SILENT": "silence"}


async def play(
    stage: Stage, acts: Sequence[Act], epoch: float, drive_s: float, view: View, record_bytes: dict[str, int]
) -> None:
    """Until every agent has arrived, or long past its time. `record_bytes`: protobuf bytes of a whole record, by VIN."""
    pending = list(acts)
    arrived: set[str] = set()
    look_at_s = 0.0
    while True:
        now_s = time.time() - epoch  # noqa: TID251
        while pending and pending[0].at_s <= now_s:
            act = pending.pop(0)
            view.event(now_s, act.text)
            await stage.perform(act)
        if now_s >= look_at_s:
            look_at_s = now_s + LOOK_EVERY_S
            view.show(max(now_s, 0.0), look(stage, record_bytes))
        for actor in stage.actors:
            if not actor.agent.running and not actor.agent.killed and actor.drive.vin not in arrived:
                arrived.add(actor.drive.vin)
                view.event(now_s, _farewell(actor))
        if len(arrived) == len(stage.actors) or now_s > drive_s + ARRIVE_S:
            view.show(now_s, look(stage, record_bytes))
            return
        await asyncio.sleep(0.05)


def look(stage: Stage, record_bytes: dict[str, int]) -> list[Snapshot]:
    """All vehicles as they stand now."""
    faults = _faults(stage)
    return [
        _snapshot(stage, actor, record_bytes.get(actor.drive.vin, 0), faults.get(actor.drive.vin, (0, 0)))
        for actor in stage.actors
    ]


def _snapshot(stage: Stage, actor: Actor, record_bytes: int, faults: tuple[int, int]) -> Snapshot:
    vin = actor.drive.vin
    sampled = sampled_count(actor.outbox)
    return Snapshot(
        model=actor.drive.model,
        drive=actor.drive.title,
        state=_state(actor, stage.proxy.road(vin), connected=stage.proxy.connected(vin)),
        sampled=sampled,
        outbox_batches=_unacked(actor),
        bytes_wire=stage.proxy.traffic(vin).total_bytes,
        bytes_protobuf=sampled * record_bytes,
        faults_open=faults[0],
        faults=faults[1],
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
        return f"{actor.drive.model} has arrived, its outbox is empty"
    return f"{actor.drive.model}: the agent ended with status {actor.agent.status}; {actor.agent.output} says:\n{actor.agent.tail()}"
