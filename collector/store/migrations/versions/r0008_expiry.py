"""What is known of blocks that were deleted for their age."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("streams", Column("expired_records", BigInteger))
    op.add_column("streams", Column("expired_tick", BigInteger))
    op.add_column("outboxes", Column("expired_streams", BigInteger, nullable=False, server_default="0"))
