"""What operators say of faults, how far webhooks are, and what they gave up."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

from collector.store.types import BigId, JsonText, WallTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "acknowledgements",
        Column("outbox", Integer, primary_key=True, autoincrement=False),
        Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
        Column("first_tick", BigInteger, primary_key=True, autoincrement=False),
        Column("code", Text, primary_key=True),
        Column("at", WallTime, nullable=False),
        Column("by", Text, nullable=False),
        Column("mark", Text),
        Column("note", Text, nullable=False),
    )
    op.create_table(
        "webhooks",
        Column("name", Text, primary_key=True),
        Column("standing", JsonText, nullable=False),
        Column("holder", Text, nullable=False),
        Column("held_until_ns", BigInteger, nullable=False),
    )
    op.create_table(
        "dead_letters",
        Column("id", BigId, primary_key=True),
        Column("webhook", Text, nullable=False),
        Column("delivery", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("why", Text, nullable=False),
        Column("at", WallTime, nullable=False),
        sqlite_autoincrement=True,
    )
