"""What happens to the fleet while it drives: three cuts, and both sides killed once at the worst moment. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Deed(Enum):
    """What is done, and to whom."""

    REFUSE = auto()  # all vehicles: connections reset, new ones refused
    SILENCE = auto()  # all vehicles: connected, and nothing arrives
    RESTORE = auto()
    KILL_AGENT = auto()  # SIGKILL, the first vehicle's
    START_AGENT = auto()
    KILL_COLLECTOR = auto()  # SIGKILL
    START_COLLECTOR = auto()


@dataclass(frozen=True, slots=True)
class Act:
    """One deed, `at_s` seconds of wall time after the drive began."""

    at_s: float
    deed: Deed
    text: str


# Shares of the drive. The agent dies with unsent blocks in its outbox and a block half filled; the collector dies while
# the backlog of the second dead zone pours in.
_ACTS = (
    (0.14, Deed.REFUSE, "dead zone 1: connections reset, new ones refused"),
    (0.24, Deed.RESTORE, "network is back"),
    (0.38, Deed.SILENCE, "dead zone 2: everything looks connected, nothing arrives"),
    (0.44, Deed.KILL_AGENT, "SIGKILL to the agent of {vehicle}"),
    (0.46, Deed.START_AGENT, "agent of {vehicle} starts again, and rejoins its drive where that now is"),
    (0.52, Deed.RESTORE, "network is back: what looked connected is reset"),
    (0.535, Deed.KILL_COLLECTOR, "SIGKILL to the collector, while it takes in the backlog"),
    (0.58, Deed.START_COLLECTOR, "collector starts again"),
    (0.74, Deed.REFUSE, "dead zone 3: connections reset, new ones refused"),
    (0.86, Deed.RESTORE, "network is back"),
)

CUTS = sum(deed in {Deed.REFUSE, Deed.SILENCE} for _, deed, _ in _ACTS)
AGENT_KILLS = sum(deed is Deed.KILL_AGENT for _, deed, _ in _ACTS)


def script(drive_s: float, victim: str) -> tuple[Act, ...]:
    """Acts in order for a drive that takes `drive_s` seconds of wall time; `victim` names the vehicle whose agent dies."""
    return tuple(Act(share * drive_s, deed, text.format(vehicle=victim)) for share, deed, text in _ACTS)
