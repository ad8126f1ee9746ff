"""Faults that heartbeats show, and what there is to tell people."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Text, text

from collector.store.types import JsonText, WallTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("faults", Column("page", Text))
    op.add_column("faults", Column("occurrence", BigInteger, nullable=False, server_default="1"))
    is_open = text("ended_at IS NULL")
    op.create_index("faults_open", "faults", ["outbox"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "provisional_faults",
        Column("outbox", Integer, primary_key=True, autoincrement=False),
        Column("code", Text, primary_key=True),
        Column("page", Text, nullable=False),
        Column("vin", Text, nullable=False),
        Column("severity", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("signal", Text, nullable=False),
        Column("evidence", JsonText, nullable=False),
        Column("rule_hash", Text, nullable=False),
        Column("detected_at", WallTime, nullable=False),
        Column("ended_at", WallTime),
        Column("time_uncertain", Boolean, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("tick", BigInteger, nullable=False),
        Column("ended_stream_no", BigInteger),
        Column("ended_tick", BigInteger),
    )
    op.create_table(
        "notices",
        Column("id", Integer, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("page", Text, nullable=False),
        Column("vin", Text, nullable=False),
        Column("code", Text, nullable=False),
        Column("severity", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("provisional", Boolean, nullable=False),
        Column("detected_at", WallTime, nullable=False),
        Column("ended_at", WallTime),
        Column("age_s", Float),
        Column("at", WallTime, nullable=False),
        Column("outbox", Integer, nullable=False),
        Column("stream_no", BigInteger, nullable=False),
        Column("first_tick", BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
