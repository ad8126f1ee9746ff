"""`collector faults`."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from collector.commands.options import add_store, told

if TYPE_CHECKING:
    import argparse

    from collector.commands.options import Commands

MARKS = ("true", "false_alarm")
NOTE_CHARACTERS_MAX = 2000


def add(commands: Commands) -> None:
    faults = commands.add_parser("faults", help="acknowledge faults", description=run.__doc__)
    actions = faults.add_subparsers(required=True, metavar="action")
    ack = actions.add_parser("ack", help="say that it was seen, and what it was", description=run.__doc__)
    ack.add_argument("id", type=int, help="of the fault, as `collector query faults` shows it")
    ack.add_argument("--mark", choices=MARKS, help="whether there was something; default: not judged yet")
    ack.add_argument("--note", default="", help="for whoever comes next")
    ack.add_argument("--by", default="", metavar="NAME", help="default: who is logged in")
    add_store(ack)
    ack.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Acknowledges a fault: who saw it, whether it was true or a false alarm, and a note. Said again, it replaces what was said."""
    import time

    from collector import times
    from collector.reading.signals import QueryError
    from collector.store import StoreError
    from collector.store.acknowledgements import acknowledge

    def ack() -> None:
        if len(options.note) > NOTE_CHARACTERS_MAX:
            raise QueryError(f"--note: {len(options.note)} characters; at most {NOTE_CHARACTERS_MAX}")
        said = {
            "at": times.to_text(time.time_ns()),
            "by": options.by or getpass.getuser(),
            "mark": options.mark,
            "note": options.note,
        }
        fault = acknowledge(options.store, options.id, said)
        if fault is None:
            raise QueryError(f"there is no fault {options.id}; `collector query faults` shows their ids")
        print(
            f"fault {options.id}, {fault['code']} of {fault['vin']} at {fault['detected_at']}: acknowledged by {said['by']}"
        )

    return told(ack, StoreError, QueryError)
