"""The end of a simulation, as a reader and an operator see it: records in order, right times, right faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.rules.evaluate import RuleState, bind, evaluate
from collector.store import open_store

if TYPE_CHECKING:
    import sqlite3

    from tests.simulation.invariants import _View
    from tests.simulation.truth import Truth
    from tests.simulation.world import World


def check_reader(world: World, vin: str, truth: Truth, unconfirmed: set[int]) -> None:
    """What the collector's own reader gives out, in its order. `unconfirmed`: offsets in ns that nobody can have found to be wrong."""
    store = open_store(world.station.path)
    try:
        before: tuple[bytes, int, int] | None = None
        end_tick = 0
        for run in store.runs(vin):
            place = (run.outbox_id, run.facts.stream_no, run.seq)
            if before is not None and before[0] == place[0] and before[1:] >= place[1:]:
                world.violation(f"{vin}: the reader gives {place[1:]} after {before[1:]}")
            if before is not None and before[:2] == place[:2] and run.records.first_tick < end_tick:
                world.violation(
                    f"{vin}: the reader gives {place[1:]} from tick {run.records.first_tick} after {end_tick}"
                )
            before, end_tick = place, run.records.end_tick
            if run.synchronised and run.offset_ns not in truth.clock_offsets | unconfirmed:
                world.violation(
                    f"{vin}: {place[1:]} is labelled with an offset that no synchronised clock showed"
                )
        if store.unreadable and not truth.spoiled:
            world.violation(f"{vin}: the reader leaves out {store.unreadable} blocks")
    finally:
        store._engine.dispose()


def check_faults(world: World, db: sqlite3.Connection | None, view: _View) -> None:
    """The rules over the sampled records of the stored blocks give the faults that the store has."""
    assert db is not None
    rules, truth = world.station.rules, world.truths[view.vin]
    wanted = rules.guards().hash
    if truth.spoiled or not all(block.guards_hash == wanted for block in view.blocks):
        return
    state = RuleState()
    expected: dict[tuple[str, int, int], tuple[object, ...]] = {}
    every = frozenset(rule.code for rule in rules.rules)
    for block in sorted(view.blocks, key=lambda one: (one.stream_no, one.seq)):
        fresh = block.sampled.slice(block.skip, len(block.records))
        spans, state = evaluate(bind(rules, block.run.schema), state, block.stream_no, fresh, every)
        for span in spans:
            expected[span.code, span.stream_no, span.first_tick] = (
                span.detected_tick, span.last_stream_no, span.last_tick, False,
            )  # fmt: skip
    rows = db.execute(
        "SELECT code, stream_no, first_tick, detected_tick, last_stream_no, last_tick, approximate, end_reason FROM faults "
        "WHERE outbox = ?",
        (view.id,),
    ).fetchall()
    # An outbox that was lost ended what was open in it.
    ends = [(None, None) if row[7] in ("outbox lost", "outbox forked") else row[4:6] for row in rows]
    stored = {row[:3]: (row[3], *end, bool(row[6])) for row, end in zip(rows, ends, strict=True)}
    if stored != expected:
        differing = sorted(stored.items() ^ expected.items(), key=str)
        world.violation(f"{view.vin}: faults of the store and of the sampled records differ: {differing[:4]}")
