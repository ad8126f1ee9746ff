from __future__ import annotations

import numpy as np
import pytest

from decoder.frames import EXTENDED, Frames


def rows(*stamps: int) -> Frames:
    return Frames.from_rows((stamp, 0, 0x100, bytes([stamp & 0xFF])) for stamp in stamps)


def test_from_rows_is_as_wide_as_the_longest_frame_needs():
    assert Frames.from_rows([(1, 0, 0x7FF, b"\x01\x02")]).data.shape == (1, 8)
    wide = Frames.from_rows([(1, 0, 0x7FF, b"\x01"), (2, 3, EXTENDED | 5, bytes(range(12)))])
    assert wide.data.shape == (2, 64)
    assert wide.lengths.tolist() == [1, 12]
    assert wide.buses.tolist() == [0, 3]
    assert wide.ids.tolist() == [0x7FF, EXTENDED | 5]
    assert wide.data[1, :12].tolist() == list(range(12))


def test_no_frames_are_frames_too():
    assert len(Frames.empty()) == 0
    assert len(Frames.concatenate([])) == 0
    assert len(Frames.empty().sorted_by_time()) == 0


def test_concatenate_widens():
    both = Frames.concatenate([rows(1), Frames.from_rows([(2, 0, 1, bytes(64))])])
    assert both.data.shape == (2, 64)
    assert both.timestamps_ns.tolist() == [1, 2]


def test_sorted_by_time_keeps_the_order_of_equal_stamps():
    frames = Frames.from_rows([(5, 0, 1, b""), (3, 0, 2, b""), (5, 0, 3, b""), (3, 0, 4, b"")])
    assert frames.sorted_by_time().ids.tolist() == [2, 4, 1, 3]


def test_words_are_little_endian():
    assert Frames.from_rows([(0, 0, 1, bytes(range(8)))]).words().tolist() == [[0x0706050403020100]]


def test_a_length_beyond_the_data_is_our_bug():
    frames = rows(1)
    with pytest.raises(AssertionError):
        Frames(frames.timestamps_ns, frames.buses, frames.ids, np.array([9], np.uint8), frames.data)
