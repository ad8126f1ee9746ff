"""Schema changes: every revision in migrations/versions, in order, on either dialect. docs/store.md says how to add one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLDER = Path(__file__).with_name("migrations")


def _configuration(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output is not None else Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def revision(version: int) -> str:
    """Alembic's name of a version."""
    return f"{version:04d}"


def upgrade(connection: Connection, version: int) -> None:
    """To the newest, from `version` (0: nothing there), in the transaction that the connection is in."""
    config = _configuration()
    config.attributes["connection"] = connection
    if version:  # a file made before there were revisions knows its version, but not Alembic's table
        command.stamp(config, revision(version))
    command.upgrade(config, "head")


def statements(dialect: str) -> str:
    """The SQL that makes an empty database a store. `dialect`: sqlite or postgresql."""
    output = io.StringIO()
    config = _configuration(output)
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return output.getvalue()
