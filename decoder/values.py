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
        frame, signal, value = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.float64)
        count = kernels.decode_frames(
            paths,
            frames.lengths,
            frames.words(),
            t.nodes,
            t.rows,
            t.scales,
            t.limits,
            t.bounds,
            t.codes,
            self._mask,
            frame,
            signal,
            value,
        )
        values = Values(frame[:count], signal[:count], value[:count], self.names)
        return self._with_others(frames, matched, values) if self._others else values

    def _column(self, entry: tables.BusMessage, signal: Signal) -> int:
        return -1 if tables.inexpressible(signal) else self._columns[id(entry.message), signal.name]

    def _with_others(self, frames: Frames, matched: NDArray[np.int32], values: Values) -> Values:
        """The same with the values that only cantools can decode."""
        frame, signal, value = [values.frame], [values.signal], [values.value]
        for i in np.flatnonzero(np.isin(matched, list(self._others))):
            message = self._messages[matched[i]].message
            payload = frames.data[i, : frames.lengths[i]].tobytes()
            for other in self._others[matched[i]]:
                decoded = _by_cantools(other, payload)
                frame.append(np.full(len(decoded), i, np.int32))
                signal.append(np.array([self._columns[id(message), name] for name in decoded], np.int32))
                value.append(np.array(list(decoded.values()), np.float64))
        joined = np.concatenate(frame)
        order = np.argsort(joined, kind="stable")
        return Values(
            joined[order], np.concatenate(signal)[order], np.concatenate(value)[order], values.names
        )


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


def _by_cantools(other: _Other, data: bytes) -> dict[str, float]:
    """Values by signal name; none if the frame cannot be decoded."""
    try:
        decoded = other.message.decode_simple(data, decode_choices=False, allow_truncated=True)
        return {name: float(value) for name, value in decoded.items() if name in other.signals}  # type: ignore[arg-type]
    except (cantools_errors.Error, ValueError, OverflowError):
        return {}
