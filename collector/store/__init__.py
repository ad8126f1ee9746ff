"""The store: encoded blocks are the truth, everything else is made of them."""

from collector.store.engine import StoreError, StoreUnavailable
from collector.store.reader import Store, open_store
from collector.store.stored import StoredGroup, StoredRun, StreamSpan

__all__ = ["Store", "StoreError", "StoreUnavailable", "StoredGroup", "StoredRun", "StreamSpan", "open_store"]
