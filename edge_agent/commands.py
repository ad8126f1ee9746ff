"""What the event loop asks of capture, and what capture answers. Each is carried out in order, in capture's thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.events import AskKeyframe, BecomeFork, Mend, SetGuards, SetPrior, SetSpent, SetWanted

if TYPE_CHECKING:
    from edge_agent.pipeline import Mode, Snapshot


@dataclass(frozen=True, slots=True)
class SetMode:
    mode: Mode


@dataclass(frozen=True, slots=True)
class AskSnapshot:
    """Answered with Snapped."""


@dataclass(frozen=True, slots=True)
class ReplaceFile:
    """Somebody read something in the outbox that no database holds."""

    text: str


@dataclass(frozen=True, slots=True)
class ToOutbox:
    """For this outbox alone: where another has taken its place meanwhile, positions mean something else."""

    outbox_id: bytes
    command: SetWanted | Mend | BecomeFork | ReplaceFile


Command = SetGuards | SetPrior | SetSpent | AskKeyframe | SetMode | AskSnapshot | ToOutbox


@dataclass(frozen=True, slots=True)
class Snapped:
    """The latest record; None: there is none yet."""

    snapshot: Snapshot | None
