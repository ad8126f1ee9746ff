from __future__ import annotations

from pathlib import Path

import pytest

from collector.store import StoreError, open_store
from collector.store.address import address_of


@pytest.mark.parametrize("text", ["collector.db", "sqlite:///collector.db"])
def test_a_name_without_a_scheme_is_a_file(text):
    assert address_of(text) == address_of(Path("collector.db"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_url_is_a_database_and_is_shown_without_its_password(scheme):
    address = address_of(f"{scheme}://me:secret@db.example:6432/fleet?sslmode=verify-full")
    assert address == address_of(str(address).replace("***", "secret"))
    assert str(address) == "postgresql+psycopg://me:***@db.example:6432/fleet?sslmode=verify-full"


@pytest.mark.parametrize(
    "text", ["mysql://me@host/x", "postgresql://host", "sqlite://", "postgresql://host:port/x", "://"]
)
def test_what_names_no_store_is_an_error_that_says_what_does(text):
    with pytest.raises(StoreError, match="name a file, or postgresql://"):
        open_store(text)
