"""How Alembic runs the revisions: on the connection that it is given, or as text."""

from __future__ import annotations

from alembic import context


def run() -> None:
    attributes = context.config.attributes
    if context.is_offline_mode():
        context.configure(dialect_name=attributes["dialect"], literal_binds=True)
    else:
        context.configure(connection=attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


run()
