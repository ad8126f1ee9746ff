"""A log as arrays, and which DBC speaks for which channel."""

from __future__ import annotations

from decoder.dbc import load
from replay_logs.read import open_log
from replay_logs.recording import assign_dbcs, load_recording
from tests.data_folder import recording as real


def written(tmp_path, text):
    path = tmp_path / "a.log"
    path.write_text(text)
    return open_log(path)


def test_frames_become_arrays_in_the_order_of_the_file(tmp_path):
    log = written(tmp_path, "(1.000001) a 123#0102\n(0.5) b 18FEF100#FF\n(2.0) a 1#R\n(2.0) a 20000080#\n")
    found = load_recording(log)
    assert found.channels == ("a", "b")
    assert found.frames.timestamps_ns.tolist() == [1_000_001_000, 500_000_000]
    assert found.frames.buses.tolist() == [0, 1]
    assert found.frames.ids.tolist() == [0x123, 0x18FEF100 | 1 << 31]
    assert found.frames.lengths.tolist() == [2, 1]
    assert (found.remote_frames, found.error_frames) == (1, 1)


def test_one_channel_can_be_chosen(tmp_path):
    log = written(tmp_path, "(1.0) a 123#01\n(1.0) b 124#02\n")
    assert load_recording(log, "b").frames.ids.tolist() == [0x124]


def test_each_channel_gets_the_dbcs_that_know_its_frames():
    found = load_recording(open_log(real("canedge/00000005-60FEB5A8.MF4")))
    dbcs = [load(real("canedge/canmod-gps.dbc")), load(real("canedge/CSS-Electronics-OBD2-v1.4.dbc"))]
    chosen = {bus.name: [dbc.path.rpartition("/")[2] for dbc in bus.dbcs] for bus in assign_dbcs(found, dbcs)}
    assert chosen == {"2": ["canmod-gps.dbc"], "1": ["CSS-Electronics-OBD2-v1.4.dbc"]}
