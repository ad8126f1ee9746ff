"""Diagnoses, battery health, and how vehicles were over time."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Text, UniqueConstraint

from collector.store.types import BigId, JsonText, WallTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("vehicles", Column("health", Text, nullable=False, server_default=""))
    op.add_column("outboxes", Column("battery_state", Text, nullable=False, server_default=""))
    op.add_column("outboxes", Column("diagnosis_state", Text, nullable=False, server_default=""))
    op.create_table(
        "diagnoses",
        Column("id", Integer, primary_key=True),
        Column("vin", Text, nullable=False),
        Column("signature", Text, nullable=False),
        Column("title", Text, nullable=False),
        Column("cause", Text, nullable=False),
        Column("confidence", Float, nullable=False),
        Column("action", Text, nullable=False),
        Column("detected_at", WallTime, nullable=False),
        Column("ended_at", WallTime),
        Column("end_reason", Text),
        Column("causes", JsonText, nullable=False),
        Column("evidence", JsonText, nullable=False),
        Column("approximate", Boolean, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("time_uncertain", Boolean, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("tick", BigInteger, nullable=False),
        Column("last_stream_no", BigInteger),
        Column("last_tick", BigInteger),
        UniqueConstraint("outbox", "stream_no", "tick", "signature"),
    )
    op.create_index("diagnoses_vin", "diagnoses", ["vin", "detected_at"])
    op.create_table(
        "battery_health",
        Column("id", BigId, primary_key=True),
        Column("vin", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("at", WallTime, nullable=False),
        Column("value", Float, nullable=False),
        Column("uncertainty", Float, nullable=False),
        Column("unit", Text, nullable=False),
        Column("n", Integer, nullable=False),
        Column("conditions", JsonText, nullable=False),
        Column("approximate", Boolean, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("time_uncertain", Boolean, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("first_tick", BigInteger, nullable=False),
        Column("tick", BigInteger, nullable=False),
        UniqueConstraint("outbox", "stream_no", "tick", "kind"),
    )
    op.create_index("battery_health_vin", "battery_health", ["vin", "kind", "at"])
    op.create_table(
        "vehicle_health",
        Column("id", Integer, primary_key=True),
        Column("vin", Text, nullable=False),
        Column("at", WallTime, nullable=False),
        Column("state", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("firmware_version", Text, nullable=False),
        Column("agent_version", Text, nullable=False),
        Column("health", Text, nullable=False),
        Column("written_by", Text, nullable=False),
    )
    op.create_index("vehicle_health_vin", "vehicle_health", ["vin", "id"])
