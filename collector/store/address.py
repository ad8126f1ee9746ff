"""Where a store is: a SQLite file, or a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_POSTGRESQL = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


@dataclass(frozen=True, slots=True)
class Address:
    """One of the two. As text, for messages, it shows no password."""

    path: Path | None = None
    url: URL | None = None

    def __str__(self) -> str:
        return str(self.path) if self.url is None else self.url.render_as_string(hide_password=True)

    @property
    def engine_url(self) -> URL:
        return URL.create("sqlite", database=str(self.path)) if self.url is None else self.url


def address_of(where: Address | Path | str) -> Address:
    """Of a path, or of a URL. Raises ValueError, which says what can be named."""
    if isinstance(where, Address):
        return where
    if isinstance(where, Path) or "://" not in where:
        return Address(path=Path(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        url = None
    if url is not None and url.drivername == "sqlite" and url.database:
        return Address(path=Path(url.database))
    if url is not None and url.drivername in _POSTGRESQL and url.database:
        return Address(url=url.set(drivername="postgresql+psycopg"))
    scheme = where.partition("://")[0]
    raise ValueError(
        f"{scheme}://... names no store; name a file, or postgresql://user@host/database (?sslmode=verify-full)"
    )
