"""Records in the order of time, as values: streams merged, thinned out, and their holes shown. Pure.

Rules
- A record stands at its own wall time. Nothing is interpolated, moved or averaged.
- Streams are merged by wall time, not by arrival: what came late stands in its place. Two records of one time (a clone that drives
  on, a clock that was set wrong) are both there.
- A hole is where a tick has no record. Its first and its last missing tick always get a row of NaN, so that a line breaks and nobody
  takes two sides of a hole for neighbours; all ticks between get one where the hole is short enough (`fill_ns`): a row for each tick of
  a night in a garage would be two million rows of nothing.
- No more is held than overlaps.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

HOLE_VALUES_MAX = 1 << 18  # in one piece, 2 MB: a long hole comes in several


@dataclass(frozen=True, slots=True)
class Piece:
    """Records one after the other: times_ns int64[n], rising; values float64[n, k], NaN where not available.

    `step_ns`: from one to the next where nothing is missing. On `slots`, a record is the first of its slot of that length, and may
    stand anywhere in it.
    """

    times_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    step_ns: int
    slots: bool = False

    def __len__(self) -> int:
        return len(self.times_ns)

    def column(self, k: int) -> NDArray[np.float64]:
        """Values of one signal: float64[n]."""
        return self.values[:, k]

    def slice(self, start: int, stop: int) -> Piece:
        return replace(self, times_ns=self.times_ns[start:stop], values=self.values[start:stop])


def merged(streams: Sequence[tuple[int, Callable[[], Iterator[Piece]]]]) -> Iterator[Piece]:
    """The records of all streams by time. Each is (a time that it does not begin before, what opens it).

    A stream is opened when its time has come. Of records of one time, those of the stream that is named first come first.
    """
    due = [(start_ns, number) for number, (start_ns, _) in enumerate(streams)]
    heapq.heapify(due)
    opened: dict[int, tuple[Piece, Iterator[Piece]]] = {}
    held: list[tuple[int, Piece]] = []
    while due:
        _, number = heapq.heappop(due)
        if number in opened:
            piece, rest = opened.pop(number)
            held.append((number, piece))
        else:
            rest = streams[number][1]()
        following = next((piece for piece in rest if len(piece)), None)
        if following is not None:
            opened[number] = (following, rest)
            heapq.heappush(due, (int(following.times_ns[0]), number))
        if held:
            ready, held = _before(held, due[0][0] if due else None)
            if ready is not None:
                yield ready


def _before(
    held: list[tuple[int, Piece]], until_ns: int | None
) -> tuple[Piece | None, list[tuple[int, Piece]]]:
    """What is earlier, as one piece in order, and what is not."""
    ready: list[tuple[int, Piece]] = []
    rest: list[tuple[int, Piece]] = []
    for number, piece in held:
        cut = len(piece) if until_ns is None else int(np.searchsorted(piece.times_ns, until_ns))
        if cut:
            ready.append((number, piece.slice(0, cut)))
        if cut < len(piece):
            rest.append((number, piece.slice(cut, len(piece))))
    if len(ready) < 2:
        return (ready[0][1] if ready else None), rest
    parts = [piece for _, piece in sorted(ready, key=lambda one: one[0])]
    whole = _joined(parts)
    order = np.argsort(whole.times_ns, kind="stable")
    step_ns = max(part.step_ns for part in parts)
    return Piece(whole.times_ns[order], whole.values[order], step_ns), rest


def thinned(pieces: Iterable[Piece], step_ns: int) -> Iterator[Piece]:
    """Of each slot of so many nanoseconds (of Unix time) the first record. Streams that are no faster stay as they are."""
    last = None
    for piece in pieces:
        if piece.step_ns >= step_ns:
            last = None
            yield piece
            continue
        slots = piece.times_ns // step_ns
        keep = np.empty(len(piece), bool)
        keep[0] = slots[0] != last
        keep[1:] = slots[1:] != slots[:-1]
        last = int(slots[-1])
        if keep.any():
            yield Piece(piece.times_ns[keep], piece.values[keep], step_ns, slots=True)


def with_holes(pieces: Iterable[Piece], fill_ns: int) -> Iterator[Piece]:
    """The same records, and rows of NaN in the holes between them: for every tick of holes up to `fill_ns`, of longer ones for
    the first and the last.
    """
    before: Piece | None = None
    for piece in pieces:
        if before is not None:
            yield from _hole(before, len(before) - 1, piece, 0, fill_ns)
        start = 0
        for index in _jumps(piece):
            yield piece.slice(start, index + 1)
            yield from _hole(piece, index, piece, index + 1, fill_ns)
            start = index + 1
        yield piece.slice(start, len(piece)) if start else piece
        before = piece


def batched(pieces: Iterable[Piece], rows: int) -> Iterator[Piece]:
    """The same records in pieces of at least so many, but for the last. Their steps are not kept apart."""
    held: list[Piece] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= rows:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(parts: Sequence[Piece]) -> Piece:
    times_ns = np.concatenate([part.times_ns for part in parts])
    return replace(parts[0], times_ns=times_ns, values=np.concatenate([part.values for part in parts]))


def _jumps(piece: Piece) -> list[int]:
    """Indices after which something is missing."""
    if piece.slots:
        steps = np.diff(piece.times_ns // piece.step_ns) > 1
    else:
        steps = np.diff(piece.times_ns) > piece.step_ns
    return [int(index) for index in np.flatnonzero(steps)]


def _hole(one: Piece, i: int, other: Piece, j: int, fill_ns: int) -> Iterator[Piece]:
    """Rows of NaN between record i of one piece and record j of another, or of the same."""
    start_ns, end_ns = int(one.times_ns[i]), int(other.times_ns[j])
    step_ns = max(one.step_ns, other.step_ns)
    if one.slots and other.slots:
        first, last = (start_ns // step_ns + 1) * step_ns, (end_ns // step_ns - 1) * step_ns
        if first > last:
            return
    else:
        if end_ns - start_ns <= step_ns:
            return
        first, last = start_ns + one.step_ns, max(start_ns + one.step_ns, end_ns - other.step_ns)
    width = one.values.shape[1]
    if last - first + step_ns <= fill_ns:
        stride = max(1, HOLE_VALUES_MAX // max(1, width)) * one.step_ns
        for at in range(first, last + 1, stride):
            yield _nothing(np.arange(at, min(last + 1, at + stride), one.step_ns), width, one)
    else:
        yield _nothing(np.unique([first, last]), width, one)


def _nothing(times_ns: NDArray[np.int64], width: int, like: Piece) -> Piece:
    return Piece(times_ns, np.full((len(times_ns), width), np.nan), like.step_ns, like.slots)
