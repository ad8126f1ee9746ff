"""Where a diagnosis was last seen, while it stands."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from collector.store.types import WallTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("diagnoses", Column("last_seen_at", WallTime))
