"""Frames as arrays: what every bus, log and test hands to the decoder.

Rules
- Time is integer nanoseconds on one clock; whose clock it is, is the caller's affair.
- Order is the order of arrival. Stamps may repeat or run backward: real logs do both.
- Converted once, at the door: python-can's float seconds become integers where a bus is read, nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

EXTENDED = 1 << 31  # in `ids`: this frame has a 29-bit ID
CLASSIC_BYTES = 8
FD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Frames:
    """n frames in order of arrival.

    timestamps_ns int64[n]; buses uint8[n], index of the bus it came from; ids uint32[n], bit 31 set for a 29-bit ID;
    lengths uint8[n], data bytes of the frame; data uint8[n, 8], or uint8[n, 64] where there may be CAN FD: what
    follows a frame's length is of no account. Error and remote frames carry no values and do not belong here.
    """

    timestamps_ns: NDArray[np.int64]
    buses: NDArray[np.uint8]
    ids: NDArray[np.uint32]
    lengths: NDArray[np.uint8]
    data: NDArray[np.uint8]

    def __post_init__(self) -> None:
        count = self.timestamps_ns.shape[0]
        assert self.timestamps_ns.dtype == np.int64, self.timestamps_ns.dtype
        assert self.ids.dtype == np.uint32, self.ids.dtype
        assert self.data.dtype == self.lengths.dtype == self.buses.dtype == np.uint8
        assert self.buses.shape == self.ids.shape == self.lengths.shape == (count,)
        assert self.data.shape[0] == count, self.data.shape
        assert self.data.shape[1:] in ((CLASSIC_BYTES,), (FD_BYTES,)), self.data.shape
        assert count == 0 or int(self.lengths.max()) <= self.data.shape[1]  # kernels trust this
        for name in ("timestamps_ns", "buses", "ids", "lengths"):  # and take no array with gaps
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))

    def __len__(self) -> int:
        return int(self.timestamps_ns.shape[0])

    @classmethod
    def empty(cls) -> Frames:
        return cls.from_rows(())

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[int, int, int, bytes]]) -> Frames:
        """Frames of (timestamp_ns, bus, id, data) each; at most 64 bytes of data count."""
        listed = list(rows)
        payloads = [bytes(row[3][:FD_BYTES]) for row in listed]
        width = FD_BYTES if any(len(payload) > CLASSIC_BYTES for payload in payloads) else CLASSIC_BYTES
        # Writable, as what is put together of parts is: kernels would be compiled once more for what is not.
        joined = bytearray().join(payload.ljust(width, b"\0") for payload in payloads)
        return cls(
            np.array([row[0] for row in listed], np.int64),
            np.array([row[1] for row in listed], np.uint8),
            np.array([row[2] for row in listed], np.uint32),
            np.array([len(payload) for payload in payloads], np.uint8),
            np.frombuffer(joined, np.uint8).reshape(len(listed), width),
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Frames]) -> Frames:
        """One after the other; 64 bytes wide if any part is."""
        listed = list(parts)
        if not listed:
            return cls.empty()
        width = max(part.data.shape[1] for part in listed)
        return cls(
            np.concatenate([part.timestamps_ns for part in listed]),
            np.concatenate([part.buses for part in listed]),
            np.concatenate([part.ids for part in listed]),
            np.concatenate([part.lengths for part in listed]),
            np.concatenate([_widened(part.data, width) for part in listed]),
        )

    def take(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Frames:
        """The frames at `index`; a slice gives views."""
        return Frames(
            self.timestamps_ns[index],
            self.buses[index],
            self.ids[index],
            self.lengths[index],
            self.data[index],
        )

    def sorted_by_time(self) -> Frames:
        """By timestamp; frames with equal stamps keep their order."""
        if bool(np.all(self.timestamps_ns[:-1] <= self.timestamps_ns[1:])):
            return self
        return self.take(np.argsort(self.timestamps_ns, kind="stable"))

    def words(self) -> NDArray[np.uint64]:
        """The data as little-endian words uint64[n, 1 or 8], which is what kernels read."""
        return np.ascontiguousarray(self.data).view("<u8")


def _widened(data: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    if data.shape[1] == width:
        return data
    wide = np.zeros((len(data), width), np.uint8)
    wide[:, : data.shape[1]] = data
    return wide
