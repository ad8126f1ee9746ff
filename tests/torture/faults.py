"""What will go wrong, when and to whom: drawn from a seed. Pure.

Each target has a driver for its process, one for its road and one for its disk; a driver does one thing after the other.
Damage stands among what is done to a process, since its files are damaged while it is dead.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from dataclasses import dataclass
from enum import Enum

COLLECTOR = "collector"
FIRST_S = 1.0  # everybody has begun by then
NETWORK_S = (0.05, 1.5)  # how long a road is bad
DISK_S = (0.05, 1.0)
FLAPS = (3, 8)


class Kind(Enum):
    """The words that the report counts."""

    KILL_AGENT = "SIGKILL of an agent"
    KILL_COLLECTOR = "SIGKILL of the collector"
    CUT = "network cut: connections reset, new ones refused"
    STALL = "network stalled: bytes wait, and then arrive"
    HALF_OPEN = "network half open: bytes vanish, nobody is told"
    FLAP = "network flapping"
    OUTBOX_FULL = "ENOSPC under an outbox"
    OUTBOX_IO = "EIO under an outbox"
    STORE_FULL = "ENOSPC under the store"
    STORE_IO = "EIO under the store"
    OUTBOX_CUT = "outbox file truncated"
    OUTBOX_FLIP = "outbox file with flipped bits"
    OUTBOX_LOG = "outbox's write-ahead log truncated or flipped"
    STORE_CUT = "store file truncated"
    STORE_FLIP = "store file with flipped bits"


# For each thousand kills. Network faults, a fifth of them and more real cuts, are what the issue asks for most of.
PER_THOUSAND = {
    Kind.KILL_AGENT: 750,
    Kind.KILL_COLLECTOR: 250,
    Kind.CUT: 200,
    Kind.STALL: 60,
    Kind.HALF_OPEN: 60,
    Kind.FLAP: 30,
    Kind.OUTBOX_FULL: 60,
    Kind.OUTBOX_IO: 60,
    Kind.STORE_FULL: 40,
    Kind.STORE_IO: 40,
    Kind.OUTBOX_CUT: 40,
    Kind.OUTBOX_FLIP: 60,
    Kind.OUTBOX_LOG: 30,
    Kind.STORE_CUT: 10,
    Kind.STORE_FLIP: 20,
}
PROCESS = {
    Kind.KILL_AGENT, Kind.KILL_COLLECTOR, Kind.OUTBOX_CUT, Kind.OUTBOX_FLIP, Kind.OUTBOX_LOG, Kind.STORE_CUT,
    Kind.STORE_FLIP,
}  # fmt: skip
ROAD = {Kind.CUT, Kind.STALL, Kind.HALF_OPEN, Kind.FLAP}
DISK = {Kind.OUTBOX_FULL, Kind.OUTBOX_IO, Kind.STORE_FULL, Kind.STORE_IO}
OF_COLLECTOR = {Kind.KILL_COLLECTOR, Kind.STORE_FULL, Kind.STORE_IO, Kind.STORE_CUT, Kind.STORE_FLIP}
ERRNO = {
    Kind.OUTBOX_FULL: errno.ENOSPC,
    Kind.STORE_FULL: errno.ENOSPC,
    Kind.OUTBOX_IO: errno.EIO,
    Kind.STORE_IO: errno.EIO,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`seed` draws what is left to draw: how many bits, where, how long a pause."""

    at_s: float
    kind: Kind
    target: str
    for_s: float
    seed: int


def plan(seed: int, kills: int, wall_s: float, vehicles: tuple[str, ...]) -> list[Fault]:
    """In the order of time. As many of each kind as PER_THOUSAND says, and at least one."""
    rng = random.Random(seed)
    faults = []
    for kind, share in PER_THOUSAND.items():
        for _ in range(max(1, round(kills * share / 1000))):
            target = COLLECTOR if kind in OF_COLLECTOR else rng.choice(vehicles)
            for_s = rng.uniform(*(DISK_S if kind in DISK else NETWORK_S))
            faults.append(Fault(rng.uniform(FIRST_S, wall_s), kind, target, for_s, rng.getrandbits(32)))
    return sorted(faults, key=lambda fault: fault.at_s)


def of(faults: list[Fault], target: str, kinds: set[Kind]) -> list[Fault]:
    """Those of one driver."""
    return [fault for fault in faults if fault.target == target and fault.kind in kinds]


def counted(done: Counter[Kind]) -> list[str]:
    """A line for each kind."""
    return [f"{done[kind]:7,}  {kind.value}" for kind in Kind]
