"""Libraries that not everybody needs."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """What to type for one of the extras of pyproject.toml; each has its lock file."""
    return f"pip install --require-hashes -r requirements/{extra}.lock, where the sources are"
