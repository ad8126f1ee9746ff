"""What the event loop asks of capture, and what capture answers. Each is carried out in order, in capture's thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.events import AskKeyframe, BecomeFork, Mend, SetGuards, SetWanted

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


Command = SetWanted | SetGuards | Mend | AskKeyframe | BecomeFork | SetMode | AskSnapshot | ReplaceFile


@dataclass(frozen=True, slots=True)
class Snapped:
    """The latest record; None: there is none yet."""

    snapshot: Snapshot | None
