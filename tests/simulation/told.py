"""Provisional faults and notices, as the store has them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from tests.simulation.world import World

_PASSED = """SELECT p.vin, code, p.stream_no, tick, o.stream_no, end_tick FROM provisional_faults p
JOIN outboxes o ON o.id = p.outbox WHERE (p.stream_no < o.stream_no OR (p.stream_no = o.stream_no AND tick < end_tick))"""
_LEFT = (
    "SELECT o.outbox_id, code, p.stream_no, tick FROM provisional_faults p JOIN outboxes o ON o.id = p.outbox"
)
_NOTICES = "SELECT page, kind, provisional FROM notices ORDER BY id"
_FAULTS = "SELECT page, ended_at IS NOT NULL FROM faults WHERE page IS NOT NULL"

ENDS = {  # of what was told under one name: by its last notice, whether the fault has ended
    ("opened",): False,
    ("opened", "closed"): True,
    ("opened provisionally", "confirmed"): False,
    ("opened provisionally", "confirmed", "closed"): True,
    ("opened provisionally", "withdrawn"): None,
    ("digest",): None,
}


def check_provisional(world: World, db: sqlite3.Connection) -> None:
    """After every transaction: what is provisional lies beyond what is stored."""
    if passed := db.execute(_PASSED).fetchall():
        world.violation(f"provisional faults that ingest has passed: {passed}")


def check_notices(world: World, db: sqlite3.Connection) -> None:
    """In the end: nothing is provisional any more, and everybody was told what the faults say.

    What was told to have ended may have gone on, and be told of under another name: an outbox was lost, and a clone has it.
    """
    mine = {
        vehicle.agent.capture.outbox_id: vehicle for vehicle in world.vehicles if vehicle.agent is not None
    }
    for outbox_id, code, stream_no, tick in db.execute(_LEFT):
        vehicle = mine.get(bytes(outbox_id))
        if vehicle is None or vehicle.agent is None or vehicle.truth.spoiled:
            continue  # a quarantine at its end has no end yet
        pipeline = vehicle.agent.capture.pipeline
        if pipeline.end_tick is not None and (stream_no, tick) < (pipeline.name.stream_no, pipeline.end_tick):
            world.violation(f"{vehicle.name}: {code} at {stream_no}/{tick} is provisional still")
    by_page: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for page, kind, provisional in db.execute(_NOTICES):
        by_page[page] += (f"{kind} provisionally" if provisional and kind == "opened" else kind,)
    faults = {page: bool(ended) for page, ended in db.execute(_FAULTS)}
    waiting = {page for (page,) in db.execute("SELECT page FROM provisional_faults")}
    for page, kinds in by_page.items():
        if page in waiting and kinds == ("opened provisionally",):
            continue
        if kinds not in ENDS:
            world.violation(f"{page} was told of as {kinds}")
        elif ENDS[kinds] is not None and faults.get(page, ENDS[kinds] or None) != ENDS[kinds]:
            world.violation(f"{page} was told of as {kinds}, but faults say {faults.get(page)}")
