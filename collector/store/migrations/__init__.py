"""Alembic's folder: `env` says how revisions are run, `versions` holds them."""
