"""The sampler: frames in, records on a grid of ticks out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.records import Records
    from decoder.frames import Frames
    from decoder.plan import Plan

PARK_AFTER_S = 60.0


class Sampler:
    """A tick closes when a frame stamped after it is fed, or when `advance` says that time has passed it.

    So the records are a function of the frames in their order of arrival, however they are cut into feeds: with the
    frames' own clock call `advance(None)`, which only collects; with a running clock call `advance(now_ns)`.
    """

    late_frames: int  # fed after their tick was taken; they count at the next one
    unknown_frames: int  # of no message of the plan, or with an unknown multiplexor value

    def __init__(self, plan: Plan, *, park_after_s: float = PARK_AFTER_S) -> None:
        raise NotImplementedError

    def feed(self, frames: Frames) -> None:
        """Take frames in their order of arrival."""
        raise NotImplementedError

    def advance(self, until_ns: int | None = None) -> list[Records]:
        """Records of the ticks closed so far, and, with `until_ns`, of all ticks <= until_ns; consecutive runs."""
        raise NotImplementedError
