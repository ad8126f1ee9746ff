"""A whole log as arrays, for looking at it and decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from decoder.frames import EXTENDED, Frames
from decoder.signals import Bus
from decoder.values import BulkDecoder
from replay_logs.read import LogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoder.dbc import Dbc
    from replay_logs.read import Log

_ROWS = 50_000  # frames turned into arrays at a time
_CHANNELS_MAX = 256  # Frames.buses is a byte


@dataclass(frozen=True, slots=True)
class Recording:
    """All data frames of a log in its order; `frames.buses` are indices into `channels`."""

    frames: Frames
    channels: tuple[str, ...]
    error_frames: int
    remote_frames: int
    left_out: tuple[str, ...]  # lines for the reader


def load_recording(log: Log, channel: str | None = None) -> Recording:
    """Read the log, or only one of its channels. Raises LogError: too many channels."""
    parts: list[Frames] = []
    rows: list[tuple[int, int, int, bytes]] = []
    buses: dict[str, int] = {}
    error_frames = remote_frames = 0
    for message in log:
        name = str(message.channel if message.channel is not None else 0)
        if channel is not None and name != channel:
            continue
        if message.is_error_frame:
            error_frames += 1
            continue
        if message.is_remote_frame:
            remote_frames += 1
            continue
        bus = buses.setdefault(name, len(buses))
        if bus >= _CHANNELS_MAX:
            raise LogError(f"{log.path}: more than {_CHANNELS_MAX} channels; give a log of one vehicle")
        # Microseconds: a float of Unix seconds holds no more.
        stamp_ns = round(message.timestamp * 1e6) * 1000
        rows.append(
            (stamp_ns, bus, message.arbitration_id | message.is_extended_id * EXTENDED, bytes(message.data))
        )
        if len(rows) == _ROWS:
            parts.append(Frames.from_rows(rows))
            rows = []
    parts.append(Frames.from_rows(rows))
    return Recording(Frames.concatenate(parts), tuple(buses), error_frames, remote_frames, log.left_out)


def assign_dbcs(recording: Recording, dbcs: Sequence[Dbc]) -> tuple[Bus, ...]:
    """Give each channel the DBCs that know at least one of its frames; a log's only channel gets all."""
    if len(recording.channels) <= 1:
        return tuple(Bus(name, tuple(dbcs)) for name in recording.channels)
    chosen = []
    for index, name in enumerate(recording.channels):
        mine = recording.frames.take(recording.frames.buses == index)
        _, first = np.unique(mine.ids, return_index=True)
        samples = mine.take(first)
        samples.buses[:] = 0
        known = (dbc for dbc in dbcs if len(BulkDecoder((Bus(name, (dbc,)),)).decode_values(samples)))
        chosen.append(Bus(name, tuple(known)))
    return tuple(chosen)
