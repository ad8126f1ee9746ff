"""Where the fleet reports: takes in what vehicles send, exactly once, and judges it.

conversation, wire           one agent's connection, without I/O: messages in, actions out
ingest, progress, outbox     what counts, what is a duplicate, what is missing
active, rows, materialise    blocks to records, records to rows
rules/                       conditions, evaluated over whole blocks
store/                       tables, one writer, readers that give back the full rate
writer, gateway, app         the shell: one transaction at a time, gRPC, signals
reading/                     one vehicle's signals over a time range, for notebooks, files and pages
export/                      ranges as files that other tools read
query, tail, sentinel, importer  the command line

In a notebook: `from collector import open_store`, then `open_store("collector.db").vehicle(vin).frame(["speed"], start, end)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collector.store import open_store

__all__ = ["open_store"]


def __getattr__(name: str) -> Any:
    """`open_store`, once it is asked for: `collector --help` loads no database."""
    if name != "open_store":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from collector.store import open_store

    return open_store
