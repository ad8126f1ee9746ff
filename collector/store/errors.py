"""What can be wrong with a store."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be used; the message says which, why and what to do."""


class StoreUnavailable(StoreError):
    """The store cannot be used now (locked, full, gone ...). Nothing was changed, as far as anybody can tell: try again."""


class StoreBusy(StoreUnavailable):
    """Somebody else holds it, or its server is not there: that passes by itself, and a start may wait for it."""
