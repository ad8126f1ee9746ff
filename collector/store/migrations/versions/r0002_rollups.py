"""Minutes, rows at full rate around faults, and the index that finds one vehicle's rows."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, PrimaryKeyConstraint, Text

from collector.store.types import WallTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    by_day = op.get_context().dialect.name == "postgresql"
    op.add_column("outboxes", Column("full_rate_until", BigInteger))
    op.create_index("telemetry_logs_vin", "telemetry_logs", ["vin", "timestamp"])
    op.create_table(
        "rollups",
        Column("vin", Text, nullable=False),
        Column("signal", Text, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("tick", BigInteger, nullable=False),
        Column("timestamp", WallTime, nullable=False),
        Column("min", Float, nullable=False),
        Column("max", Float, nullable=False),
        Column("mean", Float, nullable=False),
        Column("count", Integer, nullable=False),
        PrimaryKeyConstraint(
            "vin", "signal", "outbox", "stream_no", "tick", *(["timestamp"] if by_day else [])
        ),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (timestamp)",
    )
    if by_day:
        op.execute("CREATE TABLE rollups_other PARTITION OF rollups DEFAULT")
