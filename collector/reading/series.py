"""What a question about signals is answered with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.reading.pieces import Piece
    from collector.reading.signals import SignalInfo


@dataclass(frozen=True, slots=True)
class Series:
    """Some signals of a vehicle over a range: what they are, and their records in order.

    `signals` are the columns of `pieces`' values. `uncertain`: [start_ns, end_ns) of streams whose clock was never set.
    `stored`: says, in words, which records there are at all.
    """

    vin: str
    signals: tuple[SignalInfo, ...]
    pieces: Iterator[Piece]
    uncertain: tuple[tuple[int, int], ...]
    stored: Callable[[], str] = str

    def nothing(self) -> str:
        """What to tell whoever asked for a range without a record."""
        return f"{self.vin}: no record of that range is stored; {self.stored()}"
