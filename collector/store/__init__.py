"""The store: encoded blocks are the truth, everything else is made of them."""

from collector.store.address import Address, address_of
from collector.store.errors import StoreBusy, StoreError, StoreUnavailable
from collector.store.reader import Store, open_store
from collector.store.stored import StoredGroup, StoredRun, StreamSpan

__all__ = [
    "Address",
    "Store",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "StoredGroup",
    "StoredRun",
    "StreamSpan",
    "address_of",
    "open_store",
]
