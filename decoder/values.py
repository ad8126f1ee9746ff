"""Bulk decoding: every value of every frame, as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from cantools.database import errors as cantools_errors
from cantools.database.can import Message

from decoder import kernels, tables
from decoder.signals import bus_messages, bus_signals, not_available

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cantools.database.can import Signal
    from numpy.typing import NDArray

    from decoder.frames import Frames
    from decoder.signals import Bus


@dataclass(frozen=True, slots=True)
class Values:
    """n values in the order of their frames: frame int32[n], signal int32[n] (index into `names`), value float64[n]."""

    frame: NDArray[np.int32]
    signal: NDArray[np.int32]
    value: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.value)


class BulkDecoder:
    """Tables of all signals of some buses, under the names that `default_choices` gives them.

    `warnings` has a line for each clash of IDs, and for what is left to cantools, which is slow.
    With `mask_unavailable`, codes that mean "not available" become NaN; else values are cantools' to the last bit.
    """

    names: tuple[str, ...]
    warnings: tuple[str, ...]

    def __init__(self, buses: Sequence[Bus], *, mask_unavailable: bool = False) -> None:
        messages, warnings = bus_messages(buses)
        signals = bus_signals(buses, messages)
        self.names = tuple(entry.name for entry in signals)
        self._columns = {(id(entry.owner.message), entry.signal.name): i for i, entry in enumerate(signals)}
        self._mask = mask_unavailable
        self._others = {index: found for index, entry in enumerate(messages) if (found := _others(entry))}
        self._has_others = np.zeros(len(messages) + 1, np.bool_)  # by message; the last is none's, -1
        self._has_others[list(self._others)] = True
        for index, others in self._others.items():
            source, name = messages[index].source, messages[index].message.name
            warnings += [
                f"{source}: message {name}: {other.reason}; left to cantools, which is slow"
                for other in others
            ]
        self.warnings = tuple(warnings)
        limits = {
            i: not_available(entry.signal, j1939=entry.owner.message.protocol == "j1939")
            for i, entry in enumerate(signals)
        }
        self._tables = tables.compile_tables(messages, self._column, len(signals), limits)
        self._messages = messages

    def decode_values(self, frames: Frames) -> Values:
        """All values of all frames that the DBCs know, in the order of the frames."""
        t = self._tables
        matched, paths, most = kernels.match(frames, t)
        others = self._by_cantools(frames, matched) if self._others else []
        room = most + sum(len(signals) for _, signals, _ in others)
        frame, signal, value = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float64)
        words = frames.words()  # a copy, where frames are views of others
        first = count = 0
        for end, signals, values in [*others, (len(frames), [], [])]:
            count = kernels.decode_frames(
                first,
                end,
                paths,
                frames.lengths,
                words,
                t.nodes,
                t.rows,
                t.scales,
                t.wholes,
                t.limits,
                t.bounds,
                t.codes,
                self._mask,
                count,
                frame,
                signal,
                value,
            )
            own = slice(count, count + len(signals))
            frame[own], signal[own], value[own] = end - 1, signals, values
            first, count = end, own.stop
        return Values(frame[:count], signal[:count], value[:count], self.names)

    def _column(self, entry: tables.BusMessage, signal: Signal) -> int:
        return -1 if tables.inexpressible(signal) else self._columns[id(entry.message), signal.name]

    def _by_cantools(
        self, frames: Frames, matched: NDArray[np.int32]
    ) -> list[tuple[int, list[int], list[float]]]:
        """What only cantools can decode: (1 + its frame, signals, values), in the order of the frames."""
        found = []
        for i in np.flatnonzero(self._has_others[matched]).tolist():
            message = self._messages[matched[i]].message
            payload = frames.data[i, : frames.lengths[i]].tobytes()
            decoded = [pair for other in self._others[matched[i]] for pair in _by_cantools(other, payload)]
            signals = [self._columns[id(message), name] for name, _ in decoded]
            found.append((i + 1, signals, [value for _, value in decoded]))
        return found


@dataclass(frozen=True, slots=True)
class _Other:
    """What cantools decodes: some signals of a message, and why tables do not."""

    message: Message
    signals: frozenset[str]
    reason: str


def _others(entry: tables.BusMessage) -> list[_Other]:
    """A single signal in a message of its own, where it can be: cantools decodes nothing where signals overlap."""
    message = entry.message
    reason = tables.opaque(message)
    if reason:
        return [_Other(message, frozenset(signal.name for signal in message.signals), reason)]
    others = []
    for signal in message.signals:
        reason = tables.inexpressible(signal)
        if reason:
            alone = Message(1, message.name, message.length, [signal], strict=False)
            holder = message if signal.multiplexer_signal else alone
            others.append(_Other(holder, frozenset([signal.name]), f"{signal.name} {reason}"))
    return others


def _by_cantools(other: _Other, data: bytes) -> list[tuple[str, float]]:
    """Signal names and values; none if the frame cannot be decoded."""
    try:
        decoded = other.message.decode_simple(data, decode_choices=False, allow_truncated=True)
        return [(name, float(value)) for name, value in decoded.items() if name in other.signals]  # type: ignore[arg-type]
    except (cantools_errors.Error, ValueError, OverflowError):
        return []
