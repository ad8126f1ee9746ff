"""What time it was: which wall-clock offsets the streams of a boot get, and when they change. Pure.

Rules
- All streams of one boot count on one clock, so they share one offset: the first that was synchronised. Until then each
  has the one that it began with, and its times are uncertain.
- A boot that never got its time ended before the next one was switched on, and is put right there: where it ends is where
  the next one's clock began. Its times stay uncertain.
- Ticks order everything, always. What changes here is what people read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codec.stream import Clock

OFFSET_NS_MAX = 1 << 62  # two centuries: a clock beyond has gone mad, and a store's integers end there


@dataclass(frozen=True, slots=True)
class Label:
    """A stream's place in time: wall_ns = tick * period_ns + offset_ns."""

    stream_no: int
    boot_id: bytes
    period_ns: int  # 0: its schema is damaged
    end_tick: int | None  # after its last record; None: it has none
    offset_ns: int
    synchronised: bool


def relabelled(labels: Sequence[Label], stream_no: int, offset_ns: int | None) -> list[Label]:
    """The labels that change now that stream `stream_no` says this synchronised offset (None: its clock is not set).

    `labels` are in the order of streams, up to that one, and from after the last stream of another boot whose time is known.
    """
    boot_id = next(label.boot_id for label in labels if label.stream_no == stream_no)
    mine = [label for label in labels if label.boot_id == boot_id]
    known = next((label.offset_ns for label in mine if label.synchronised), offset_ns)
    if known is None:
        return []
    known = _within(known)
    changed = [replace(label, offset_ns=known, synchronised=True) for label in mine if not label.synchronised]
    earlier = [label for label in labels if label.stream_no < mine[0].stream_no]
    for _, of_boot in groupby(reversed(earlier), key=lambda label: label.boot_id):
        boot = list(of_boot)
        if not all(label.period_ns for label in boot):
            break  # nobody knows how long it lasted
        ends = [label.end_tick * label.period_ns for label in boot if label.end_tick is not None]
        known = _within(known - max(ends, default=0))
        changed += [replace(label, offset_ns=known) for label in boot if label.offset_ns != known]
    return changed


def corrected(labels: Sequence[Label], stream_no: int, wrong_ns: int, right: Clock) -> list[Label]:
    """The labels that change now that the keyframe of stream `stream_no` that said `wrong_ns` turns out to say something else.

    None does where the boot has its time from elsewhere.
    """
    here = next(label for label in labels if label.stream_no == stream_no)
    if not here.synchronised or here.offset_ns != _within(wrong_ns):
        return []
    offset_ns = _within(right.offset_ns)
    reset = [
        replace(label, offset_ns=offset_ns, synchronised=False) if label.boot_id == here.boot_id else label
        for label in labels
    ]
    if not right.synchronised:  # one of those after it may be
        return [label for label in reset if label.boot_id == here.boot_id]
    return relabelled(reset, stream_no, offset_ns)


def _within(offset_ns: int) -> int:
    return max(-OFFSET_NS_MAX, min(offset_ns, OFFSET_NS_MAX))
