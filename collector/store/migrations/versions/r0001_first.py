"""Vehicles, outboxes, streams, blocks and what is made of them. SQLite stores that are older than revisions begin here."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)

from collector.store.types import BigId, JsonText, WallTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    _vehicles_and_streams()
    _blocks()
    _faults()
    _telemetry_logs()


def _vehicles_and_streams() -> None:
    op.create_table(
        "vehicles",
        Column("vin", Text, primary_key=True),
        Column("model", Text, nullable=False),
        Column("firmware_version", Text, nullable=False),
        Column("agent_version", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("first_seen", WallTime, nullable=False),
        Column("last_seen", WallTime, nullable=False),
        Column("heartbeat", JsonText),
    )
    op.create_table(
        "outboxes",
        Column("id", Integer, primary_key=True),
        Column("vin", Text, ForeignKey("vehicles.vin"), nullable=False),
        Column("outbox_id", LargeBinary(16), nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("next_seq", BigInteger, nullable=False),
        Column("stored_stream_no", BigInteger),
        Column("stored_seq", BigInteger),
        Column("record_count", BigInteger, nullable=False),
        Column("end_tick", BigInteger),
        Column("group_seq", BigInteger),
        Column("open_gap_seq", BigInteger),
        Column("rule_state", Text, nullable=False),
        Column("replaced_by", LargeBinary(16)),
        Column("received_at", WallTime),
        UniqueConstraint("vin", "outbox_id"),
    )
    op.create_table(
        "streams",
        Column("outbox", Integer, ForeignKey("outboxes.id"), primary_key=True),
        Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
        Column("stream_id", LargeBinary(16), nullable=False),
        Column("boot_id", LargeBinary(16), nullable=False),
        Column("schema_hash", LargeBinary(16), nullable=False),
        Column("origin_tick", BigInteger, nullable=False),
        Column("facts_offset_ns", BigInteger, nullable=False),
        Column("facts_synchronised", Boolean, nullable=False),
        Column("guards_hash", LargeBinary(16), nullable=False),
        Column("prior_hash", LargeBinary(16), nullable=False),
        Column("offset_ns", BigInteger, nullable=False),
        Column("synchronised", Boolean, nullable=False),
        Column("prev_last_seq", BigInteger),
        Column("prev_digest", BigInteger, nullable=False),
        Column("prev_stream_id", LargeBinary(16), nullable=False),
    )
    op.create_index("streams_stream_id", "streams", ["stream_id"])


def _blocks() -> None:
    op.create_table(
        "batches",
        Column("outbox", Integer, primary_key=True),
        Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("first_tick", BigInteger, nullable=False),
        Column("record_count", Integer, nullable=False),
        Column("skip", Integer, nullable=False),
        Column("keyframe", Boolean, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("doubtful", Boolean, nullable=False),
        Column("crc", BigInteger, nullable=False),
        Column("content", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gaps",
        Column("outbox", Integer, primary_key=True),
        Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
        Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
        Column("last_seq", BigInteger),
        Column("records", BigInteger),
        Column("end_tick", BigInteger),
        Column("reason", Text, nullable=False),
        Column("noted_at", WallTime, nullable=False),
    )
    op.create_table(
        "quarantine",
        Column("outbox", Integer, primary_key=True),
        Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("why", Text, nullable=False),
        Column("received_at", WallTime, nullable=False),
        Column("content", LargeBinary, nullable=False),
    )
    op.create_table(
        "blobs",
        Column("kind", Integer, primary_key=True, autoincrement=False),
        Column("hash", LargeBinary(16), primary_key=True),
        Column("content", LargeBinary, nullable=False),
    )
    op.create_table(
        "priors",
        Column("schema_hash", LargeBinary(16), primary_key=True),
        Column("prior_hash", LargeBinary(16), nullable=False),
        Column("trained_at", WallTime, nullable=False),
        Column("hours", Float, nullable=False),
        Column("gain", Float, nullable=False),
        Column("saved_per_hour", Float, nullable=False),
    )


def _faults() -> None:
    op.create_table(
        "faults",
        Column("id", Integer, primary_key=True),
        Column("vin", Text, nullable=False),
        Column("code", Text, nullable=False),
        Column("severity", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("signal", Text, nullable=False),
        Column("started_at", WallTime, nullable=False),
        Column("detected_at", WallTime, nullable=False),
        Column("ended_at", WallTime),
        Column("end_reason", Text),
        Column("peak", Float),
        Column("evidence", JsonText, nullable=False),
        Column("approximate", Boolean, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("time_uncertain", Boolean, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("first_tick", BigInteger, nullable=False),
        Column("detected_tick", BigInteger, nullable=False),
        Column("last_stream_no", BigInteger),
        Column("last_tick", BigInteger),
        UniqueConstraint("outbox", "stream_no", "first_tick", "code"),
    )
    op.create_index("faults_severity", "faults", ["severity", "detected_at"])
    op.create_index("faults_vin", "faults", ["vin", "detected_at"])


def _telemetry_logs() -> None:
    by_day = op.get_context().dialect.name == "postgresql"
    op.create_table(
        "telemetry_logs",
        Column("id", BigId, autoincrement=True, nullable=False),
        Column("vin", Text, nullable=False),
        Column("timestamp", WallTime, nullable=False),
        Column("data", JsonText, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("time_uncertain", Boolean, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("tick", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", "timestamp") if by_day else PrimaryKeyConstraint("id"),
        UniqueConstraint("outbox", "stream_no", "tick", *(["timestamp"] if by_day else [])),
        postgresql_partition_by="RANGE (timestamp)",
    )
    op.create_index("telemetry_logs_timestamp", "telemetry_logs", ["timestamp"])
    if by_day:
        op.execute("CREATE TABLE telemetry_logs_other PARTITION OF telemetry_logs DEFAULT")
