"""The store: encoded blocks are the truth, everything else is made of them."""

from collector.store.engine import StoreError, StoreUnavailable
from collector.store.reader import Store, StoredGroup, StoredRun, open_store

__all__ = ["Store", "StoreError", "StoreUnavailable", "StoredGroup", "StoredRun", "open_store"]
