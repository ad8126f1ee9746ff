"""What a transaction writes with, once for each dialect: to make a statement costs more than to run it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Numeric,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from collector.store.tables import (
    anomalies,
    batches,
    battery_health,
    blobs,
    diagnoses,
    faults,
    gaps,
    notices,
    outboxes,
    priors,
    provisional_faults,
    quarantine,
    rollups,
    streams,
    telemetry_logs,
    vehicle_health,
    vehicles,
)
from collector.store.types import WallTime, wall_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement
    from sqlalchemy.sql.dml import Insert

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

OF_FAULTS = ("faults", "faults_ended", "faults_paged", "provisional", "provisional_gone")
MARKED = (
    "faults",
    "faults_ended",
    "anomalies",
    "diagnoses",
    "diagnoses_ended",
    "battery",
)  # by `faults_approximate`
SECONDS = ("telemetry_gone", "telemetry", "telemetry_missing", "rollups_gone", "rollups")

LOADED = frozenset(
    {"batches", "telemetry", "rollups"}
)  # by COPY where there is one: rows of which none is there yet


def insert_new(dialect: str, table: Table) -> Insert:
    """INSERT that leaves rows alone that are there already."""
    statement: Insert = _INSERT[dialect](table).on_conflict_do_nothing()
    return statement


def upsert(
    dialect: str,
    table: Table,
    keys: Sequence[str],
    update: Sequence[str],
    *,
    texts: Sequence[str] = (),
    documents: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Insert:
    """INSERT that updates the named columns of rows that are there already.

    Those in `texts` only by a text that is not empty, those in `documents` by JSON that is not null, those in `flags` only to
    true.
    """
    statement = _INSERT[dialect](table)
    new = statement.excluded
    changes: dict[str, Any] = {name: new[name] for name in update}
    changes |= {name: func.coalesce(func.nullif(new[name], ""), table.c[name]) for name in texts}
    changes |= {
        name: case((cast(new[name], Text) == "null", table.c[name]), else_=new[name]) for name in documents
    }
    changes |= {name: or_(table.c[name], new[name]) for name in flags}
    updating: Insert = statement.on_conflict_do_update(index_elements=list(keys), set_=changes)
    return updating


@cache
def changes(dialect: str) -> dict[str, Any]:
    """What each collection of `Changes` is written with, in this order."""
    return {
        "vehicles": upsert(
            dialect,
            vehicles,
            ["vin"],
            ["last_seen"],
            texts=["model", "firmware_version", "agent_version", "state"],
        ),
        "vehicle_states": _of_vehicle("state", "last_seen"),
        "heartbeats": _of_vehicle("heartbeat", "health", "last_seen"),
        "health": health_changed(vehicles.c.vin == bindparam("of_vin")),
        "replaced": update(outboxes)
        .where(outboxes.c.id == bindparam("of_id"))
        .values(replaced_by=bindparam("replaced_by")),
        "streams": insert_new(dialect, streams),
        "stream_labels": update(streams)
        .where(_of_stream(streams.c.outbox, streams.c.stream_no))
        .values(offset_ns=bindparam("offset_ns"), synchronised=bindparam("synchronised")),
        "batches": insert(batches),
        "batches_replaced": update(batches)
        .where(*_OF_BATCH)
        .values(_named("content", "crc", "first_tick", "record_count", "skip", "keyframe")),
        "batches_doubtful": update(batches)
        .where(
            _of_stream(batches.c.outbox, batches.c.stream_no),
            batches.c.seq.between(bindparam("of_first_seq"), bindparam("of_last_seq")),
        )
        .values(_named("doubtful")),
        "gaps": upsert(
            dialect, gaps, ["outbox", "stream_no", "first_seq"], ["last_seq", "records", "end_tick", "reason"]
        ),
        "quarantine": insert_new(dialect, quarantine),
        "blobs": put_blob(dialect),
        **_found(dialect),
        "times": _SET_TIMES,
    }


@cache
def put_blob(dialect: str) -> Insert:
    return upsert(dialect, blobs, ["kind", "hash"], ["content"])  # what is here may be damaged


@cache
def put_prior(dialect: str) -> Insert:
    return upsert(
        dialect, priors, ["schema_hash"], ["prior_hash", "trained_at", "hours", "gain", "saved_per_hour"]
    )


def _found(dialect: str) -> dict[str, Any]:
    """What is made of blocks."""
    return {
        "faults": upsert(
            dialect,
            faults,
            ["outbox", "stream_no", "first_tick", "code"],
            ["ended_at", "end_reason", "peak", "last_stream_no", "last_tick"],
            documents=["evidence"],
            flags=["approximate"],
        ),
        "faults_ended": update(faults)
        .where(*_OF_FAULT)
        .values(_named("ended_at", "end_reason", "last_stream_no", "last_tick")),
        "faults_paged": update(faults).where(*_OF_FAULT).values(_named("page")),
        "provisional": upsert(
            dialect,
            provisional_faults,
            ["outbox", "code"],
            [column.name for column in provisional_faults.c if column.name not in ("outbox", "code")],
        ),
        "provisional_gone": delete(provisional_faults).where(
            provisional_faults.c.outbox == bindparam("of_outbox"),
            provisional_faults.c.code == bindparam("of_code"),
        ),
        "notices": insert(notices),
        **_of_analyses(dialect),
        "faults_approximate": _APPROXIMATE,
        "telemetry_gone": _DROP_SECONDS,
        # Where a block claimed ticks of those after it, these have them.
        "telemetry": upsert(
            dialect,
            telemetry_logs,
            ["outbox", "stream_no", "tick"],
            ["timestamp", "data", "late", "time_uncertain"],
        ),
        "telemetry_missing": insert_new(dialect, telemetry_logs),
        "rollups_gone": delete(rollups).where(
            rollups.c.vin == bindparam("of_vin"),
            rollups.c.signal == bindparam("of_signal"),
            _of_stream(rollups.c.outbox, rollups.c.stream_no),
            rollups.c.tick == bindparam("of_tick"),
        ),
        "rollups": insert(rollups),
        "full_rate": update(outboxes)
        .where(outboxes.c.id == bindparam("of_id"))
        .values(_named("full_rate_until")),
    }


def _of_analyses(dialect: str) -> dict[str, Any]:
    return {
        "anomalies": upsert(
            dialect,
            anomalies,
            ["outbox", "stream_no", "first_tick", "detector", "signal"],
            ["ended_at", "peak", "score", "confidence", "late", "last_tick"],
        ),
        "diagnoses": upsert(
            dialect,
            diagnoses,
            ["outbox", "stream_no", "tick", "signature"],
            [
                *("cause", "confidence", "action", "causes", "evidence"),
                *("last_seen_at", "ended_at", "end_reason", "last_stream_no", "last_tick"),
            ],
            flags=["approximate"],
        ),
        "diagnoses_ended": update(diagnoses)
        .where(
            _of_stream(diagnoses.c.outbox, diagnoses.c.stream_no),
            diagnoses.c.tick == bindparam("of_tick"),
            diagnoses.c.signature == bindparam("of_signature"),
        )
        .values(_named("last_seen_at", "ended_at", "end_reason", "last_stream_no", "last_tick")),
        "battery": insert_new(dialect, battery_health),
    }


def health_changed(of: ColumnElement[bool] | None) -> Any:
    """A row of history for each vehicle whose row says something else than its newest. `of`: some vehicles; None: all."""
    told = ("state", "model", "firmware_version", "agent_version", "health")
    history = vehicle_health.alias()
    newest = select(func.max(history.c.id)).where(history.c.vin == vehicles.c.vin).correlate(vehicles)
    same = select(vehicle_health.c.id).where(
        vehicle_health.c.id == newest.scalar_subquery(),
        *(vehicle_health.c[name] == vehicles.c[name] for name in told),
    )
    wanted = select(
        vehicles.c.vin,
        bindparam("of_at", type_=WallTime),
        *(vehicles.c[name] for name in told),
        bindparam("of_written_by", type_=Text),
    ).where(~exists(same.correlate(vehicles)))
    columns = ["vin", "at", *told, "written_by"]
    return insert(vehicle_health).from_select(columns, wanted if of is None else wanted.where(of))


def _named(*names: str) -> dict[str, Any]:
    return {name: bindparam(name) for name in names}


def _of_vehicle(*names: str) -> Any:
    return update(vehicles).where(vehicles.c.vin == bindparam("of_vin")).values(_named(*names))


def _time_of(tick: Column[int]) -> ColumnElement[Any]:
    # As numerics: PostgreSQL refuses what leaves int64, and a clock gone mad does.
    period_ns, offset_ns = (
        bindparam("of_period_ns", type_=BigInteger),
        bindparam("of_offset_ns", type_=BigInteger),
    )
    return wall_time(cast(tick, Numeric) * period_ns + offset_ns)


def _of_stream(outbox: Column[int], stream_no: Column[int]) -> ColumnElement[bool]:
    return and_(outbox == bindparam("of_outbox"), stream_no == bindparam("of_stream_no"))


def _approximate(table: Table, first_tick: Column[int], last_tick: Column[int]) -> Any:
    """What was made of a stretch that came out wrong."""
    return (
        update(table)
        .where(
            _of_stream(table.c.outbox, table.c.stream_no),
            first_tick < bindparam("of_end_tick"),
            (last_tick.is_(None)) | (last_tick >= bindparam("of_first_tick")),
        )
        .values(approximate=True)
    )


SET_OUTBOX = (
    update(outboxes)
    .where(outboxes.c.id == bindparam("of_id"), outboxes.c.revision == bindparam("of_revision"))
    .values(
        _named(
            "revision",
            "stream_no",
            "next_seq",
            "stored_stream_no",
            "stored_seq",
            "record_count",
            "end_tick",
            "group_seq",
            "open_gap_seq",
            "rule_state",
            "battery_state",
            "diagnosis_state",
            "received_at",
        )
    )
)
_SET_TIMES = (
    update(telemetry_logs)
    .where(_of_stream(telemetry_logs.c.outbox, telemetry_logs.c.stream_no))
    .values(timestamp=_time_of(telemetry_logs.c.tick), time_uncertain=bindparam("uncertain")),
    update(faults)
    .where(_of_stream(faults.c.outbox, faults.c.stream_no))
    .values(
        started_at=_time_of(faults.c.first_tick),
        detected_at=_time_of(faults.c.detected_tick),
        time_uncertain=bindparam("uncertain"),
    ),
    update(faults)
    .where(_of_stream(faults.c.outbox, faults.c.last_stream_no), faults.c.ended_at.is_not(None))
    .values(ended_at=_time_of(faults.c.last_tick)),
    update(rollups)
    .where(
        rollups.c.vin
        == select(outboxes.c.vin).where(outboxes.c.id == bindparam("of_outbox")).scalar_subquery(),
        _of_stream(rollups.c.outbox, rollups.c.stream_no),
    )
    .values(timestamp=_time_of(rollups.c.tick)),
    update(anomalies)
    .where(_of_stream(anomalies.c.outbox, anomalies.c.stream_no))
    .values(
        started_at=_time_of(anomalies.c.first_tick),
        ended_at=case((anomalies.c.ended_at.is_not(None), _time_of(anomalies.c.last_tick))),
        time_uncertain=bindparam("uncertain"),
    ),
    update(diagnoses)
    .where(_of_stream(diagnoses.c.outbox, diagnoses.c.stream_no))
    .values(detected_at=_time_of(diagnoses.c.tick), time_uncertain=bindparam("uncertain")),
    update(diagnoses)
    .where(_of_stream(diagnoses.c.outbox, diagnoses.c.last_stream_no))
    .values(
        last_seen_at=_time_of(diagnoses.c.last_tick),
        ended_at=case((diagnoses.c.ended_at.is_not(None), _time_of(diagnoses.c.last_tick))),
    ),
    update(battery_health)
    .where(_of_stream(battery_health.c.outbox, battery_health.c.stream_no))
    .values(at=_time_of(battery_health.c.tick), time_uncertain=bindparam("uncertain")),
)
_DROP_SECONDS = delete(telemetry_logs).where(
    _of_stream(telemetry_logs.c.outbox, telemetry_logs.c.stream_no),
    telemetry_logs.c.tick >= bindparam("of_first_tick"),
    telemetry_logs.c.tick < bindparam("of_end_tick"),
)
_APPROXIMATE = (
    _approximate(faults, faults.c.first_tick, faults.c.last_tick),
    _approximate(anomalies, anomalies.c.first_tick, anomalies.c.last_tick),
    _approximate(diagnoses, diagnoses.c.tick, diagnoses.c.last_tick),
    _approximate(battery_health, battery_health.c.first_tick, battery_health.c.tick),
)
_OF_FAULT = (
    _of_stream(faults.c.outbox, faults.c.stream_no),
    faults.c.first_tick == bindparam("of_first_tick"),
    faults.c.code == bindparam("of_code"),
)
_OF_BATCH = (
    batches.c.outbox == bindparam("of_outbox"),
    batches.c.stream_no == bindparam("of_stream_no"),
    batches.c.seq == bindparam("of_seq"),
)
