"""What is in a log: duration, identifiers, rates, bus load, what decodes, what is odd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from decoder.frames import EXTENDED
from decoder.values import BulkDecoder
from replay_logs.recording import Recording, assign_dbcs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from decoder.dbc import Dbc

_SILENCE_NS = 2_000_000_000  # nothing at all on a bus for longer than this is worth a line
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier on one channel. `period_ms` is the median distance of its frames."""

    channel: str
    frame_id: int
    extended: bool
    message: str  # as the DBC calls it; empty: unknown
    count: int
    rate_hz: float
    period_ms: float
    lengths: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """`load` is the share of the bus's time, per channel; `decoded` the share of frames, None without a DBC."""

    frames: int
    start_ns: int
    duration_s: float
    identifiers: tuple[Identifier, ...]
    load: tuple[tuple[str, float], ...]
    decoded: float | None
    signals: int
    oddities: tuple[str, ...]


def frame_bits(ids: NDArray[np.uint32], lengths: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bits of classic CAN data frames with the pause after them, int64[n].

    Stuff bits depend on the content; a tenth of what can be stuffed is what real payloads show.
    """
    data = 8 * lengths.astype(np.int64)
    extended = (ids & np.uint32(EXTENDED)) != 0
    stuffed = np.where(extended, 54, 34) + data  # start of frame up to the checksum
    return np.where(extended, 67, 47) + data + stuffed // 10


def summarise(recording: Recording, bitrate: int, dbcs: Sequence[Dbc] = ()) -> Summary:
    frames = recording.frames
    if len(frames) == 0:
        return Summary(0, 0, 0.0, (), (), None, 0, (*_counts(recording), "no data frame"))
    stamps = frames.timestamps_ns
    duration_s = float(stamps.max() - stamps.min()) / _NS
    bits = frame_bits(frames.ids, frames.lengths)
    spans = [(name, frames.buses == index) for index, name in enumerate(recording.channels)]
    load = tuple(
        (name, float(bits[mine].sum()) / bitrate / duration_s if duration_s else 0.0) for name, mine in spans
    )
    decoded, signals, names = _decoded(recording, dbcs)
    return Summary(
        frames=len(frames),
        start_ns=int(stamps.min()),
        duration_s=duration_s,
        identifiers=_identifiers(recording, names, duration_s),
        load=load,
        decoded=decoded,
        signals=signals,
        oddities=_counts(recording) + _stamps(recording),
    )


def _decoded(
    recording: Recording, dbcs: Sequence[Dbc]
) -> tuple[float | None, int, dict[tuple[int, int], str]]:
    """Share of frames that give a value, number of signals seen, message names by (bus, id)."""
    if not dbcs:
        return None, 0, {}
    buses = assign_dbcs(recording, dbcs)
    values = BulkDecoder(buses).decode_values(recording.frames)
    known = np.unique(values.frame)
    names: dict[tuple[int, int], str] = {}
    for index, bus in enumerate(buses):
        for dbc in bus.dbcs:
            for message in dbc.messages:
                key = message.frame_id | (EXTENDED if message.is_extended_frame else 0)
                names.setdefault((index, key), message.name)
    return len(known) / len(recording.frames), len(np.unique(values.signal)), names


def _identifiers(
    recording: Recording, names: dict[tuple[int, int], str], duration_s: float
) -> tuple[Identifier, ...]:
    frames = recording.frames
    key = frames.buses.astype(np.int64) << 32 | frames.ids
    order = np.argsort(key, kind="stable")
    keys, starts = np.unique(key[order], return_index=True)
    groups = np.split(order, starts[1:])
    found = []
    for value, group in zip(keys.tolist(), groups, strict=True):
        gaps = np.diff(frames.timestamps_ns[group])
        lengths = frames.lengths[group]
        bus, identifier = value >> 32, value & 0xFFFFFFFF
        found.append(
            Identifier(
                channel=recording.channels[bus],
                frame_id=identifier & ~EXTENDED,
                extended=bool(identifier & EXTENDED),
                message=names.get((bus, identifier), ""),
                count=len(group),
                rate_hz=len(group) / duration_s if duration_s else 0.0,
                period_ms=float(np.median(gaps)) / 1e6 if len(gaps) else 0.0,
                lengths=(int(lengths.min()), int(lengths.max())),
            )
        )
    return tuple(found)


def _counts(recording: Recording) -> tuple[str, ...]:
    counts = ((recording.error_frames, "error"), (recording.remote_frames, "remote"))
    lines = tuple(f"{count} {kind} frame{'s' if count > 1 else ''}" for count, kind in counts if count)
    return recording.left_out + lines


def _stamps(recording: Recording) -> tuple[str, ...]:
    stamps = recording.frames.timestamps_ns
    steps = np.diff(stamps)
    backward, equal = int((steps < 0).sum()), int((steps == 0).sum())
    silences = steps[steps > _SILENCE_NS]
    lines = []
    if stamps[0] < 0 or stamps.min() < 0:
        lines.append(f"{int((stamps < 0).sum())} stamps before 1970 (negative)")
    if backward:
        lines.append(f"{backward} stamps run backward, by up to {-int(steps.min()) / _NS:.6f} s")
    if equal:
        lines.append(f"{equal} frames have the stamp of the frame before them")
    if len(silences):
        lines.append(
            f"{len(silences)} silences of more than 2 s, the longest {float(silences.max()) / _NS:.1f} s"
        )
    if recording.frames.data.shape[1] > 8:
        lines.append(f"{int((recording.frames.lengths > 8).sum())} frames of CAN FD with more than 8 bytes")
    return tuple(lines)
