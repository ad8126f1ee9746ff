"""What detectors find."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Text, UniqueConstraint

from collector.store.types import WallTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "anomalies",
        Column("id", Integer, primary_key=True),
        Column("vin", Text, nullable=False),
        Column("detector", Text, nullable=False),
        Column("signal", Text, nullable=False),
        Column("started_at", WallTime, nullable=False),
        Column("ended_at", WallTime),
        Column("peak", Float, nullable=False),
        Column("score", Float, nullable=False),
        Column("confidence", Float),
        Column("window_s", Integer, nullable=False),
        Column("approximate", Boolean, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("time_uncertain", Boolean, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("first_tick", BigInteger, nullable=False),
        Column("last_tick", BigInteger, nullable=False),
        UniqueConstraint("outbox", "stream_no", "first_tick", "detector", "signal"),
    )
    op.create_index("anomalies_vin", "anomalies", ["vin", "started_at"])
